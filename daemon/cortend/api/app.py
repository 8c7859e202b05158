"""Both surfaces behind one socket: the native API under /api/v1, Docker's everywhere else."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from cortend.api.docker.app import DockerApi
from cortend.services.all import Services


def build_api(services: Services) -> ASGIApp:
    """The whole HTTP interface. A request is told by its path alone, before any routing."""
    docker = DockerApi(services)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await docker(scope, receive, send)

    return serve
