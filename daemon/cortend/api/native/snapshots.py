"""Snapshots by snapshotter: list, info, usage, mounts, delete."""

from __future__ import annotations

from fastapi import APIRouter

from corten_shared.errors import NotFound
from corten_shared.models.api import Items, LabelsPatch
from corten_shared.models.snapshot import Mount, SnapshotInfo, Usage
from cortend.api.native.parameters import DEFAULT, Namespace
from cortend.core.snapshots import Snapshotter
from cortend.services.all import Services


def router(services: Services) -> APIRouter:
    """The routes of this noun. Keys may hold slashes, so what is asked of a key stands before it."""
    api = APIRouter(prefix="/snapshots", tags=["snapshots"])
    workers = services.workers

    def named(snapshotter: str) -> Snapshotter:
        found = services.snapshotters.get(snapshotter)
        if found is None:
            known = ", ".join(sorted(services.snapshotters))
            raise NotFound(f"No such snapshotter: {snapshotter[:80]}", hint=f"there are: {known}", subject=snapshotter)
        return found

    @api.get("")
    async def list_snapshotters() -> Items[str]:
        """The snapshotters' names."""
        return Items(items=sorted(services.snapshotters))

    @api.get("/{snapshotter}")
    async def list_snapshots(snapshotter: str, namespace: Namespace = DEFAULT) -> Items[SnapshotInfo]:
        """Every snapshot, parents before children."""
        return Items(items=await workers.run(named(snapshotter).walk, namespace))

    @api.get("/{snapshotter}/keys/{key:path}")
    async def get_snapshot(snapshotter: str, key: str, namespace: Namespace = DEFAULT) -> SnapshotInfo:
        """One snapshot."""
        return await workers.run(named(snapshotter).stat, namespace, key)

    @api.patch("/{snapshotter}/keys/{key:path}")
    async def label_snapshot(
        snapshotter: str, key: str, body: LabelsPatch, namespace: Namespace = DEFAULT
    ) -> SnapshotInfo:
        """Change labels."""
        return await workers.run(named(snapshotter).update, namespace, key, body.labels)

    @api.delete("/{snapshotter}/keys/{key:path}", status_code=204)
    async def delete_snapshot(snapshotter: str, key: str, namespace: Namespace = DEFAULT) -> None:
        """Remove a snapshot; refused while it is somebody's parent."""
        await workers.run(named(snapshotter).remove, namespace, key)

    @api.get("/{snapshotter}/usage/{key:path}")
    async def get_usage(snapshotter: str, key: str, namespace: Namespace = DEFAULT) -> Usage:
        """What the snapshot takes on disk beyond its parent."""
        return await workers.run_slow(named(snapshotter).usage, namespace, key)

    @api.get("/{snapshotter}/mounts/{key:path}")
    async def get_mounts(snapshotter: str, key: str, namespace: Namespace = DEFAULT) -> Items[Mount]:
        """How to mount the snapshot; nothing is mounted."""
        return Items(items=await workers.run(named(snapshotter).mounts, namespace, key))

    return api
