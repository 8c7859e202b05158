"""`GET /system/df`: what takes disk space."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from corten_shared.errors import InvalidArgument
from corten_shared.models.volume import VolumeRecord
from cortend.api.docker import container_list
from cortend.api.docker.call import NAMESPACE, Call
from cortend.api.docker.responses import json_response
from cortend.api.docker.routing import Route
from cortend.api.docker.translate_image import image_summary
from cortend.api.docker.volumes import volume_document
from cortend.services.image_catalog import ImageView
from cortend.services.views import ContainerView

if TYPE_CHECKING:
    from cortend.services.all import Services

_TYPES = frozenset({"container", "image", "volume", "build-cache"})


def routes(services: Services) -> Iterable[Route]:
    """The route of this module."""
    return (Route("GET", "/system/df", DiskUsage(services).usage),)


class DiskUsage:
    """The handler."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def usage(self, call: Call) -> Response:
        """GET /system/df?type=: the parts asked for, or all."""
        wanted = frozenset(call.query.getlist("type")) or _TYPES
        for kind in wanted - _TYPES:
            raise InvalidArgument(f"unknown object type: {kind[:40]}")
        views = await self._services.containers.list(NAMESPACE, all=True)
        found: dict[str, Any] = {"BuilderSize": 0}
        if "image" in wanted:
            found |= _images(await self._services.images.list(NAMESPACE))
        if "container" in wanted:
            found["Containers"] = [await self._container(view) for view in views]
        if "volume" in wanted:
            found["Volumes"] = _volumes(await self._services.volumes.list(NAMESPACE), views)
        if "build-cache" in wanted:
            found["BuildCache"] = []
        return json_response(found)

    async def _container(self, view: ContainerView) -> dict[str, Any]:
        size = await self._services.containers.size(view)
        return {**container_list.row(view, {}), "SizeRw": size, "SizeRootFs": size}


def _images(views: Collection[ImageView]) -> dict[str, Any]:
    """Images with what they share, and the size of all layers, each counted once."""
    sizes: dict[str, int] = {}
    users: dict[str, int] = {}
    for view in views:
        for layer, size in zip(view.documents.chain, view.layer_sizes, strict=False):
            sizes[layer] = size
            users[layer] = users.get(layer, 0) + 1
    return {"LayersSize": sum(sizes.values()), "Images": [_image(view, sizes, users) for view in views]}


def _image(view: ImageView, sizes: Mapping[str, int], users: Mapping[str, int]) -> dict[str, Any]:
    shared = sum(sizes.get(layer, 0) for layer in view.documents.chain if users.get(layer, 0) > 1)
    return {**image_summary(view, view.tags, view.digests), "SharedSize": shared}


def _volumes(volumes: Iterable[VolumeRecord], views: Iterable[ContainerView]) -> list[dict[str, Any]]:
    """Volumes with the number of their users; their size is not measured (-1, which clients show as unknown)."""
    mounted = [m.source for view in views for m in view.record.spec.mounts if m.type == "volume"]
    return [
        {**volume_document(volume), "UsageData": {"RefCount": mounted.count(volume.name), "Size": -1}}
        for volume in volumes
    ]
