"""Volumes as directories.

    <root>/<namespace>/<name>/
        volume.json     the record; written last (temporary file, fsync, rename), so what has none is half-made
        _data/          what containers see

Removal renames the directory to `.removing-<random>` first, so a crash leaves no half-removed volume under its name.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from corten_shared import times
from corten_shared.errors import InvalidArgument, NotFound
from corten_shared.models.volume import VolumeRecord
from cortend.linux.files import make_directory, sync_directory, write_durably

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}\Z")


class LocalVolumes:
    """Implements core.volumes.VolumeStore below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        make_directory(root)
        for left in root.glob("*/.removing-*"):
            shutil.rmtree(left, ignore_errors=True)
        for path in root.glob("*/[!.]*"):
            _drop_half_made(path)

    def get(self, ns: str, name: str) -> VolumeRecord:
        """Raises NotFound."""
        record = self._read(self._path(ns, name)) if _NAME.match(name) else None
        if record is None:
            raise NotFound(f"get {name}: no such volume", subject=name)
        return record

    def list(self, ns: str) -> list[VolumeRecord]:
        """Ordered by name."""
        records = [self._read(path) for path in sorted((self._root / ns).glob("[!.]*"))]
        return [record for record in records if record is not None]

    def walk(self) -> Iterator[tuple[str, VolumeRecord]]:
        """Every volume with its namespace."""
        for folder in sorted(self._root.glob("*/")):
            for record in self.list(folder.name):
                yield folder.name, record

    def create(
        self, ns: str, name: str, *, labels: dict[str, str] | None = None, anonymous: bool = False, owner: str = ""
    ) -> VolumeRecord:
        """A new volume, or the one that has the name already."""
        if not _NAME.match(name):
            raise InvalidArgument(
                f'create {name[:80]}: "{name[:80]}" includes invalid characters for a local volume name, only '
                '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
            )
        path = self._path(ns, name)
        with self._lock:
            existing = self._read(path)
            if existing is not None:
                return existing
            make_directory(path, 0o755)
            (path / "_data").mkdir(mode=0o755, exist_ok=True)  # synced with the record, which is beside it
            record = VolumeRecord(
                name=name,
                mountpoint=str(path / "_data"),
                labels=labels or {},
                anonymous=anonymous,
                owner=owner,
                created_at=times.now(),
            )
            write_durably(path / "volume.json", record.model_dump_json().encode())
        return record

    def disown(self, ns: str, name: str) -> None:
        """The volume outlives its container from now on."""
        with self._lock:
            record = self.get(ns, name)
            if record.owner:
                kept = record.model_copy(update={"owner": ""})
                write_durably(self._path(ns, name) / "volume.json", kept.model_dump_json().encode())

    def remove(self, ns: str, name: str) -> None:
        """Remove a volume and its data."""
        self.get(ns, name)
        path = self._path(ns, name)
        doomed = path.with_name(f".removing-{secrets.token_hex(8)}")
        with self._lock:
            path.rename(doomed)
            sync_directory(path.parent)  # what was removed does not come back with a power cut
        shutil.rmtree(doomed, ignore_errors=True)

    def is_empty(self, ns: str, name: str) -> bool:
        """Whether its directory has no entry."""
        with os.scandir(self.get(ns, name).mountpoint) as entries:
            return next(entries, None) is None

    def _path(self, ns: str, name: str) -> Path:
        return self._root / ns / name

    @staticmethod
    def _read(path: Path) -> VolumeRecord | None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return VolumeRecord.model_validate_json((path / "volume.json").read_bytes())
        return None


def _drop_half_made(path: Path) -> None:
    """Remove what a crash left of a volume's creation. One without a record that holds data is left alone."""
    if (path / "volume.json").exists():
        return
    (path / "volume.json.new").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (path / "_data").rmdir()
        path.rmdir()
