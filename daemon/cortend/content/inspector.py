"""The directory of blobs as it is, for the check of the store."""

from __future__ import annotations

import hashlib
import os
import re
import time
from pathlib import Path

from corten_shared.errors import NotFound
from cortend.content.layout import Ingest, Layout
from cortend.core import trace
from cortend.linux.files import remove_tree

_HEX = re.compile(r"[0-9a-f]{64}\Z")
_BLOCK = 1 << 20
_SETTLED = 60.0
"""Seconds after which an ingest's directory without a description is nobody's beginning any more."""


class LocalBlobInspector:
    """core.check.BlobInspector in the directory `root` of a LocalBlobStore."""

    def __init__(self, root: Path) -> None:
        self._layout = Layout(root)

    def hash(self, digest: str) -> str:
        """Reads it all."""
        found = hashlib.sha256()
        try:
            with self._layout.blob(digest).open("rb", buffering=0) as file:
                while block := file.read(_BLOCK):
                    found.update(block)
        except FileNotFoundError as error:
            raise NotFound(f"No such content: {digest}", subject=digest) from error
        return f"sha256:{found.hexdigest()}"

    def discard(self, digest: str) -> None:
        """Whatever it is: a directory in a blob's place, too."""
        remove_tree(os.fspath(self._layout.blob(digest)))
        trace.point("content.delete.unlinked")

    def strays(self) -> list[str]:
        """`blobs/<name>` and `ingest/<name>`."""
        blobs = [f"blobs/{name}" for name in os.listdir(self._layout.blobs) if not _HEX.match(name)]
        return sorted(blobs) + sorted(self._broken_ingests())

    def remove_stray(self, name: str) -> None:
        """One of `strays`."""
        if name in self.strays():
            kind, _, last = name.partition("/")
            folder = self._layout.blobs if kind == "blobs" else self._layout.ingests
            remove_tree(os.fspath(folder / last))

    def _broken_ingests(self) -> list[str]:
        settled = time.time() - _SETTLED
        found: list[str] = []
        with os.scandir(self._layout.ingests) as entries:
            for entry in entries:
                if entry.stat(follow_symlinks=False).st_mtime < settled and not _described(Path(entry.path)):
                    found.append(f"ingest/{entry.name}")
        return found


def _described(path: Path) -> bool:
    try:
        return Ingest(path).read() is not None
    except OSError:
        return False
