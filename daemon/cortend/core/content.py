"""The content store: blobs by digest, and resumable ingests that become blobs.

Two interfaces: `BlobStore` keeps bytes on disk and knows no namespace; `ContentStore` is what
services use: a namespace's view over it, with labels, leases and garbage collection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple, Protocol, Self

from corten_shared.models.content import BlobInfo, IngestStatus


class BlobStat(NamedTuple):
    """A blob on disk: digest, size in bytes, time of commit in ns since the epoch."""

    digest: str
    size: int
    created_at: int


class IngestWriter(Protocol):
    """An ingest opened for writing; one at a time per ref. A context manager that closes itself."""

    @property
    def ref(self) -> str:
        """The ingest's name."""
        ...

    @property
    def offset(self) -> int:
        """Bytes on hand; where the next `write` goes."""
        ...

    @property
    def digest(self) -> str:
        """The digest of the bytes on hand (it changes with every write)."""
        ...

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`. Raises ResourceExhausted when the disk is full, or when a size given at opening
        would be exceeded."""
        ...

    def truncate(self, size: int) -> None:
        """Drop all bytes after the first `size` (0 starts over); re-reads the kept ones for the running digest."""
        ...

    def commit(self, size: int | None = None, expected: str | None = None, labels: dict[str, str] | None = None) -> str:
        """Make the ingest a blob and return its digest; the writer is closed.

        The bytes are synced, checked (raises DataLoss when size or digest differ; the ingest's bytes are then dropped),
        renamed into place and the directory synced. Raises AlreadyExists when the blob is there (its
        `subject` is the digest; the ingest is removed, so the caller may take it as success).
        """
        ...

    def close(self) -> None:
        """Let go; what was written stays and can be resumed. Idempotent."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class BlobStore(Protocol):
    """Bytes on disk: blobs that never change and ingests that are being written."""

    def stat(self, digest: str) -> BlobStat:
        """The blob's size and time; raises NotFound, InvalidArgument (malformed digest)."""
        ...

    def open(self, digest: str) -> BinaryIO:
        """The blob opened for reading (a real file, so that its descriptor can be given to a child); raises
        NotFound."""
        ...

    def walk(self) -> Iterator[BlobStat]:
        """Every blob, in no particular order; blobs deleted meanwhile may or may not be seen."""
        ...

    def delete(self, digest: str) -> None:
        """Remove a blob; raises NotFound. Readers that have it open keep reading."""
        ...

    def writer(self, ref: str, *, expected: str | None = None, size: int = 0) -> IngestWriter:
        """Open the ingest `ref`, new or where it ended (`offset` says).

        `expected` and `size` (0: unknown) are checked on commit. Raises Unavailable when someone is writing `ref`
        now, AlreadyExists when `expected` is a blob already.
        """
        ...

    def status(self, ref: str) -> IngestStatus:
        """How far an ingest is; raises NotFound."""
        ...

    def statuses(self) -> list[IngestStatus]:
        """Every ingest that is not committed, active or left over."""
        ...

    def abort(self, ref: str) -> None:
        """Drop an ingest and its bytes; raises NotFound, Unavailable when it is being written."""
        ...


class ContentStore(Protocol):
    """A namespace's view of the blobs: labelled, leased, collected.

    A blob is visible in a namespace once it was committed (or adopted) there; the same bytes are
    stored once for all.
    """

    def info(self, ns: str, digest: str) -> BlobInfo:
        """Raises NotFound when this namespace has no such blob."""
        ...

    def walk(self, ns: str) -> list[BlobInfo]:
        """Every blob of the namespace, ordered by digest."""
        ...

    def update(self, ns: str, digest: str, labels: dict[str, str | None]) -> BlobInfo:
        """Set labels (None removes one); others stay. Raises NotFound."""
        ...

    def update_many(self, ns: str, labels: Mapping[str, dict[str, str | None]]) -> None:
        """As `update` for several blobs, by digest, in one transaction; blobs that are not there are left out."""
        ...

    def delete(self, ns: str, digest: str) -> None:
        """Remove the blob from the namespace; the collector frees the bytes when nobody has it. Raises NotFound."""
        ...

    def open(self, ns: str, digest: str) -> BinaryIO:
        """The blob opened for reading; raises NotFound."""
        ...

    def read(self, ns: str, digest: str, limit: int) -> bytes:
        """The whole blob, for small documents; raises NotFound, ResourceExhausted when larger than `limit` bytes."""
        ...

    def adopt(self, ns: str, digest: str, labels: dict[str, str] | None = None, lease: str | None = None) -> bool:
        """Make a blob whose bytes are in the store (through any namespace) visible here; False when there is none.

        With `lease` it is added to that lease in the same transaction. Idempotent.
        """
        ...

    def writer(
        self, ns: str, ref: str, *, lease: str | None = None, expected: str | None = None, size: int = 0
    ) -> IngestWriter:
        """As BlobStore.writer; its commit also records the blob in the namespace and under `lease`, in one
        transaction."""
        ...

    def status(self, ns: str, ref: str) -> IngestStatus:
        """Raises NotFound."""
        ...

    def statuses(self, ns: str) -> list[IngestStatus]:
        """The namespace's ingests."""
        ...

    def abort(self, ns: str, ref: str) -> None:
        """Raises NotFound, Unavailable."""
        ...
