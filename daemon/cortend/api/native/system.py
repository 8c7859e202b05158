"""The engine itself: info, version, garbage collection."""

from __future__ import annotations

from fastapi import APIRouter

from corten_shared.models.api import CollectedResult
from corten_shared.models.system import SystemInfo, VersionInfo
from cortend.api.native.parameters import DEFAULT, Namespace
from cortend.services.all import Services


def router(services: Services) -> APIRouter:
    """The routes of this noun."""
    api = APIRouter(tags=["system"])

    @api.get("/info")
    async def get_info(namespace: Namespace = DEFAULT) -> SystemInfo:
        """The engine and its host at a glance, counting the objects of one namespace."""
        return await services.system.info(namespace)

    @api.get("/version")
    async def get_version() -> VersionInfo:
        """Versions."""
        return services.system.version()

    @api.post("/gc")
    async def collect_garbage() -> CollectedResult:
        """Collect garbage now."""
        return CollectedResult(**(await services.collect.collect())._asdict())

    return api
