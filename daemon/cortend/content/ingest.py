"""Writing an ingest: append, hash while appending, and turn it into a blob."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from corten_shared.errors import AlreadyExists, DataLoss, Internal, InvalidArgument, ResourceExhausted
from cortend.content.layout import Ingest, IngestInfo, Layout
from cortend.core import trace
from cortend.linux.files import sync_directory

_CHUNK = 1 << 20
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def disk_errors(ref: str) -> Iterator[None]:
    """A full disk (or quota) while `ref` is written becomes ResourceExhausted; the ingest stays, to be resumed."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise ResourceExhausted(
                f"no space left on device while writing {ref}",
                hint="free some space and try again",
                subject=ref,
            ) from error
        raise


class LocalWriter:
    """core.content.IngestWriter over `ingest/<hash>/data`. Not for several threads at once.

    `release` is called once, when the writer is closed: it lets the next writer of the ref in.
    """

    def __init__(self, layout: Layout, ingest: Ingest, info: IngestInfo, release: Callable[[], None]) -> None:
        self._layout = layout
        self._ingest = ingest
        self._info = info
        self._release = release
        self._file = os.open(ingest.data, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._closed = False
        try:
            self._resume(os.fstat(self._file).st_size)
        except BaseException:
            os.close(self._file)
            raise

    @property
    def ref(self) -> str:
        """The ingest's name."""
        return self._info.ref

    @property
    def offset(self) -> int:
        """Bytes on hand."""
        return self._offset

    @property
    def digest(self) -> str:
        """The digest of the bytes on hand."""
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append; raises ResourceExhausted (disk full, more than promised)."""
        self._refuse_closed()
        view = memoryview(data).cast("B")
        total = self._info.total
        if total and self._offset + len(view) > total:
            raise ResourceExhausted(f"{self.ref}: more bytes than the {total} promised", subject=self.ref)
        with disk_errors(self.ref):
            while view:  # a disk that fills up takes a part first: count and hash what it took
                taken = os.write(self._file, view)
                self._hash.update(view[:taken])
                self._offset += taken
                view = view[taken:]
        trace.point("content.ingest.written")

    def truncate(self, size: int) -> None:
        """Keep the first `size` bytes."""
        self._refuse_closed()
        if not 0 <= size <= self._offset:
            raise InvalidArgument(f"{self.ref}: cannot truncate {self._offset} bytes to {size}", subject=self.ref)
        os.ftruncate(self._file, size)
        self._resume(size)

    def commit(self, size: int | None = None, expected: str | None = None, labels: dict[str, str] | None = None) -> str:
        """Make it a blob; the labels are for stores that keep some."""
        self._refuse_closed()
        digest = self.digest
        try:
            self._check(self._info.total if size is None else size, expected or self._info.expected)
            path = self._layout.blob(digest)
            if path.exists() and path.stat().st_size == self._offset:  # another size: damaged; heal it
                self._ingest.remove()
                raise AlreadyExists(f"content {digest} already exists", subject=digest)
            with disk_errors(self.ref):
                self._publish(digest)
        finally:
            self.close()
        return digest

    def close(self) -> None:
        """Let go; idempotent."""
        if not self._closed:
            self._closed = True
            os.close(self._file)
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _resume(self, size: int) -> None:
        """Hash the `size` bytes that are there and go on behind them."""
        self._hash = hashlib.sha256()
        self._offset = 0
        os.lseek(self._file, 0, os.SEEK_SET)
        while self._offset < size:
            piece = os.read(self._file, min(_CHUNK, size - self._offset))
            if not piece:
                raise Internal(f"{self.ref}: its data became shorter while it was read", subject=self.ref)
            self._hash.update(piece)
            self._offset += len(piece)

    def _check(self, size: int, expected: str | None) -> None:
        wrong = None
        if size and size != self._offset:
            wrong = f"size {self._offset}, expected {size}"
        elif expected and expected != self.digest:
            wrong = f"digest {self.digest}, expected {expected}"
        if wrong:
            self._ingest.remove()
            raise DataLoss(
                f"{self.ref}: received bytes have {wrong}", hint="what came was dropped; try again", subject=self.ref
            )

    def _publish(self, digest: str) -> None:
        """Sync, rename, sync the directory: in this order, so that a blob is whole whenever it can be seen."""
        os.fchmod(self._file, 0o444)
        os.utime(self._file, ns=(now := time.time_ns(), now))
        os.fsync(self._file)
        trace.point("content.commit.synced")
        self._ingest.data.rename(self._layout.blob(digest))
        trace.point("content.commit.renamed")
        sync_directory(self._layout.blobs)
        self._ingest.remove()
        trace.point("content.commit.published")

    def _refuse_closed(self) -> None:
        if self._closed:
            raise Internal(f"{self.ref}: the writer is closed", subject=self.ref)
