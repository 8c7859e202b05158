"""Leases: what keeps fresh objects alive until something else refers to them."""

from __future__ import annotations

from corten_shared.models.base import Record
from corten_shared.times import Timestamp


class Resource(Record):
    """An object held by a lease: `type` is `content`, `ingest`, `images` or `snapshots/<snapshotter>`."""

    type: str
    id: str


class Lease(Record):
    """A lease; label `gc.expire` (RFC 3339) ends it, `gc.flat` holds only what it names.

    Both are as good with `containerd.io/` before them.
    """

    id: str
    labels: dict[str, str] = {}
    created_at: Timestamp
