"""Where things lie in a content store, and the one file that describes an ingest.

    <root>/                         0700
      blobs/sha256/<64 hex>         0444, complete and never changed
      ingest/<sha256 of the ref>/   one per ingest
        data                        the bytes so far
        ingest.json                 ref, total (0: unknown), expected digest, time of the first write

A ref is any text, so its hash names the directory; a digest is checked against its grammar before it
becomes a path. `ingest.json` is renamed into place before `data` is made: a directory without a readable one
is the remains of a crash and holds nothing.
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
            if not directory.is_dir():
                directory.mkdir(mode=0o700, parents=True)
                sync_directory(directory.parent)

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
        draft = self.path / "ingest.json.new"
        draft.write_text(info.model_dump_json())
        draft.rename(self._info)

    def remove(self) -> None:
        """Drop it; missing parts are fine. The bytes go first: what a crash leaves is an empty ingest."""
        with suppress(FileNotFoundError):
            for path in sorted(self.path.iterdir()):  # `data` sorts before `ingest.json`
                path.unlink(missing_ok=True)
            self.path.rmdir()


def sync_directory(path: Path) -> None:
    """Put the names in a directory on stable storage."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
