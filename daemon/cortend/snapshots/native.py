"""`native`: each snapshot is a whole copy: slow and large, but it works on every file system."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from corten_shared.models.snapshot import Kind, Mount, Usage
from cortend.snapshots.copying import copy_tree
from cortend.snapshots.directories import Directories


class NativeDriver:
    """See `core.snapshots.SnapshotDriver`."""

    name = "native"
    rebases = False

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._directories = Directories(root)

    def create(self, sid: int, kind: Kind, parents: Sequence[int]) -> None:
        """A copy of the nearest parent, which holds all of its own; views copy nothing."""
        base = self._directories.files(parents[0]) if parents else None

        def fill(new: Path) -> None:
            (new / "fs").mkdir()
            (new / "fs").chmod(0o755)
            if base and kind is Kind.ACTIVE:
                copy_tree(base, new / "fs")

        self._directories.create(sid, fill)

    def mounts(self, sid: int, kind: Kind, parents: Sequence[int]) -> list[Mount]:
        """One bind mount; a view shows its parent's directory."""
        shown = parents[0] if kind is Kind.VIEW and parents else sid
        mode = "rw" if kind is Kind.ACTIVE else "ro"
        return [Mount(type="bind", source=str(self._directories.files(shown)), options=[mode, "rbind"])]

    def usage(self, sid: int) -> Usage:
        """Of the whole copy."""
        return self._directories.usage(sid)

    def seal(self, sid: int) -> None:
        """A directory is as good below as above."""

    def shed(self, sid: int) -> None:
        """Nothing is left over."""

    def sync(self, sids: Sequence[int]) -> None:
        """As the contract says."""
        self._directories.sync(sids)

    def remove(self, sid: int) -> None:
        """As the contract says; deletion goes on behind."""
        self._directories.remove(sid)

    def tally(self, sid: int, *, deep: bool = False) -> str:
        """As the contract says."""
        return self._directories.tally(sid, deep=deep)

    def exchange(self, sid: int, other: int) -> None:
        """As the contract says."""
        self._directories.exchange(sid, other)

    def strays(self) -> list[str]:
        """As the contract says."""
        return self._directories.strays()

    def remove_stray(self, name: str) -> None:
        """As the contract says."""
        self._directories.remove_stray(name)

    def targets(self, sid: int) -> list[str]:
        """As the contract says."""
        return self._directories.targets(sid)

    def ids(self) -> Iterator[int]:
        """As the contract says."""
        return self._directories.ids()

    def settle(self) -> None:
        """Wait until what was removed is off the disk."""
        self._directories.settle()
