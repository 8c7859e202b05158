"""Snapshots by snapshotter (`default`: the configured one): the snapshotter's verbs, and unpacking an image into it."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from corten_shared.models.api import (
    Cleaned,
    Items,
    LabelsPatch,
    SnapshotCommit,
    SnapshotCreate,
    SnapshotDiff,
    UnpackRequest,
)
from corten_shared.models.image import PullProgress
from corten_shared.models.snapshot import Mount, SnapshotInfo, Usage
from cortend.api.native.listing import Listed
from cortend.api.native.parameters import DEFAULT, Namespace
from cortend.api.native.streaming import JsonLines, Stream, checked_bytes, checked_lines
from cortend.services.all import Services
from cortend.services.leases import given_lease


def router(services: Services) -> APIRouter:
    """The routes of this noun. Keys may hold slashes, so what is asked of a key stands before it."""
    api = APIRouter(prefix="/snapshots", tags=["snapshots"])
    snapshots, workers = services.snapshots, services.workers

    @api.get("")
    async def list_snapshotters(listing: Listed) -> Items[str]:
        """The snapshotters' names."""
        return await listing.items(workers, snapshots.names, key=str)

    @api.get("/{snapshotter}")
    async def list_snapshots(
        snapshotter: str, listing: Listed, namespace: Namespace = DEFAULT
    ) -> Items[SnapshotInfo]:
        """Every snapshot, parents before children: by the number of its ancestors, then by name."""
        depths: dict[str, int] = {}
        found = snapshots.named(snapshotter)

        def read() -> list[SnapshotInfo]:
            walked = found.walk(namespace)
            for snapshot in walked:
                depths[snapshot.name] = depths.get(snapshot.parent, -1) + 1
            return walked

        return await listing.items(workers, read, key=lambda snapshot: (depths[snapshot.name], snapshot.name))

    @api.post("/{snapshotter}/prepare", status_code=201)
    async def prepare_snapshot(
        snapshotter: str, body: SnapshotCreate, namespace: Namespace = DEFAULT
    ) -> Items[Mount]:
        """Make an active snapshot; says how to mount it. Only a lease or a label like `gc.root` keeps it."""
        prepare = snapshots.named(snapshotter).prepare
        made = await workers.run_slow(
            prepare, namespace, body.key, body.parent, labels=body.labels, lease=body.lease or given_lease()
        )
        return Items(items=made)

    @api.post("/{snapshotter}/view", status_code=201)
    async def view_snapshot(snapshotter: str, body: SnapshotCreate, namespace: Namespace = DEFAULT) -> Items[Mount]:
        """Make a read-only snapshot; as prepare."""
        view = snapshots.named(snapshotter).view
        lease = body.lease or given_lease()
        made = await workers.run_slow(view, namespace, body.key, body.parent, labels=body.labels, lease=lease)
        return Items(items=made)

    @api.post("/{snapshotter}/commit", status_code=201)
    async def commit_snapshot(
        snapshotter: str, body: SnapshotCommit, namespace: Namespace = DEFAULT
    ) -> SnapshotInfo:
        """Turn an active snapshot into a committed one, on disk for good when this answers."""
        found = snapshots.named(snapshotter)
        await workers.run_slow(
            found.commit, namespace, body.name, body.key, labels=body.labels, lease=body.lease or given_lease()
        )
        return await workers.run(found.stat, namespace, body.name)

    @api.post("/{snapshotter}/unpack", response_class=JsonLines, responses={200: {"model": PullProgress}})
    async def unpack_image(snapshotter: str, body: UnpackRequest, namespace: Namespace = DEFAULT) -> Stream:
        """Make the snapshots of an image whose content is here. JSON lines; the last has the top one's name as `id`."""
        return await checked_lines(snapshots.unpack(namespace, snapshotter, body.digest))

    @api.post("/{snapshotter}/diff", response_class=Response)
    async def diff_snapshots(snapshotter: str, body: SnapshotDiff, namespace: Namespace = DEFAULT) -> Response:
        """A layer of what one snapshot has differently from another, as it is made."""
        chunks = snapshots.diff(
            namespace, snapshotter, body.upper, body.lower, media_type=body.media_type, keep=body.keep
        )
        return await checked_bytes(chunks, body.media_type)

    @api.post("/{snapshotter}/cleanup")
    async def clean_up_snapshots(snapshotter: str) -> Cleaned:
        """Free directories that no record names."""
        return Cleaned(removed=await snapshots.cleanup(snapshotter))

    @api.get("/{snapshotter}/keys/{key:path}")
    async def get_snapshot(snapshotter: str, key: str, namespace: Namespace = DEFAULT) -> SnapshotInfo:
        """One snapshot."""
        return await workers.run(snapshots.named(snapshotter).stat, namespace, key)

    @api.patch("/{snapshotter}/keys/{key:path}")
    async def label_snapshot(
        snapshotter: str, key: str, body: LabelsPatch, namespace: Namespace = DEFAULT
    ) -> SnapshotInfo:
        """Change labels."""
        return await workers.run(snapshots.named(snapshotter).update, namespace, key, body.labels)

    @api.delete("/{snapshotter}/keys/{key:path}", status_code=204)
    async def delete_snapshot(snapshotter: str, key: str, namespace: Namespace = DEFAULT) -> None:
        """Remove a snapshot; refused while it is a parent, a container's, or mounted."""
        await snapshots.remove(namespace, snapshotter, key)

    @api.get("/{snapshotter}/usage/{key:path}")
    async def get_usage(snapshotter: str, key: str, namespace: Namespace = DEFAULT) -> Usage:
        """What the snapshot takes on disk beyond its parent."""
        return await workers.run_slow(snapshots.named(snapshotter).usage, namespace, key)

    @api.get("/{snapshotter}/mounts/{key:path}")
    async def get_mounts(snapshotter: str, key: str, namespace: Namespace = DEFAULT) -> Items[Mount]:
        """How to mount the snapshot; nothing is mounted."""
        return Items(items=await workers.run(snapshots.named(snapshotter).mounts, namespace, key))

    return api
