"""Registries: is a login good, what does a name stand for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import Field, SecretStr
from starlette.responses import Response

from corten_shared.errors import Unauthenticated
from cortend.api.docker.call import Call
from cortend.api.docker.credentials import from_header
from cortend.api.docker.errors import error_response
from cortend.api.docker.models.base import Wire
from cortend.api.docker.responses import json_response
from cortend.api.docker.routing import Route
from cortend.core.registry import Credentials

if TYPE_CHECKING:
    from cortend.services.all import Services


class AuthBody(Wire):
    """The body of POST /auth. Its members are in lower case, as in config.json."""

    username: str = Field(default="", alias="username")
    password: SecretStr = Field(default=SecretStr(""), alias="password")
    identity_token: SecretStr = Field(default=SecretStr(""), alias="identitytoken")
    registry_token: SecretStr = Field(default=SecretStr(""), alias="registrytoken")
    server_address: str = Field(default="", alias="serveraddress")


def routes(services: Services) -> Iterable[Route]:
    """The routes of this noun."""
    api = Registries(services)
    return (
        Route("POST", "/auth", api.login),
        Route("GET", "/distribution/{name:path}/json", api.distribution),
    )


class Registries:
    """Handlers; each calls its service and translates."""

    def __init__(self, services: Services) -> None:
        self._registries = services.registries

    async def login(self, call: Call) -> Response:
        """POST /auth: the registry is asked; 401 with its words when it refuses."""
        body = await call.json(AuthBody, required=True)
        given = Credentials(body.username, body.password, body.identity_token, body.registry_token)
        try:
            token = await self._registries.login(body.server_address, given)
        except Unauthenticated as error:
            return error_response(error, 401)
        return json_response({"IdentityToken": token, "Status": "Login Succeeded"})

    async def distribution(self, call: Call) -> Response:
        """GET /distribution/{name}/json: descriptor and platforms, from the registry."""
        found = await self._registries.inspect(
            call.params["name"], from_header(call.request.headers.get("x-registry-auth", ""))
        )
        platforms = [platform.model_dump(by_alias=True, exclude_none=True) for platform in found.platforms]
        return json_response({"Descriptor": found.descriptor.dump(), "Platforms": platforms})
