"""The Engine API's entry: version, route, handler, and one place where errors become answers."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

import cortend
from corten_shared.errors import Cancelled, CortenError, NotFound
from cortend.api.docker import (
    absent,
    archive,
    commit,
    containers,
    disk_usage,
    events,
    exec,
    images,
    networks,
    processes,
    push,
    registries,
    system,
    versions,
    volumes,
)
from cortend.api.docker.call import Call
from cortend.api.docker.errors import error_response
from cortend.api.docker.responses import json_response
from cortend.api.docker.routing import Route, Routes

if TYPE_CHECKING:
    from cortend.services.all import Services

log = logging.getLogger(__name__)

_VERSIONED = re.compile(r"/v([0-9.]+)(/.*)?\Z")


def routes(services: Services) -> Iterable[Route]:
    """Every route of the Engine API."""
    nouns = (
        system, disk_usage, events, containers, processes, exec, archive, commit, images, push, networks, volumes,
        registries, absent,
    )  # fmt: skip
    for module in nouns:
        yield from module.routes(services)


class DockerApi:
    """The Engine API as an ASGI application."""

    def __init__(self, services: Services) -> None:
        self._routes = Routes(routes(services))
        self._headers = [
            (b"server", f"Docker/{cortend.__version__} (linux)".encode()),
            (b"api-version", versions.text(versions.ADVERTISED).encode()),
            (b"ostype", b"linux"),
            (b"docker-experimental", b"false"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            return
        answer = _Answer(send, self._headers)
        try:
            response = await self._handle(Request(scope, receive))
            await response(scope, receive, answer.send)
        except (ClientDisconnect, Cancelled, ConnectionError):
            log.debug("client went away", extra={"fields": {"path": scope["path"]}})
        except CortenError as error:
            if answer.started:
                raise
            self._log(scope, error)
            await error_response(error)(scope, receive, answer.send)
        except Exception:
            if answer.started:
                raise
            log.exception("unexpected error", extra={"fields": {"method": scope["method"], "path": scope["path"]}})
            message = {"message": "internal error; cortend's log has the details"}
            await json_response(message, 500)(scope, receive, answer.send)

    async def _handle(self, request: Request) -> Response:
        version, path = _split(request.scope["path"])
        found = self._routes.find(request.method, path)
        if found is None:
            raise NotFound("page not found")
        handler, params = found
        return await handler(Call(request, version, params))

    @staticmethod
    def _log(scope: Scope, error: CortenError) -> None:
        fields = {"method": scope["method"], "path": scope["path"], "code": error.code}
        log.debug("request failed: %s", error, extra={"fields": fields})


def _split(path: str) -> tuple[versions.Version, str]:
    """Version and path within it; without a version, the advertised one."""
    match = _VERSIONED.match(path)
    if match is None:
        return versions.ADVERTISED, path.rstrip("/")
    return versions.parse(match[1]), (match[2] or "").rstrip("/")


class _Answer:
    """Puts docker's headers on an answer and knows whether it has begun."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self.started = False
        self._send = send
        self._headers = headers

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            message["headers"] = [*message.get("headers", ()), *self._headers]
        await self._send(message)
