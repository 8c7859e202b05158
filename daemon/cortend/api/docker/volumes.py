"""Volumes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from corten_shared.errors import InvalidArgument, NotFound
from corten_shared.models.volume import VolumeRecord
from corten_shared.times import format_rfc3339
from cortend.api.docker import versions
from cortend.api.docker.call import NAMESPACE, Call
from cortend.api.docker.filters import Filters
from cortend.api.docker.models.volume import VolumeCreateBody
from cortend.api.docker.responses import json_response, no_content
from cortend.api.docker.routing import Route

if TYPE_CHECKING:
    from cortend.services.all import Services

_LIST_FILTERS = frozenset({"dangling", "driver", "label", "name"})
_PRUNE_FILTERS = frozenset({"all", "label", "label!"})


def routes(services: Services) -> Iterable[Route]:
    """The routes of this noun."""
    api = Volumes(services)
    return (
        Route("GET", "/volumes", api.list),
        Route("POST", "/volumes/create", api.create),
        Route("POST", "/volumes/prune", api.prune),
        Route("GET", "/volumes/{name}", api.inspect),
        Route("DELETE", "/volumes/{name}", api.remove),
    )


class Volumes:
    """Handlers; each calls its service and translates."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._volumes = services.volumes

    async def list(self, call: Call) -> Response:
        """GET /volumes."""
        filters = call.filters(_LIST_FILTERS)
        used = await self._used() if "dangling" in filters else frozenset()
        found = [volume for volume in await self._volumes.list(NAMESPACE) if _matches(filters, volume, used)]
        return json_response({"Volumes": [volume_document(volume) for volume in found], "Warnings": None})

    async def _used(self) -> frozenset[str]:
        views = await self._services.containers.list(NAMESPACE, all=True)
        return frozenset(mount.source for view in views for mount in view.record.spec.mounts if mount.type == "volume")

    async def create(self, call: Call) -> Response:
        """POST /volumes/create: 201, also when it is there already."""
        body = await call.json(VolumeCreateBody)
        if body.driver not in ("", "local"):
            raise NotFound(f'error looking up volume plugin {body.driver[:40]}: plugin "{body.driver[:40]}" not found')
        if body.driver_opts:
            option = next(iter(body.driver_opts))
            raise InvalidArgument(f'create {body.name[:80]}: invalid option: "{option[:40]}"')
        return json_response(volume_document(await self._volumes.create(NAMESPACE, body.name, body.labels)), 201)

    async def inspect(self, call: Call) -> Response:
        """GET /volumes/{name}."""
        return json_response(volume_document(await self._volumes.get(NAMESPACE, call.params["name"])))

    async def remove(self, call: Call) -> Response:
        """DELETE /volumes/{name}?force."""
        await self._volumes.remove(NAMESPACE, call.params["name"], force=call.flag("force"))
        return no_content()

    async def prune(self, call: Call) -> Response:
        """POST /volumes/prune: anonymous ones, or `all`."""
        filters = call.filters(_PRUNE_FILTERS)
        everything = filters.flag("all") or versions.prunes_named_volumes(call.version)

        def accept(volume: VolumeRecord) -> bool:
            return (everything or volume.anonymous) and filters.labels(volume.labels)

        removed = await self._volumes.prune(NAMESPACE, accept)
        return json_response({"VolumesDeleted": removed, "SpaceReclaimed": 0})


def _matches(filters: Filters, volume: VolumeRecord, used: frozenset[str]) -> bool:
    dangling = filters.flag("dangling")
    return (
        filters.search("name", (volume.name,))
        and filters.labels(volume.labels)
        and filters.exact("driver", (volume.driver,))
        and (dangling is None or dangling is (volume.name not in used))
    )


def volume_document(volume: VolumeRecord) -> dict[str, Any]:
    """A volume in docker's shape; anonymous ones carry docker's label."""
    labels = {**volume.labels, **({"com.docker.volume.anonymous": ""} if volume.anonymous else {})}
    return {
        "CreatedAt": format_rfc3339(volume.created_at // 10**9 * 10**9),
        "Driver": volume.driver,
        "Labels": labels or None,
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": volume.options or None,
        "Scope": "local",
    }
