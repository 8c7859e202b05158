"""Every surface under one root: the native API under /api/v1, the Engine API everywhere else."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from cortend.api.docker.app import router
from cortend.api.native.app import build_native
from cortend.services.all import Services

NATIVE = "/api/v1"


def build_api(services: Services) -> ASGIApp:
    """The application that the daemon serves."""
    return Starlette(routes=[Mount(NATIVE, app=build_native(services)), *router(services)])
