"""The engine itself: info, version, garbage collection."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from corten_shared.models.api import CollectedResult, Items, PluginInfo
from corten_shared.models.check import CheckLine, CheckRequest
from corten_shared.models.system import SystemInfo, VersionInfo
from cortend.api.native.listing import Listed
from cortend.api.native.parameters import DEFAULT, Namespace
from cortend.api.native.streaming import JsonLines, Stream, checked_lines
from cortend.services.all import Services
from cortend.services.plugins import plugins


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

    @api.get("/plugins")
    async def list_plugins(listing: Listed) -> Items[PluginInfo]:
        """The parts of the engine that could be others: content stores, snapshotters, runtimes; why one is absent."""
        return await listing.items(
            services.workers, lambda: plugins(services), key=lambda found: (found.type, found.id)
        )

    @api.get("/oci/spec")
    async def get_default_spec() -> dict[str, Any]:
        """The OCI runtime configuration of a container without any wishes (runtime-spec, config.md)."""
        return services.system.default_spec()

    @api.post("/gc")
    async def collect_garbage() -> CollectedResult:
        """Collect garbage now."""
        return CollectedResult(**(await services.collect.collect())._asdict())

    @api.post("/system/check", response_class=JsonLines, responses={200: {"model": CheckLine}})
    async def check_system(body: CheckRequest) -> Stream:
        """Check the whole store, and mend it. Answers JSON lines of findings and progress; the last has `summary`."""
        return await checked_lines(services.checks.system(repair=body.repair, deep=body.deep))

    @api.post("/content/check", response_class=JsonLines, responses={200: {"model": CheckLine}}, tags=["content"])
    async def check_content(body: CheckRequest) -> Stream:
        """Read and hash every blob of all namespaces, and mend them. Answers as the check of the system."""
        return await checked_lines(services.checks.content(repair=body.repair))

    return api
