"""The content store on a local file system (layout.py draws what lies where).

Rules that keep it whole:

- A blob appears by rename(2) of a synced file and disappears by unlink(2); nothing writes to it. So reading needs no
  lock, and an open blob stays readable after its deletion.
- A ref has one writer at a time. Who writes (or drops) it is known in this process only: one daemon owns the
  root, which it locks at its start.
- After a crash, `ingest/` holds what can be resumed. Bytes that a power cut damaged there are found by the digest at
  commit, and dropped.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from corten_shared import digest as digests
from corten_shared.errors import AlreadyExists, InvalidArgument, NotFound, Unavailable
from corten_shared.models.content import IngestStatus
from cortend.content.ingest import LocalWriter, disk_errors
from cortend.content.layout import Ingest, IngestInfo, Layout
from cortend.core import trace
from cortend.core.content import BlobStat
from cortend.core.limits import MAX_INGEST_REF

_HEX = re.compile(r"[0-9a-f]{64}\Z")


class LocalBlobStore:
    """core.content.BlobStore in the directory `root`."""

    def __init__(self, root: Path) -> None:
        self._layout = Layout(root)
        self._lock = threading.Lock()
        self._active: set[str] = set()
        for ingest in self._layout.all_ingests():
            info = ingest.read()
            if info is None or self._layout.ingest(info.ref).path != ingest.path:
                ingest.remove()

    def stat(self, digest: str) -> BlobStat:
        """Size and time of commit."""
        try:
            found = self._layout.blob(digest).stat()
        except FileNotFoundError as error:
            raise _no_blob(digest) from error
        return BlobStat(digest, found.st_size, found.st_mtime_ns)

    def open(self, digest: str) -> BinaryIO:
        """The blob's file."""
        try:
            return open(self._layout.blob(digest), "rb")
        except FileNotFoundError as error:
            raise _no_blob(digest) from error

    def walk(self) -> Iterator[BlobStat]:
        """Every blob."""
        with os.scandir(self._layout.blobs) as entries:
            for entry in entries:
                if _HEX.match(entry.name):
                    with suppress(FileNotFoundError):
                        found = entry.stat(follow_symlinks=False)
                        yield BlobStat(f"sha256:{entry.name}", found.st_size, found.st_mtime_ns)

    def delete(self, digest: str) -> None:
        """Remove a blob. Not synced: one that a power cut brings back is removed again by the collector."""
        try:
            self._layout.blob(digest).unlink()
        except FileNotFoundError as error:
            raise _no_blob(digest) from error
        trace.point("content.delete.unlinked")

    def writer(self, ref: str, *, expected: str | None = None, size: int = 0) -> LocalWriter:
        """Open an ingest. One begun for another digest, or with more bytes than `size`, is started over."""
        if not 0 < len(ref) <= MAX_INGEST_REF:
            raise InvalidArgument(f"invalid ingest ref {ref[:60]!r}", hint=f"1 to {MAX_INGEST_REF} characters")
        if expected is not None and self._has(digests.parse(expected), size):
            raise AlreadyExists(f"content {expected} already exists", subject=expected)
        self._claim(ref)
        try:
            ingest = self._layout.ingest(ref)
            with disk_errors(ref):
                info = self._describe(ingest, ref, expected, size)
                return LocalWriter(self._layout, ingest, info, lambda: self._disclaim(ref))
        except BaseException:
            self._disclaim(ref)
            raise

    def status(self, ref: str) -> IngestStatus:
        """How far it is."""
        status = _status(self._layout.ingest(ref))
        if status is None:
            raise _no_ingest(ref)
        return status

    def statuses(self) -> list[IngestStatus]:
        """Every ingest, by ref."""
        found = (_status(ingest) for ingest in self._layout.all_ingests())
        return sorted((status for status in found if status is not None), key=lambda status: status.ref)

    def abort(self, ref: str) -> None:
        """Drop it."""
        self._claim(ref)
        try:
            ingest = self._layout.ingest(ref)
            if ingest.read() is None:
                raise _no_ingest(ref)
            ingest.remove()
        finally:
            self._disclaim(ref)

    def _has(self, digest: str, size: int) -> bool:
        """Whether the blob is there; not when it has another size than promised (damaged: it is written again)."""
        try:
            return self.stat(digest).size == size or not size
        except NotFound:
            return False

    def _describe(self, ingest: Ingest, ref: str, expected: str | None, size: int) -> IngestInfo:
        known = ingest.read()
        info = IngestInfo(
            ref=ref, total=size, expected=expected, started_at=known.started_at if known else time.time_ns()
        )
        if known is not None and not _resumable(ingest, known, info):
            ingest.remove()
            known = None
        if known != info:
            ingest.write(info)
            trace.point("content.ingest.described")
        return info

    def _claim(self, ref: str) -> None:
        with self._lock:
            if ref in self._active:
                raise Unavailable(
                    f"ingest {ref} is being written", hint="wait until it ends, then try again", subject=ref
                )
            self._active.add(ref)

    def _disclaim(self, ref: str) -> None:
        with self._lock:
            self._active.discard(ref)


def _resumable(ingest: Ingest, known: IngestInfo, wanted: IngestInfo) -> bool:
    if known.expected and wanted.expected and known.expected != wanted.expected:
        return False
    try:
        return not wanted.total or ingest.data.stat().st_size <= wanted.total
    except FileNotFoundError:
        return True


def _status(ingest: Ingest) -> IngestStatus | None:
    info = ingest.read()
    if info is None:
        return None
    try:
        data = ingest.data.stat()
        offset, updated_at = data.st_size, data.st_mtime_ns
    except FileNotFoundError:
        offset, updated_at = 0, info.started_at
    return IngestStatus(
        ref=info.ref,
        offset=offset,
        total=info.total,
        expected=info.expected,
        started_at=info.started_at,
        updated_at=updated_at,
    )


def _no_blob(digest: str) -> NotFound:
    return NotFound(f"No such content: {digest}", subject=digest)


def _no_ingest(ref: str) -> NotFound:
    return NotFound(f"No such ingest: {ref}", subject=ref)
