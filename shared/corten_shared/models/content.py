"""Content: blobs by digest, and the ingests that become blobs."""

from __future__ import annotations

from corten_shared.models.base import Record
from corten_shared.times import Timestamp


class BlobInfo(Record):
    """A committed blob as one namespace sees it; `size` in bytes."""

    digest: str
    size: int
    labels: dict[str, str] = {}
    created_at: Timestamp
    updated_at: Timestamp


class IngestStatus(Record):
    """An ingest under way or interrupted; `offset` bytes are on disk, `total` is 0 when unknown."""

    ref: str
    offset: int
    total: int = 0
    expected: str | None = None
    started_at: Timestamp
    updated_at: Timestamp
