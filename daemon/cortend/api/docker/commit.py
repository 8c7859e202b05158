"""Containers into images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import ValidationError
from starlette.responses import Response

from corten_shared.errors import InvalidArgument
from corten_shared.models.oci import RunConfig
from cortend.api.docker.call import NAMESPACE, Call
from cortend.api.docker.images import join_name
from cortend.api.docker.responses import json_response
from cortend.api.docker.routing import Route
from cortend.core.documents import load_json
from cortend.services.commit import CommitRequest

if TYPE_CHECKING:
    from cortend.services.all import Services


def routes(services: Services) -> Iterable[Route]:
    """The routes of this noun."""
    return (Route("POST", "/commit", Commits(services).commit),)


class Commits:
    """The handler."""

    def __init__(self, services: Services) -> None:
        self._commits = services.commits

    async def commit(self, call: Call) -> Response:
        """POST /commit?container=&repo=&tag=&comment=&author=&pause=&changes=: 201 with the image's id."""
        container = call.text("container")
        if not container:
            raise InvalidArgument("no container to commit was named")
        request = CommitRequest(
            name=join_name(call.text("repo"), call.text("tag")) if call.text("repo") else "",
            author=call.text("author"),
            message=call.text("comment"),
            pause=call.flag("pause", default=True),
            changes=call.query.getlist("changes"),
            config=_config(await call.body()),
        )
        committed = await self._commits.commit(NAMESPACE, container, request)
        return json_response({"Id": committed.id}, 201)


def _config(body: bytes) -> RunConfig | None:
    """The body: a container's Config that the image gets instead of the container's own; mostly there is none."""
    if body.strip() in (b"", b"null", b"{}"):
        return None
    try:
        return RunConfig.model_validate(load_json(body, "the configuration"))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidArgument(f"invalid configuration: {where}: {first['msg']}") from error
