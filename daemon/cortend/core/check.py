"""Looking behind the stores: what a check of the whole store needs and nobody else may use.

The stores' own Protocols promise that what they return is whole. These show what is there, whole or not: rows that
cannot be read, files that nobody names, directories without a row. Everything blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from corten_shared.models.snapshot import Kind


class TornRow(NamedTuple):
    """A row whose `column` cannot be read; `facts` are its other columns, the key among them."""

    table: str
    ns: str
    name: str
    column: str
    why: str
    facts: Mapping[str, str | int | None]


class DanglingRow(NamedTuple):
    """A row that belongs to another which is not there (SQLite's foreign keys, had they been on)."""

    table: str
    ns: str
    name: str
    wanted: str


class BlobRow(NamedTuple):
    """What a namespace's row says of a blob."""

    ns: str
    digest: str
    size: int


class SnapshotState(NamedTuple):
    """A snapshot's row: `parent` is the number of its parent, `orphaned` whether that has no row.

    `tally` is what SnapshotDriver.tally said when it was committed; empty where none was kept.
    """

    sid: int
    ns: str
    name: str
    kind: Kind
    parent: int | None
    orphaned: bool
    tally: str


class StoreInspector(Protocol):
    """The database, row by row."""

    def integrity(self) -> list[str]:
        """What SQLite's integrity_check says against the file; empty for a sound one."""
        ...

    def rebuild_indexes(self) -> None:
        """Make every index again from its table."""
        ...

    def count(self) -> int:
        """How many rows there are."""
        ...

    def torn(self) -> list[TornRow]:
        """Every row with a column that cannot be read."""
        ...

    def dangling(self) -> list[DanglingRow]:
        """Rows whose owner is gone; snapshots without their parent are not among them."""
        ...

    def write(self, row: TornRow, text: str) -> None:
        """Give the torn column another value; fine when the row is gone."""
        ...

    def drop(self, row: TornRow | DanglingRow) -> None:
        """Delete the row; fine when it is gone."""
        ...

    def blobs(self) -> list[BlobRow]:
        """Every row of content, whatever its labels say."""
        ...

    def set_size(self, ns: str, digest: str, size: int) -> None:
        """Correct a blob's size."""
        ...

    def drop_blob(self, digest: str) -> None:
        """Delete the blob's rows in every namespace."""
        ...

    def targets(self) -> list[tuple[str, str, str, str]]:
        """Images whose digest column is not their target's: namespace, name, the column, the target's digest."""
        ...

    def set_target(self, ns: str, name: str, digest: str) -> None:
        """Correct an image's digest column."""
        ...


class BlobInspector(Protocol):
    """The directory of blobs."""

    def hash(self, digest: str) -> str:
        """The digest of the bytes that lie under `digest`. Raises NotFound; OSError where they cannot be read."""
        ...

    def discard(self, digest: str) -> None:
        """Remove the bytes that lie under `digest`, whoever names them; missing is fine."""
        ...

    def strays(self) -> list[str]:
        """Names of what lies there and is neither blob nor ingest."""
        ...

    def remove_stray(self, name: str) -> None:
        """Remove one of them."""
        ...


class SnapshotInspector(Protocol):
    """A snapshotter's rows and directories."""

    name: str

    def states(self) -> list[SnapshotState]:
        """Every row, parents before children."""
        ...

    def numbers(self) -> set[int]:
        """Those of the directories that are there."""
        ...

    def tally(self, sid: int, *, deep: bool = False) -> str:
        """See SnapshotDriver.tally."""
        ...

    def make_again(self, sid: int) -> None:
        """Give an active snapshot or view that has no directory an empty one."""
        ...

    def replace(self, ns: str, name: str, other: str) -> None:
        """Give committed `name` the files of committed `other`, which goes with what `name` had. Atomic."""
        ...

    def adopt(self, ns: str, name: str, parent: str) -> None:
        """Put `name` on committed `parent`."""
        ...

    def orphans(self) -> list[int]:
        """Numbers of directories without a row that nobody is making."""
        ...

    def strays(self) -> list[str]:
        """Names of what lies beside the snapshots and is none."""
        ...

    def remove_stray(self, name: str) -> None:
        """Remove one of them."""
        ...
