"""Snapshots, asked of the engine."""

from __future__ import annotations

from collections.abc import Mapping

from corten.sdk.calls import (
    AsyncNoun,
    Call,
    Noun,
    StreamCall,
    SyncNoun,
    call,
    items,
    line_of,
    nothing,
    record,
    segment,
    stream,
)
from corten_shared.models.api import Cleaned, LabelsPatch, SnapshotCommit, SnapshotCreate, SnapshotDiff, UnpackRequest
from corten_shared.models.image import PullProgress
from corten_shared.models.snapshot import Mount, SnapshotInfo, Usage

List = list
"""The built-in, which the method called `list` hides inside the class."""
_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


class SnapshotCalls(Noun):
    """Snapshots of one snapshotter (`default`: the daemon's)."""

    @call
    def list(self, snapshotter: str = "default") -> Call[List[SnapshotInfo]]:
        """Every snapshot, parents before children."""
        return Call("GET", f"/snapshots/{segment(snapshotter)}", items(SnapshotInfo), self._query())

    @call
    def get(self, key: str, snapshotter: str = "default") -> Call[SnapshotInfo]:
        """One snapshot. Raises NotFound."""
        return Call("GET", _snapshot(snapshotter, "keys", key), record(SnapshotInfo), self._query())

    @call
    def usage(self, key: str, snapshotter: str = "default") -> Call[Usage]:
        """What it takes on disk beyond its parent."""
        return Call("GET", _snapshot(snapshotter, "usage", key), record(Usage), self._query())

    @call
    def mounts(self, key: str, snapshotter: str = "default") -> Call[List[Mount]]:
        """How to mount it."""
        return Call("GET", _snapshot(snapshotter, "mounts", key), items(Mount), self._query())

    @call
    def prepare(
        self,
        key: str,
        parent: str = "",
        *,
        labels: Mapping[str, str] | None = None,
        lease: str | None = None,
        snapshotter: str = "default",
    ) -> Call[List[Mount]]:
        """Make a writable snapshot; a lease, or a label `gc.root`, keeps it. Raises AlreadyExists, NotFound."""
        body = SnapshotCreate(key=key, parent=parent, labels=dict(labels or {}), lease=lease)
        return Call("POST", f"/snapshots/{segment(snapshotter)}/prepare", items(Mount), self._query(), body)

    @call
    def view(
        self,
        key: str,
        parent: str = "",
        *,
        labels: Mapping[str, str] | None = None,
        lease: str | None = None,
        snapshotter: str = "default",
    ) -> Call[List[Mount]]:
        """Make a read-only snapshot; as prepare."""
        body = SnapshotCreate(key=key, parent=parent, labels=dict(labels or {}), lease=lease)
        return Call("POST", f"/snapshots/{segment(snapshotter)}/view", items(Mount), self._query(), body)

    @call
    def commit(
        self, name: str, key: str, *, labels: Mapping[str, str] | None = None, snapshotter: str = "default"
    ) -> Call[SnapshotInfo]:
        """Turn writable `key` into committed `name`. Raises NotFound, AlreadyExists, Conflict."""
        body = SnapshotCommit(name=name, key=key, labels=dict(labels or {}))
        return Call("POST", f"/snapshots/{segment(snapshotter)}/commit", record(SnapshotInfo), self._query(), body)

    @call
    def label(
        self, key: str, labels: Mapping[str, str | None], snapshotter: str = "default"
    ) -> Call[SnapshotInfo]:
        """Set labels; None removes one."""
        body = LabelsPatch(labels=dict(labels))
        return Call("PATCH", _snapshot(snapshotter, "keys", key), record(SnapshotInfo), self._query(), body)

    @stream
    def diff(
        self, upper: str, lower: str | None = None, *, media_type: str = _GZIP, snapshotter: str = "default"
    ) -> StreamCall[bytes]:
        """A layer of what `upper` has differently from `lower` (None: its parent), in pieces."""
        body = SnapshotDiff(upper=upper, lower=lower, media_type=media_type)
        return StreamCall("POST", f"/snapshots/{segment(snapshotter)}/diff", bytes, self._query(), body, raw=True)

    @stream
    def unpack(self, digest: str, snapshotter: str = "default") -> StreamCall[PullProgress]:
        """Make an image's snapshots out of content, yielding progress; the last item's `id` is the top one."""
        path = f"/snapshots/{segment(snapshotter)}/unpack"
        return StreamCall("POST", path, line_of(PullProgress), self._query(), UnpackRequest(digest=digest))

    @call
    def remove(self, key: str, snapshotter: str = "default") -> Call[None]:
        """Remove it. Raises Conflict while it is a parent, a container's, or mounted."""
        return Call("DELETE", _snapshot(snapshotter, "keys", key), nothing, self._query())

    @call
    def cleanup(self, snapshotter: str = "default") -> Call[Cleaned]:
        """Free directories that no record names."""
        return Call("POST", f"/snapshots/{segment(snapshotter)}/cleanup", record(Cleaned), self._query())


class Snapshots(SnapshotCalls, SyncNoun):
    """Snapshots, blocking."""


class AsyncSnapshots(SnapshotCalls, AsyncNoun):
    """Snapshots, for asyncio."""


def _snapshot(snapshotter: str, what: str, key: str) -> str:
    return f"/snapshots/{segment(snapshotter)}/{what}/{segment(key)}"
