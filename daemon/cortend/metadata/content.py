"""Namespaces over a blob store: who sees which blob is in the database, the bytes are shared.

A blob's file comes before its first row and goes after its last one. Between the two it belongs to
nobody in the database, and the collector must not take it from under a writer that is about to record it:
`_Held` counts, by digest, who is, and `free` leaves those alone. A crash in between leaves a file without
a row, which the collector frees, or which a later `writer` or `adopt` finds and uses.

Refs of ingests are kept as `<ns>/<ref>`, so that two namespaces may use the same ref.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import BinaryIO, Self

from corten_shared.errors import AlreadyExists, DataLoss, InvalidArgument, NotFound, ResourceExhausted
from corten_shared.models.content import BlobInfo, IngestStatus
from corten_shared.models.lease import Resource
from cortend.core import gc, trace
from cortend.core.content import BlobStore, IngestWriter
from cortend.metadata.db import Database
from cortend.metadata.namespaces import check_namespace


class _Held:
    """The digests that somebody is about to record, and those whose files are being freed: never both.

    Unlinking a large file takes as long as many writes: only who wants that very blob waits for it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._counts: Counter[str] = Counter()
        self._going: set[str] = set()

    @contextmanager
    def holding(self, digest: str) -> Iterator[None]:
        """While this is entered, the blob's file is not freed; one that is being freed is waited for."""
        with self._changed:
            self._changed.wait_for(lambda: digest not in self._going)
            self._counts[digest] += 1
        try:
            yield
        finally:
            with self._changed:
                self._counts[digest] -= 1
                if not self._counts[digest]:
                    del self._counts[digest]

    @contextmanager
    def freeing(self, digest: str, seen: Callable[[str], bool]) -> Iterator[bool]:
        """Whether the blob's file may be freed now: nobody holds it, nor is it `seen`, until this is left."""
        with self._changed:
            free = not self._counts[digest] and digest not in self._going and not seen(digest)
            if free:
                self._going.add(digest)
        try:
            yield free
        finally:
            if free:
                with self._changed:
                    self._going.discard(digest)
                    self._changed.notify_all()


class NamespacedContent:
    """core.content.ContentStore over a database and a blob store."""

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self._database = database
        self._blobs = blobs
        self._held = _Held()

    def info(self, ns: str, digest: str) -> BlobInfo:
        """Raises NotFound."""
        with self._database.view() as tx:
            return tx.blobs.get(ns, digest)

    def walk(self, ns: str) -> list[BlobInfo]:
        """By digest."""
        with self._database.view() as tx:
            return tx.blobs.list(ns)

    def update(self, ns: str, digest: str, labels: dict[str, str | None]) -> BlobInfo:
        """Set labels; None removes one."""
        with self._database.update() as tx:
            return tx.blobs.update(ns, digest, labels)

    def update_many(self, ns: str, labels: Mapping[str, dict[str, str | None]]) -> None:
        """Set labels of several blobs."""
        with self._database.update() as tx:
            for digest, changes in labels.items():
                with suppress(NotFound):
                    tx.blobs.update(ns, digest, changes)

    def delete(self, ns: str, digest: str) -> None:
        """Remove it from the namespace."""
        with self._database.update() as tx:
            tx.blobs.delete(ns, digest)

    def open(self, ns: str, digest: str) -> BinaryIO:
        """The blob's file; raises DataLoss when it is recorded but not there."""
        self.info(ns, digest)
        try:
            return self._blobs.open(digest)
        except NotFound as error:
            raise DataLoss(
                f"content {digest} is recorded, but its file is gone", hint="pull the image again", subject=digest
            ) from error

    def read(self, ns: str, digest: str, limit: int) -> bytes:
        """The whole blob, if it has at most `limit` bytes."""
        with self.open(ns, digest) as blob:
            data = blob.read(limit + 1)
        if len(data) > limit:
            raise ResourceExhausted(f"content {digest} is larger than {limit} bytes", subject=digest)
        return data

    def adopt(self, ns: str, digest: str, labels: dict[str, str] | None = None, lease: str | None = None) -> bool:
        """Make stored bytes visible in the namespace; False when there are none."""
        return self._adopt(ns, digest, labels or {}, lease)

    def writer(
        self, ns: str, ref: str, *, lease: str | None = None, expected: str | None = None, size: int = 0
    ) -> IngestWriter:
        """Open an ingest. If `expected` is a blob already, it is adopted (and leased), then AlreadyExists raised."""
        check_namespace(ns)
        if not ref:
            raise InvalidArgument("an ingest needs a ref", hint="any text that names what is written")
        if lease is not None:
            with self._database.update() as tx:
                tx.leases.add(ns, lease, Resource(type=gc.INGEST, id=ref))
        while True:
            try:
                writer = self._blobs.writer(_on_disk(ns, ref), expected=expected, size=size)
            except AlreadyExists:
                if expected is None or self._adopt(ns, expected, {}, lease, ref):
                    raise
            else:  # (otherwise the blob was freed between the two: look again)
                return _NamespacedWriter(self, self._held, writer, ns, ref, lease)

    def status(self, ns: str, ref: str) -> IngestStatus:
        """How far an ingest is."""
        return self._blobs.status(_on_disk(ns, ref)).model_copy(update={"ref": ref})

    def statuses(self, ns: str) -> list[IngestStatus]:
        """The namespace's ingests, by ref."""
        return [status for owner, status in self.all_statuses() if owner == ns]

    def abort(self, ns: str, ref: str) -> None:
        """Drop an ingest."""
        self._blobs.abort(_on_disk(ns, ref))

    def all_statuses(self) -> Iterator[tuple[str, IngestStatus]]:
        """Every namespace's ingests; for the collector."""
        for status in self._blobs.statuses():
            ns, _, ref = status.ref.partition("/")
            yield ns, status.model_copy(update={"ref": ref})

    def _adopt(self, ns: str, digest: str, labels: dict[str, str], lease: str | None, ref: str = "") -> bool:
        with self._held.holding(digest):
            try:
                size = self._blobs.stat(digest).size
            except NotFound:
                return False
            self.record(ns, digest, size, labels, lease, ref)
        return True

    def record(self, ns: str, digest: str, size: int, labels: dict[str, str], lease: str | None, ref: str = "") -> None:
        """Write the blob's row, put it under the lease and let ingest `ref` go, in one transaction."""
        with self._database.update() as tx:
            tx.blobs.put(ns, digest, size, labels)
            if ref:
                tx.leases.forget(ns, gc.INGEST, ref)
            if lease is not None:
                tx.leases.add(ns, lease, Resource(type=gc.CONTENT, id=digest))
        trace.point("content.commit.recorded")

    def free_unseen(self) -> tuple[int, int]:
        """Free the files that no namespace sees; how many, and their bytes. For the collector."""
        stored = {blob.digest: blob.size for blob in self._blobs.walk()}
        with self._database.view() as tx:
            unseen = stored.keys() - tx.blobs.digests()
        freed = [stored[digest] for digest in unseen if self.free(digest)]
        return len(freed), sum(freed)

    def free(self, digest: str) -> bool:
        """Free one file, unless somebody sees it or is about to."""
        with self._held.freeing(digest, self._seen) as free, suppress(NotFound):
            if free:
                self._blobs.delete(digest)
                return True
        return False

    def _seen(self, digest: str) -> bool:
        with self._database.view() as tx:
            return tx.blobs.seen(digest)


class _NamespacedWriter:
    """core.content.IngestWriter whose commit also records the blob."""

    def __init__(
        self, content: NamespacedContent, held: _Held, writer: IngestWriter, ns: str, ref: str, lease: str | None
    ) -> None:
        self._content = content
        self._held = held
        self._writer = writer
        self._ns = ns
        self._ref = ref
        self._lease = lease
        self.write = writer.write
        self.truncate = writer.truncate
        self.close = writer.close

    @property
    def ref(self) -> str:
        """The ingest's name within its namespace."""
        return self._ref

    @property
    def offset(self) -> int:
        """Bytes on hand."""
        return self._writer.offset

    @property
    def digest(self) -> str:
        """The digest of the bytes on hand."""
        return self._writer.digest

    def commit(self, size: int | None = None, expected: str | None = None, labels: dict[str, str] | None = None) -> str:
        """Make it a blob of the namespace. When the bytes were stored already, they are recorded here all the same."""
        digest, stored = self._writer.digest, self._writer.offset
        with self._held.holding(digest):
            try:
                self._writer.commit(size, expected)
            except AlreadyExists:
                self._record(digest, stored, labels)
                raise
            self._record(digest, stored, labels)
        return digest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _record(self, digest: str, size: int, labels: dict[str, str] | None) -> None:
        self._content.record(self._ns, digest, size, labels or {}, self._lease, self._ref)


def _on_disk(ns: str, ref: str) -> str:
    return f"{ns}/{ref}"
