"""A tree summed up in one line, to be told later whether it is still the same.

    v1 <entries> <bytes> <32 hex>

The last word is the sum of one hash per entry, so the order of a walk does not matter. An entry is its path, type,
mode, owner, and for what is no directory its size, time of change and device number (directories' own times change by
looking after them). A deep tally has content and extended attributes instead of times.
"""

from __future__ import annotations

import hashlib
import os
import stat

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WIDTH = 16
_BLOCK = 1 << 20


def tally(path: str | os.PathLike[str], *, deep: bool = False) -> str:
    """The tally of a tree, or of a single file. Raises FileNotFoundError when it is not there."""
    counted = _Tally(deep)
    top = os.fspath(path)
    parent = os.open(os.path.dirname(top), _DIRECTORY)
    try:
        counted.add("", parent, os.path.basename(top))
    finally:
        os.close(parent)
    for folder, directories, files, fd in os.fwalk(top, follow_symlinks=False):
        below = folder[len(top) :]
        for name in (*directories, *files):
            counted.add(f"{below}/{name}", fd, name)
    return str(counted)


class _Tally:
    """What was counted so far."""

    def __init__(self, deep: bool) -> None:
        self._deep = deep
        self._entries = self._size = self._sum = 0
        self._linked: set[int] = set()

    def add(self, path: str, fd: int, name: str) -> None:
        found = os.lstat(name, dir_fd=fd)
        self._entries += 1
        if stat.S_ISREG(found.st_mode) and found.st_ino not in self._linked:
            self._size += found.st_size
            if found.st_nlink > 1:
                self._linked.add(found.st_ino)
        line = _described(path, found, self._deep)
        if self._deep:
            line += _content(fd, name, found)
        self._sum += int.from_bytes(hashlib.blake2b(line, digest_size=_WIDTH).digest())

    def __str__(self) -> str:
        kind = "deep" if self._deep else "v1"
        return f"{kind} {self._entries} {self._size} {self._sum % (1 << 8 * _WIDTH):0{2 * _WIDTH}x}"


def _described(path: str, found: os.stat_result, deep: bool) -> bytes:
    line = f"{path}\0{found.st_mode:o} {found.st_uid} {found.st_gid}"
    if not stat.S_ISDIR(found.st_mode):
        line += f" {found.st_size} {found.st_rdev}"
        if not deep:
            line += f" {found.st_mtime_ns}"
    return os.fsencode(line)


def _content(fd: int, name: str, found: os.stat_result) -> bytes:
    """What only reading shows: bytes, the target of a link, extended attributes."""
    if stat.S_ISLNK(found.st_mode):
        return os.fsencode(os.readlink(name, dir_fd=fd))
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        return b""
    parts: list[bytes] = []
    opened = os.open(name, _READ, dir_fd=fd)
    try:
        for attribute in sorted(os.listxattr(opened)):
            parts += [os.fsencode(attribute), os.getxattr(opened, attribute)]
        if stat.S_ISREG(found.st_mode):
            content = hashlib.sha256()
            while block := os.read(opened, _BLOCK):
                content.update(block)
            parts.append(content.digest())
    finally:
        os.close(opened)
    return b"\0".join(parts)
