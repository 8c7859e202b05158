"""The directories that both drivers keep, by number.

    <root>/              0700: nobody else walks in, so setuid files of images are of no use on the host
        <id>/            0700
            fs/          the snapshot's files, 0755 until an image says otherwise
            work/        overlayfs's scratch directory (overlay driver, active snapshots)
        new-<id>/        being made: renamed to <id> when whole
        rm-<id>-<n>/     being removed: no longer <id>, its files may take a while

A directory named by a bare number is whole. Everything else is left from an interruption and is cleared by `ids`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from corten_shared.errors import InvalidArgument, NotFound
from corten_shared.models.snapshot import Usage
from cortend.core import trace
from cortend.linux.files import (
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    remove_tree,
    renameat2,
    spread_children,
    sync_directory,
    syncfs,
    tree_usage,
)
from cortend.linux.mountinfo import read_mounts
from cortend.snapshots.tally import tally

log = logging.getLogger(__name__)

_ID = re.compile(r"[1-9][0-9]{0,18}")
_LEFT = re.compile(r"(new|rm)-[0-9-]+")
_UNSAFE = re.compile(r"[:,\\\s]")


class Directories:
    """Numbered directories below `root`."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).absolute()
        if _UNSAFE.search(str(self.root)):
            raise InvalidArgument(
                f"snapshot root {str(self.root)!r} has a character that mount options cannot carry",
                hint="use a path without spaces, colons, commas and backslashes",
            )
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.chmod(0o700)
        # ext4 without a journal does not reuse an inode within minutes of its deletion, and to pass over each of a
        # removed layer's takes longer than to write the next layer: a snapshot is better off in a group of its own.
        spread_children(os.fspath(self.root))
        self._making: set[str] = set()
        self._lock = threading.Lock()
        self._removals = 0
        self._reaper = _Reaper(self.root)

    def path(self, sid: int) -> Path:
        """Where snapshot `sid` is, or would be."""
        return self.root / str(_positive(sid))

    def files(self, sid: int) -> Path:
        """Where its files are."""
        return self.path(sid) / "fs"

    def create(self, sid: int, fill: Callable[[Path], None]) -> None:
        """Make the directory, whole or not at all: `fill` gets a fresh one (0700). One that exists is fine."""
        if self.path(sid).exists():
            return
        new = f"new-{_positive(sid)}"
        with self._lock:
            self._making.add(new)
        try:
            remove_tree(os.fspath(self.root / new))
            (self.root / new).mkdir(mode=0o700)
            fill(self.root / new)
            trace.point("snapshot.create.filled")
            (self.root / new).rename(self.path(sid))
            trace.point("snapshot.create.renamed")
        except BaseException:
            with contextlib.suppress(OSError):
                remove_tree(os.fspath(self.root / new))
            raise
        finally:
            with self._lock:
                self._making.discard(new)

    def usage(self, sid: int) -> Usage:
        """Bytes on disk and inodes below `fs`, without following links or leaving the file system."""
        return measure(self.files(sid))

    def sync(self, sids: Sequence[int]) -> None:
        """One syncfs for all of them: they share a file system."""
        if sids:
            syncfs(os.fspath(self.root))

    def remove(self, sid: int) -> None:
        """Rename it away, durable order not needed: a directory that comes back has no record, so `ids` shows it."""
        with self._lock:
            self._removals += 1
            gone = f"rm-{_positive(sid)}-{self._removals}-{os.getpid()}"
        try:
            self.path(sid).rename(self.root / gone)
        except FileNotFoundError:
            return
        trace.point("snapshot.remove.renamed")
        self._reaper.add(gone)

    def tally(self, sid: int, *, deep: bool = False) -> str:
        """What is in `fs`."""
        try:
            return tally(self.files(sid), deep=deep)
        except FileNotFoundError as error:
            raise NotFound(f"snapshot directory {self.path(sid)} is gone", subject=str(sid)) from error

    def exchange(self, sid: int, other: int) -> None:
        """One rename, and where there is nothing at `sid` a plain one; the files are synced already."""
        old, new = os.fspath(self.path(sid)), os.fspath(self.path(other))
        if self.path(sid).exists():
            renameat2(old, new, RENAME_EXCHANGE)
        else:
            renameat2(new, old, RENAME_NOREPLACE)
        sync_directory(self.root)

    def strays(self) -> list[str]:
        """What is neither a snapshot nor the remains of one."""
        return sorted(name for name in os.listdir(self.root) if not _ID.fullmatch(name) and not _LEFT.fullmatch(name))

    def remove_stray(self, name: str) -> None:
        """Remove one of them."""
        if name in self.strays():
            remove_tree(os.fspath(self.root / name))

    def shed(self, sid: int, names: Sequence[str]) -> None:
        """Remove parts of a snapshot, as `remove` does the whole."""
        for name in names:
            with self._lock:
                self._removals += 1
                gone = f"rm-{_positive(sid)}-{self._removals}-{os.getpid()}"
            with contextlib.suppress(FileNotFoundError):
                (self.path(sid) / name).rename(self.root / gone)
                self._reaper.add(gone)

    def targets(self, sid: int) -> list[str]:
        """Where `fs` is mounted: by itself, or as a layer of an overlay."""
        return list(_targets(self.files(sid)))

    def ids(self) -> Iterator[int]:
        """Numbers of whole directories; what an interruption left is removed on the way."""
        for name in sorted(os.listdir(self.root)):
            if _ID.fullmatch(name):
                yield int(name)
            elif _LEFT.fullmatch(name):
                with self._lock:
                    busy = name in self._making
                if not busy:
                    self._reaper.add(name)

    def settle(self) -> None:
        """Return once everything removed so far is gone from disk."""
        self._reaper.settle()


class _Reaper:
    """Deletes renamed directories on a thread of its own: a hundred thousand files must not keep a caller waiting.

    Being killed in the middle is fine, `ids` finds the rest.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._queue: queue.Queue[str] = queue.Queue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, name: str) -> None:
        self._queue.put(name)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="snapshot-reaper", daemon=True)
                self._thread.start()

    def settle(self) -> None:
        self._queue.join()

    def _run(self) -> None:
        while True:
            name = self._queue.get()
            try:
                remove_tree(os.fspath(self._root / name))
            except OSError as error:
                fields = {"directory": name, "error": str(error)}
                log.warning("cannot delete a removed snapshot yet", extra={"fields": fields})
            finally:
                self._queue.task_done()


def _targets(files: Path) -> Iterator[str]:
    """Mounts of a snapshot's directory. A bind mount shows the path within its file system, an overlay its layers."""
    own, tail = os.fspath(files), f"/{files.parent.name}/{files.name}"
    try:
        number = files.stat().st_dev
    except FileNotFoundError:
        return
    device = f"{os.major(number)}:{os.minor(number)}"
    for entry in read_mounts():
        if entry.fstype == "overlay":
            found = own in layers_of(entry.super_options)
        else:
            found = entry.device == device and entry.root.endswith(tail) and own.endswith(entry.root)
        if found:
            yield entry.target


def layers_of(options: Sequence[str]) -> set[str]:
    """The directories that an overlay is made of."""
    found: set[str] = set()
    for option in options:
        key, _, value = option.partition("=")
        if key in ("lowerdir", "upperdir", "lowerdir+"):
            found.update(value.split(":"))
    return found


def measure(path: str | os.PathLike[str]) -> Usage:
    """Disk use of a tree: allocated bytes, and inodes, hard links counted once."""
    size, inodes = tree_usage(os.fspath(path))
    return Usage(size=size, inodes=inodes)


def _positive(sid: int) -> int:
    """Numbers only ever come from the database; anything else must not become a path."""
    if type(sid) is not int or sid <= 0:
        raise InvalidArgument(f"not a snapshot id: {sid!r}")
    return sid
