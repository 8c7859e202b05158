"""Content: blobs by digest, and the ingests that become blobs."""

from __future__ import annotations

from pydantic import Field

from corten_shared.models.base import Record
from corten_shared.models.oci import MAX_BLOB
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


class IngestCommit(Record):
    """What an ingest must be to become a blob: its digest and size, where they are known; and the blob's labels."""

    expected: str = ""
    size: int = Field(default=0, ge=0, le=MAX_BLOB)
    labels: dict[str, str] = {}


class ReferencesPruned(Record):
    """Labels that were taken off a blob, or would be: the content that nothing refers to by it any more."""

    digest: str
    labels: dict[str, str]
