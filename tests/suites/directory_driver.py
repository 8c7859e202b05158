"""The smallest `core.snapshots.SnapshotDriver`: directories that hold their own layer, never mounted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from corten_shared.errors import NotFound
from corten_shared.models.snapshot import Kind, Mount, Usage
from cortend.snapshots.tally import tally


class DirectoryDriver:
    """`<root>/<number>/`; a mount's options name the parents, nearest first. `synced`: whose syncing was asked for."""

    def __init__(self, root: Path, *, name: str = "directories", rebases: bool = True) -> None:
        self.name = name
        self.rebases = rebases
        self.synced: list[int] = []
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def create(self, sid: int, kind: Kind, parents: Sequence[int]) -> None:
        self.path(sid).mkdir()

    def mounts(self, sid: int, kind: Kind, parents: Sequence[int]) -> list[Mount]:
        options = ["rw" if kind is Kind.ACTIVE else "ro", *(str(self.path(parent)) for parent in parents)]
        return [Mount(type="layers", source=str(self.path(sid)), options=options)]

    def usage(self, sid: int) -> Usage:
        files = [path.stat() for path in self.path(sid).rglob("*")]
        return Usage(size=sum(found.st_size for found in files), inodes=len(files))

    def seal(self, sid: int) -> None:
        pass

    def shed(self, sid: int) -> None:
        pass

    def targets(self, sid: int) -> list[str]:
        return []

    def sync(self, sids: Sequence[int]) -> None:
        self.synced.extend(sids)

    def tally(self, sid: int, *, deep: bool = False) -> str:
        try:
            return tally(self.path(sid), deep=deep)
        except FileNotFoundError as error:
            raise NotFound(f"snapshot directory {sid} is gone") from error

    def exchange(self, sid: int, other: int) -> None:
        spare = self._root / "spare"
        if self.path(sid).exists():
            self.path(sid).rename(spare)
        self.path(other).rename(self.path(sid))
        if spare.exists():
            spare.rename(self.path(other))

    def strays(self) -> list[str]:
        return sorted(path.name for path in self._root.iterdir() if not path.name.isdigit())

    def remove_stray(self, name: str) -> None:
        shutil.rmtree(self._root / name)

    def remove(self, sid: int) -> None:
        shutil.rmtree(self.path(sid), ignore_errors=True)

    def ids(self) -> Iterator[int]:
        return (int(path.name) for path in list(self._root.iterdir()))

    def path(self, sid: int) -> Path:
        """Where number `sid` is."""
        return self._root / str(sid)


def write(mounts: Sequence[Mount], name: str, data: str = "x") -> None:
    """Write a file into a snapshot of this driver."""
    assert mounts[0].options[0] == "rw"
    (Path(mounts[0].source) / name).write_text(data)


def files(mounts: Sequence[Mount]) -> set[str]:
    """The files of a snapshot of this driver, its parents' included."""
    layers = [mounts[0].source, *mounts[0].options[1:]]
    return {path.name for layer in layers for path in Path(layer).iterdir()}
