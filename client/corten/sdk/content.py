"""Content, as the SDK offers it: blobs, ingests, and objects of registries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from corten.sdk.calls import (
    AsyncNoun,
    Call,
    Noun,
    StreamCall,
    SyncNoun,
    call,
    items,
    nothing,
    record,
    segment,
    stream,
)
from corten_shared.models.api import FetchRequest, LabelsPatch, Login
from corten_shared.models.content import BlobInfo, IngestCommit, IngestStatus, ReferencesPruned

List = list
"""The built-in, which the method called `list` hides inside its class."""

_BYTES = {"Content-Type": "application/octet-stream"}


class ContentCalls(Noun):
    """Blobs by digest."""

    @call
    def list(self, *, filters: Sequence[str] = ()) -> Call[List[BlobInfo]]:
        """Every blob, or those that any of `filters` (`labels."containerd.io/gc.root"`) means."""
        return Call("GET", "/content", items(BlobInfo), self._query(filter=[*filters]))

    @call
    def get(self, digest: str) -> Call[BlobInfo]:
        """One blob's size, labels and times. Raises NotFound."""
        return Call("GET", f"/content/{segment(digest)}", record(BlobInfo), self._query())

    @call
    def read(self, digest: str, offset: int = 0, length: int | None = None) -> Call[bytes]:
        """A blob's bytes in memory, or `length` of them from `offset` on."""
        headers = {} if not offset and length is None else {"Range": _range(offset, length)}
        return Call("GET", f"/content/{segment(digest)}/data", bytes, self._query(), headers=headers)

    @stream
    def chunks(self, digest: str) -> StreamCall[bytes]:
        """A blob's bytes in pieces."""
        return StreamCall("GET", f"/content/{segment(digest)}/data", bytes, self._query(), raw=True)

    @call
    def label(self, digest: str, labels: Mapping[str, str | None]) -> Call[BlobInfo]:
        """Set labels; None removes one."""
        body = LabelsPatch(labels=dict(labels))
        return Call("PATCH", f"/content/{segment(digest)}", record(BlobInfo), self._query(), body)

    @call
    def remove(self, digest: str) -> Call[None]:
        """Remove a blob from the namespace."""
        return Call("DELETE", f"/content/{segment(digest)}", nothing, self._query())

    @call
    def ingests(self) -> Call[List[IngestStatus]]:
        """What is being written, or was left over."""
        return Call("GET", "/content/ingests", items(IngestStatus), self._query())

    @call
    def status(self, ref: str) -> Call[IngestStatus]:
        """How far an ingest is. Raises NotFound."""
        return Call("GET", _ingest(ref), record(IngestStatus), self._query())

    @call
    def begin(self, ref: str, data: bytes, *, expected: str = "", size: int = 0) -> Call[IngestStatus]:
        """Begin an ingest, or begin it again, with these bytes. Raises AlreadyExists when `expected` is here."""
        query = self._query(expected=expected, size=size)
        return Call("PUT", _ingest(ref), record(IngestStatus), query, headers=_BYTES, data=data)

    @call
    def resume(
        self, ref: str, data: bytes, offset: int, *, expected: str = "", size: int = 0
    ) -> Call[IngestStatus]:
        """Add bytes to an ingest that has `offset` bytes. Raises Conflict, whose details tell its offset, if not."""
        query = self._query(offset=offset, expected=expected, size=size)
        return Call("PATCH", _ingest(ref), record(IngestStatus), query, headers=_BYTES, data=data)

    @call
    def commit(
        self, ref: str, *, expected: str = "", size: int = 0, labels: Mapping[str, str] | None = None,
        lease: str | None = None,
    ) -> Call[BlobInfo]:  # fmt: skip
        """Make an ingest a blob. Without a lease or a label like `containerd.io/gc.root` the next collection takes it.

        Raises NotFound; InvalidArgument when it is not what `expected` or `size` say (it is dropped then).
        """
        body = IngestCommit(expected=expected, size=size, labels=dict(labels or {}))
        return Call("POST", f"{_ingest(ref)}/commit", record(BlobInfo), self._query(lease=lease), body)

    @call
    def abort(self, ref: str) -> Call[None]:
        """Drop an ingest and its bytes."""
        return Call("DELETE", f"/content/ingests/{segment(ref)}", nothing, self._query())

    @stream
    def fetch(self, reference: str, digest: str = "", *, credentials: Login | None = None) -> StreamCall[bytes]:
        """The bytes of what a registry has under a name, or of the blob `digest` of that repository; not kept."""
        body = FetchRequest(reference=reference, digest=digest, credentials=credentials)
        return StreamCall("POST", "/content/fetch", bytes, self._query(), body, raw=True)

    @call
    def prune_references(self, *, dry: bool = False) -> Call[List[ReferencesPruned]]:
        """Take the labels that keep the blobs of layers; `dry` only says which. What is not unpacked is lost by it."""
        return Call("POST", "/content/prune-references", items(ReferencesPruned), self._query(dry=dry))


def _range(offset: int, length: int | None) -> str:
    return f"bytes={offset}-{'' if length is None else offset + length - 1}"


def _ingest(ref: str) -> str:
    return f"/content/ingests/{segment(ref)}"


class Content(ContentCalls, SyncNoun):
    """Content, blocking."""


class AsyncContent(ContentCalls, AsyncNoun):
    """Content, for asyncio."""
