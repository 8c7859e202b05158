"""A request as the handlers see it: parameters read with docker's rules."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from corten_shared.errors import Cancelled, InvalidArgument
from cortend.api.docker.filters import Filters
from cortend.api.docker.versions import Version

NAMESPACE = "default"
"""Docker's objects live here."""

MAX_JSON = 4 << 20
"""Bytes of a JSON body; the largest real ones (compose with inlined configs) are some hundred kB."""

_FALSE = frozenset({"", "0", "no", "false", "none"})
_INT64 = 1 << 63

Model = TypeVar("Model", bound=BaseModel)


class Call:
    """One request of one version. Its readers raise InvalidArgument, which is docker's 400."""

    __slots__ = ("params", "query", "request", "version")

    def __init__(self, request: Request, version: Version, params: dict[str, str]) -> None:
        self.request = request
        self.version = version
        self.params = params
        self.query = request.query_params

    # -- query ------------------------------------------------------------------------------------------------------

    def text(self, name: str, default: str = "") -> str:
        """A parameter as it is."""
        return self.query.get(name, default)

    def flag(self, name: str, default: bool = False) -> bool:
        """docker's booleans: empty, 0, no, false and none are false, everything else is true."""
        value = self.query.get(name)
        return default if value is None else value.strip().lower() not in _FALSE

    def integer(self, name: str, default: int | None = None) -> int | None:
        """A whole number; an empty one counts as absent."""
        value = self.query.get(name, "")
        if not value:
            return default
        return _integer(value)

    def required_integer(self, name: str) -> int:
        """A whole number that must be there."""
        return _integer(self.query.get(name, ""))

    def filters(self, known: Collection[str]) -> Filters:
        """The `filters` parameter; a key that is not in `known` is refused."""
        return Filters.parse(self.query.get("filters", ""), known)

    # -- body -------------------------------------------------------------------------------------------------------

    async def body(self, limit: int = MAX_JSON) -> bytes:
        """The whole body, up to `limit` bytes."""
        chunks: list[bytes] = []
        size = 0
        try:
            async for chunk in self.request.stream():
                size += len(chunk)
                if size > limit:
                    raise InvalidArgument(f"request body is larger than {limit} bytes")
                chunks.append(chunk)
        except ClientDisconnect as error:
            raise Cancelled("the client went away before its request was whole") from error
        return b"".join(chunks)

    async def json(self, model: type[Model], *, required: bool = False) -> Model:
        """The JSON body as `model`; without a body the model's defaults, unless it is `required`."""
        body = await self.body()
        self._check_content_type(body)
        if not body.strip():
            if required or body:
                raise InvalidArgument("invalid JSON: got EOF while reading request body")
            return model()
        try:
            return model.model_validate_json(body)
        except ValidationError as error:
            raise InvalidArgument(f"invalid JSON: {explain(error, body)}") from error

    def _check_content_type(self, body: bytes) -> None:
        header = self.request.headers.get("content-type", "")
        if not header and not body:
            return
        if header.partition(";")[0].strip().lower() != "application/json" and (body or header):
            raise InvalidArgument(f"unsupported Content-Type header ({header[:100]}): must be 'application/json'")


def explain(error: ValidationError, body: bytes) -> str:
    """The first thing that is wrong, in one line."""
    first: Any = error.errors(include_url=False, include_context=False)[0]
    if first["type"] == "json_invalid" and _has_trailing_data(body):
        return "unexpected content after JSON"
    where = ".".join(str(part) for part in first["loc"])
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def _has_trailing_data(body: bytes) -> bool:
    try:
        _, end = json.JSONDecoder().raw_decode(body.decode().lstrip())
    except (ValueError, RecursionError):
        return False
    return end > 0


def _integer(value: str) -> int:
    try:
        if len(value) <= 20 and value.isascii() and "_" not in value and -_INT64 <= (number := int(value)) < _INT64:
            return number
    except ValueError:
        pass
    raise InvalidArgument(f'strconv.Atoi: parsing "{value[:40]}": invalid syntax')
