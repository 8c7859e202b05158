"""What is not here: answered so that clients understand and fall back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.responses import Response

from corten_shared.errors import NotFound, Unavailable, Unimplemented
from cortend.api.docker.call import Call
from cortend.api.docker.responses import json_response
from cortend.api.docker.routing import Handler, Route

if TYPE_CHECKING:
    from cortend.services.all import Services

_SWARM = ("swarm", "nodes", "services", "tasks", "secrets", "configs")
_METHODS = ("GET", "POST", "DELETE", "PUT")

_NOT_YET = (
    ("POST", "/build", "building images"),
    ("POST", "/build/prune", "the build cache"),
    ("GET", "/images/search", "searching registries"),
    ("GET", "/containers/{id}/attach/ws", "attaching over a websocket"),
)
"""Parts of the Engine API that come later: 501, which says so."""


def routes(services: Services) -> Iterable[Route]:
    """The routes; they come last, so that a noun that offers one of them wins."""
    for method, path, what in _NOT_YET:
        yield Route(method, path, _not_yet(what))
    for noun in _SWARM:
        for method in _METHODS:
            yield Route(method, f"/{noun}", _no_swarm)
            yield Route(method, f"/{noun}/{{rest:path}}", _no_swarm)
    yield Route("POST", "/session", _no_buildkit)
    yield Route("POST", "/grpc", _no_buildkit)
    yield Route("GET", "/plugins", _no_plugins)


def _not_yet(what: str) -> Handler:
    async def refuse(call: Call) -> Response:
        raise Unimplemented(f"{what} is not supported by this engine yet")

    return refuse


async def _no_swarm(call: Call) -> Response:
    raise Unavailable(
        'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to '
        "swarm and try again."
    )


async def _no_buildkit(call: Call) -> Response:
    raise NotFound("page not found")


async def _no_plugins(call: Call) -> Response:
    return json_response([])
