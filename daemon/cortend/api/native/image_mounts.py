"""Images mounted on directories of the host."""

from __future__ import annotations

from fastapi import APIRouter

from corten_shared.models.api import ImageMount, ImageUnmount, MountedOn
from cortend.api.native.parameters import DEFAULT, Namespace
from cortend.services.all import Services


def router(services: Services) -> APIRouter:
    """The routes, which come before those of images."""
    api = APIRouter(prefix="/images", tags=["images"])

    @api.post("/mount")
    async def mount_image(body: ImageMount, namespace: Namespace = DEFAULT) -> MountedOn:
        """Mount an image on a directory, read-only unless `writable`. It stays until `unmount`, whatever restarts."""
        target = await services.image_mounts.mount(
            namespace,
            body.reference,
            body.target,
            writable=body.writable,
            platform=body.platform,
            snapshotter=body.snapshotter,
        )
        return MountedOn(target=target)

    @api.post("/unmount", status_code=204)
    async def unmount_image(body: ImageUnmount, namespace: Namespace = DEFAULT) -> None:
        """Unmount what `mount` mounted, and let go of its snapshot."""
        await services.image_mounts.unmount(namespace, body.target, keep=body.keep)

    return api
