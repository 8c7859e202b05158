"""Where things lie in a content store, and the one file that describes an ingest.

    <root>/                         0700
      blobs/sha256/<64 hex>         0444, complete and never changed
      ingest/<sha256 of the ref>/   one per ingest
        data                        the bytes so far
        ingest.json                 ref, total (0: unknown), expected digest, time of the first write

A ref is any text, so its hash names the directory; a digest is checked against its grammar before it
becomes a path. `ingest.json` is written before `data` is made, and in place: it is worth no sync. A directory without
a readable one is the remains of a crash and holds nothing; bytes that a power cut damaged are found by their digest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from corten_shared import digest as digests
from corten_shared.models.base import Record
from cortend.linux.files import make_directory


class IngestInfo(Record):
    """What `ingest.json` says."""

    ref: str
    total: int = 0
    expected: str | None = None
    started_at: int


class Layout:
    """The paths of one store; makes its directories."""

    def __init__(self, root: Path) -> None:
        self.blobs = root / "blobs" / "sha256"
        self.ingests = root / "ingest"
        for directory in (root, self.blobs.parent, self.blobs, self.ingests):
            make_directory(directory)

    def blob(self, digest: str) -> Path:
        """The file of a blob; raises InvalidArgument for a malformed digest."""
        return self.blobs / digests.hex_part(digest)

    def ingest(self, ref: str) -> Ingest:
        """The directory of an ingest, there or not."""
        return Ingest(self.ingests / hashlib.sha256(ref.encode(errors="surrogatepass")).hexdigest())

    def all_ingests(self) -> Iterator[Ingest]:
        """Every ingest's directory, remains of crashes included."""
        with os.scandir(self.ingests) as entries:
            for entry in entries:
                yield Ingest(Path(entry.path))


class Ingest:
    """One ingest's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path / "data"
        self._info = path / "ingest.json"

    def read(self) -> IngestInfo | None:
        """What is written about it; None when there is no (readable) ingest."""
        try:
            return IngestInfo.model_validate_json(self._info.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def write(self, info: IngestInfo) -> None:
        """Make the directory and describe the ingest."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        text = info.model_dump_json().encode()
        descriptor = os.open(self._info, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, text, 0)
            os.ftruncate(descriptor, len(text))
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Drop it; missing parts are fine. The bytes go first: what a crash leaves is an empty ingest."""
        with suppress(FileNotFoundError):
            for path in sorted(self.path.iterdir()):  # `data` sorts before `ingest.json`
                path.unlink(missing_ok=True)
            self.path.rmdir()
