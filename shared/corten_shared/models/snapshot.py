"""Snapshots: a file system's layers, and how to mount them."""

from __future__ import annotations

from enum import StrEnum

from corten_shared.models.base import Record
from corten_shared.times import Timestamp


class Kind(StrEnum):
    """What can be done with a snapshot: `view` is read, `active` is written, `committed` is a parent."""

    VIEW = "view"
    ACTIVE = "active"
    COMMITTED = "committed"


class SnapshotInfo(Record):
    """A snapshot as one namespace sees it; `parent` is a committed snapshot's name or empty."""

    name: str
    parent: str = ""
    kind: Kind
    labels: dict[str, str] = {}
    created_at: Timestamp
    updated_at: Timestamp


class Usage(Record):
    """What a snapshot adds to its parent: bytes on disk and inodes."""

    size: int = 0
    inodes: int = 0


class Mount(Record):
    """One mount(8): never performed by a snapshotter, only described.

    `type` is a file system type, or `bind`. Options are strings as in fstab (`ro`, `rbind`,
    `lowerdir=…`).
    """

    type: str
    source: str
    options: list[str] = []
