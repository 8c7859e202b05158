"""Both surfaces behind one socket: the native API under /api/v1, Docker's everywhere else."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from cortend.api.docker.app import DockerApi
from cortend.api.native.app import build_native
from cortend.core.actor import PEER
from cortend.services.all import Services

NATIVE_PREFIX = "/api/v1"


def build_api(services: Services) -> ASGIApp:
    """The whole HTTP interface. Whose request it is its path alone says, before any routing."""
    docker = DockerApi(services)
    native = build_native(services)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        PEER.set(scope.get("extensions", {}).get("peer"))
        path = scope.get("path", "")
        if path == NATIVE_PREFIX or path.startswith(f"{NATIVE_PREFIX}/"):
            # By hand: a Mount does not match a path with a newline in it, and answers in another form then.
            await native({**scope, "root_path": scope.get("root_path", "") + NATIVE_PREFIX}, receive, send)
        else:
            await docker(scope, receive, send)

    return serve
