"""What one tree has differently from another: the walk behind layers and `diff`.

Both trees are walked by descriptor, together, names in order; a directory comes before what is in it. Where `upper` is
overlayfs's own directory (`marked`) only what it holds is looked at: whiteouts and opaque directories say what went.

A directory is told when its own attributes differ or something below it does, so that a layer has the parents of all
it has. A file is the same when its attributes and content are; content is compared only where size and times agree.
Of hard links all are told as soon as one is: a layer cannot link to what lies below it.
"""

from __future__ import annotations

import os
import stat

from cortend.diff.refusal import exhausted, quote
from cortend.diff.tarwriter import xattrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

MODIFIED, ADDED, DELETED, OPAQUE = range(4)
"""OPAQUE: everything that the lower tree has in this directory went."""

_DEEPEST = 4000
_PIECE = 1 << 18
_OVERLAY_OPAQUE = "trusted.overlay.opaque"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_GONE = (FileNotFoundError, NotADirectoryError)


class Difference:
    """`path` (the root's is empty) is not as below. `fd` is the open directory itself when `name` is empty, else the
    one that has `name`; both are for use until the walk goes on."""

    __slots__ = ("fd", "found", "kind", "name", "path")

    def __init__(self, kind: int, path: bytes, fd: int, name: bytes, found: os.stat_result | None) -> None:
        self.kind = kind
        self.path = path
        self.fd = fd
        self.name = name
        self.found = found


class _Level:
    """A directory that the walk is in. `upper` and `lower` are open (-1: there is nothing below)."""

    def __init__(self, path: bytes, upper: int, lower: int, kind: int) -> None:
        self.path = path
        self.upper = upper
        self.lower = lower
        self.kind = kind
        self.names: Iterator[bytes] = iter(())
        self.pending = True
        """Not told yet."""
        self.late = False
        """Only its time differs: told at the end, unless `passed` explains the time."""
        self.passed = False
        """Something was made in it that is not to be told."""
        self.place = False
        """It is itself such a thing while nothing else is in it."""
        self.whole = False
        """All that `lower` has in it counts, not only what `upper` marks."""

    def close(self) -> None:
        os.close(self.upper)
        if self.lower >= 0:
            os.close(self.lower)


class Walk:
    """One comparison of the open directories `upper` and `lower` (-1: of nothing).

    `skip` are paths that are not told while they are new and empty: places to mount on, which every start makes.
    `listing`: for people, as docker lists: what went from an opaque directory name by name, and directories of which
    only the time differs not at all.
    """

    def __init__(
        self, upper: int, lower: int, *, marked: bool, skip: Collection[bytes], limit: int, listing: bool = False
    ) -> None:
        self._upper = upper
        self._lower = lower
        self._marked = marked
        self._skip = skip
        self._limit = limit
        self._listing = listing
        self._seen = 0
        self._scanning = False
        self._linked: set[tuple[int, int]] = set()

    def run(self) -> Iterator[Difference]:
        """The differences. Raises Refusal for more than `limit` files, or too many directories within each other."""
        self._scanning = True
        for difference in self._walk():
            if (found := difference.found) is not None and difference.name and found.st_nlink > 1:
                self._linked.add((found.st_dev, found.st_ino))
        self._scanning = False
        yield from self._walk()

    def _walk(self) -> Iterator[Difference]:
        self._seen = 0
        levels = [self._root()]
        try:
            yield from self._flush(levels)
            while levels:
                name = next(levels[-1].names, None)
                if name is None:
                    yield from self._leave(levels)
                else:
                    yield from self._one(levels, name)
        finally:
            for level in levels:
                level.close()

    def _root(self) -> _Level:
        lower = os.dup(self._lower) if self._lower >= 0 else -1
        level = _Level(b"", os.dup(self._upper), lower, MODIFIED if lower >= 0 else ADDED)
        # Its time says nothing: it is new with every snapshot.
        level.pending = lower < 0 or _attributes(level.upper) != _attributes(lower)
        self._list(level)
        return level

    def _list(self, level: _Level) -> None:
        names = set(os.listdir(level.upper))
        if level.lower >= 0 and (level.whole or not self._marked):
            names.update(os.listdir(level.lower))
        level.names = iter(sorted(map(os.fsencode, names)))

    def _leave(self, levels: list[_Level]) -> Iterator[Difference]:
        level = levels[-1]
        if level.pending and level.late and not level.passed and not self._listing:
            yield from self._flush(levels)
        levels.pop().close()
        if level.pending and level.place and levels:
            levels[-1].passed = True

    def _flush(self, levels: list[_Level]) -> Iterator[Difference]:
        """Tell the directories that lead here, as far as they were not."""
        for level in levels:
            if level.pending:
                level.pending = False
                yield Difference(level.kind, level.path, level.upper, b"", os.fstat(level.upper))

    def _one(self, levels: list[_Level], name: bytes) -> Iterator[Difference]:
        level = levels[-1]
        path = level.path + b"/" + name if level.path else name
        self._count(path, len(levels))
        found = _lstat(name, level.upper)
        if found is None and self._marked and not level.whole:
            return  # it went while we walked
        new = None if found is None or _is_nothing(found) else found
        old = _lstat(name, level.lower) if level.lower >= 0 else None
        if old is not None and _is_whiteout(old):
            old = None
        if new is None:
            if old is not None:
                yield from self._flush(levels)
                yield Difference(DELETED, path, level.upper, name, found)
        elif stat.S_ISDIR(new.st_mode):
            yield from self._enter(levels, name, path, new, old)
        else:
            yield from self._file(levels, name, path, new, old)

    def _file(
        self, levels: list[_Level], name: bytes, path: bytes, new: os.stat_result, old: os.stat_result | None
    ) -> Iterator[Difference]:
        level = levels[-1]
        if self._scanning and new.st_nlink < 2:
            return
        if old is None and path in self._skip and stat.S_ISREG(new.st_mode) and not new.st_size:
            level.passed = True
            return
        linked = new.st_nlink > 1 and (new.st_dev, new.st_ino) in self._linked
        if old is None or linked or not _same(level, name, new, old):
            yield from self._flush(levels)
            yield Difference(ADDED if old is None else MODIFIED, path, level.upper, name, new)

    def _enter(
        self, levels: list[_Level], name: bytes, path: bytes, new: os.stat_result, old: os.stat_result | None
    ) -> Iterator[Difference]:
        below = _open_level(levels[-1], name, path, old)
        if below is None:
            return  # it became something else
        below.whole = levels[-1].whole
        levels.append(below)
        opaque = self._marked and _is_opaque(below.upper)
        below.place = old is None and path in self._skip
        below.late = old is not None and new.st_mtime_ns != old.st_mtime_ns
        known = below.lower >= 0
        if not (known or below.place) or (known and (opaque or _attributes(below.upper) != _attributes(below.lower))):
            yield from self._flush(levels)
        if opaque and self._listing:
            below.whole = True
        elif opaque and below.lower >= 0:
            if os.listdir(below.lower):
                yield Difference(OPAQUE, path, below.upper, b"", new)
            os.close(below.lower)
            below.lower = -1
        self._list(below)

    def _count(self, path: bytes, depth: int) -> None:
        self._seen += 1
        if self._seen > self._limit:
            raise exhausted(f"more than {self._limit} files to compare")
        if depth > _DEEPEST:
            raise exhausted(f"{quote(path)}: more than {_DEEPEST} directories within each other")


def _open_level(above: _Level, name: bytes, path: bytes, old: os.stat_result | None) -> _Level | None:
    try:
        upper = os.open(name, _DIRECTORY, dir_fd=above.upper)
    except _GONE:
        return None
    lower = -1
    try:
        if old is not None and stat.S_ISDIR(old.st_mode):
            lower = os.open(name, _DIRECTORY, dir_fd=above.lower)
    except BaseException:
        os.close(upper)
        raise
    return _Level(path, upper, lower, ADDED if old is None else MODIFIED)


def _lstat(name: bytes, fd: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except _GONE:
        return None


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _is_nothing(found: os.stat_result) -> bool:
    """A mark for a deleted file, or a socket, which no archive can have."""
    return _is_whiteout(found) or stat.S_ISSOCK(found.st_mode)


def _is_opaque(fd: int) -> bool:
    try:
        return os.getxattr(fd, _OVERLAY_OPAQUE) == b"y"
    except OSError:
        return False


def _attributes(fd: int) -> tuple[int, int, int, list[tuple[str, bytes]]]:
    found = os.fstat(fd)
    return found.st_mode, found.st_uid, found.st_gid, xattrs(fd)


def _same(level: _Level, name: bytes, new: os.stat_result, old: os.stat_result) -> bool:
    """Whether two things of one name, neither of them a directory, are the same."""
    if (new.st_mode, new.st_uid, new.st_gid, new.st_mtime_ns) != (
        old.st_mode, old.st_uid, old.st_gid, old.st_mtime_ns
    ):  # fmt: skip
        return False
    if stat.S_ISLNK(new.st_mode):
        return os.readlink(name, dir_fd=level.upper) == os.readlink(name, dir_fd=level.lower)
    if not stat.S_ISREG(new.st_mode):
        return new.st_rdev == old.st_rdev
    if new.st_size != old.st_size:
        return False
    # No program can choose a ctime: with it and the inode the same, both names lead to one file.
    if (new.st_ino, new.st_ctime_ns) == (old.st_ino, old.st_ctime_ns):
        return True
    return _same_content(level, name)


def _same_content(level: _Level, name: bytes) -> bool:
    try:
        one = os.open(name, _FILE, dir_fd=level.upper)
    except OSError:
        return False
    try:
        other = os.open(name, _FILE, dir_fd=level.lower)
        try:
            if xattrs(one) != xattrs(other):
                return False
            while (piece := os.read(one, _PIECE)) == os.read(other, _PIECE):
                if not piece:
                    return True
            return False
        finally:
            os.close(other)
    finally:
        os.close(one)
