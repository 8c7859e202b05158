"""Snapshots: layered file systems.

`Snapshotter` is what services use: names in namespaces, parents, labels, in the database.
`SnapshotDriver` is the disk under it: directories by number. A driver keeps no metadata.

    prepare(key, parent) --> active --commit(name)--> committed --> parent of others
    view(key, parent)    --> view (read-only)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from corten_shared.models.snapshot import Kind, Mount, SnapshotInfo, Usage

OVERLAY_MARKS = "x-corten.whiteouts=overlay"
"""Mount option (a remark: mounting ignores `x-…`) that a layer unpacked here keeps its
whiteouts, as overlayfs's own marks,
because layers below will be put under it. Leave it out of the mounts of an image's first layer: there is
nothing below."""

LAYER_IMAGE = "x-corten.image="
"""Mount option (a remark, too), with a path: a layer that is all of the snapshot may be written there, as an EROFS
image, instead of being unpacked into the mount."""


class SnapshotDriver(Protocol):
    """Directories for snapshots. `parents` are the ids of the chain, nearest parent first.

    Every method is idempotent where it can be: an interrupted one is repaired by calling it, or `remove`, again.
    """

    name: str
    """What the snapshotter is called: `overlayfs`, `native`."""

    rebases: bool
    """Whether a snapshot prepared without a parent may be committed onto one (its directory holds only its own layer,
    so layers can be unpacked side by side)."""

    def create(self, sid: int, kind: Kind, parents: Sequence[int]) -> None:
        """Make the directories of a new active or view snapshot; half-made ones are removed on failure."""
        ...

    def mounts(self, sid: int, kind: Kind, parents: Sequence[int]) -> list[Mount]:
        """How to mount the snapshot: read-write when active, read-only otherwise."""
        ...

    def usage(self, sid: int) -> Usage:
        """What the snapshot's own directory takes on disk (hard links counted once)."""
        ...

    def seal(self, sid: int) -> None:
        """Make of an active snapshot's files what children need, before it is synced and recorded as committed.

        What was written stays, so that the snapshot is still active when the commit fails.
        """
        ...

    def shed(self, sid: int) -> None:
        """Free what a committed snapshot no longer needs; after the record."""
        ...

    def sync(self, sids: Sequence[int]) -> None:
        """Return once everything written to these snapshots is on stable storage (syncfs)."""
        ...

    def remove(self, sid: int) -> None:
        """Make the snapshot's directory disappear at once (rename) and free it; missing is fine."""
        ...

    def tally(self, sid: int, *, deep: bool = False) -> str:
        """A line about a committed snapshot's files that is the same as long as they are: for the record at commit.

        `deep` reads them all, and says nothing of times: the same for two snapshots of one layer. Raises NotFound.
        """
        ...

    def exchange(self, sid: int, other: int) -> None:
        """Swap what two committed snapshots have, durably and at once; a `sid` that has nothing leaves nothing."""
        ...

    def strays(self) -> list[str]:
        """Names of what lies among the snapshots and is none."""
        ...

    def remove_stray(self, name: str) -> None:
        """Remove one of them; missing is fine."""
        ...

    def targets(self, sid: int) -> list[str]:
        """Where the snapshot's own files are mounted now, by themselves or as a layer."""
        ...

    def ids(self) -> Iterator[int]:
        """Every snapshot directory on disk, for the sweep of orphans; also clears left-over half-removed ones."""
        ...


class Snapshotter(Protocol):
    """Named snapshots of one driver."""

    name: str
    rebases: bool

    def stat(self, ns: str, key: str) -> SnapshotInfo:
        """Raises NotFound."""
        ...

    def update(self, ns: str, key: str, labels: dict[str, str | None]) -> SnapshotInfo:
        """Set labels (None removes one). Raises NotFound."""
        ...

    def usage(self, ns: str, key: str) -> Usage:
        """Of a committed snapshot as measured at commit; of an active one now. Raises NotFound."""
        ...

    def sizes(self, ns: str) -> dict[str, int]:
        """The bytes of every committed snapshot of the namespace, as measured at commit."""
        ...

    def mounts(self, ns: str, key: str) -> list[Mount]:
        """How to mount an active or view snapshot (a committed one: read-only). Raises NotFound."""
        ...

    def prepare(
        self, ns: str, key: str, parent: str = "", *, labels: dict[str, str] | None = None, lease: str | None = None
    ) -> list[Mount]:
        """A new active snapshot on committed `parent`; raises AlreadyExists, NotFound (the parent)."""
        ...

    def view(
        self, ns: str, key: str, parent: str = "", *, labels: dict[str, str] | None = None, lease: str | None = None
    ) -> list[Mount]:
        """As prepare, read-only."""
        ...

    def commit(
        self,
        ns: str,
        name: str,
        key: str,
        *,
        parent: str | None = None,
        labels: dict[str, str] | None = None,
        lease: str | None = None,
    ) -> None:
        """Turn active `key` into committed `name`; `key` is gone afterwards.

        Its files are synced first, so that a committed snapshot is whole after a power cut. `parent` other
        than None sets a new parent
        (only where `rebases`). Raises NotFound, AlreadyExists (`name`; `key` stays), Conflict (not active).
        """
        ...

    def remove(self, ns: str, key: str) -> None:
        """Remove a snapshot; raises NotFound, Conflict (saying whose) when it is somebody's parent."""
        ...

    def targets(self, ns: str, key: str) -> list[str]:
        """Where the snapshot's own files are mounted now, by themselves or as a layer; raises NotFound."""
        ...

    def walk(self, ns: str) -> list[SnapshotInfo]:
        """Every snapshot of the namespace, parents before children."""
        ...

    def cleanup(self) -> int:
        """Free directories that no record names; returns how many. Safe while others work."""
        ...
