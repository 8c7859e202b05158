"""A file tree as a tar. Links are written, never followed.

Directories are walked by descriptor, so a name that is swapped for a link meanwhile is an error or a link, not another
directory. The walk keeps its own stack: how deep the tree is, is its maker's choice.
"""

from __future__ import annotations

import os
import stat

from cortend.diff.refusal import exhausted, quote
from cortend.diff.tarwriter import TarWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DEEPEST = 900
"""Directories within each other: one descriptor for each is open (RLIMIT_NOFILE is 1024)."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = (FileNotFoundError, NotADirectoryError)


class Packer:
    """Writes trees through `write`; `finish` ends the archive."""

    def __init__(self, write: Callable[[bytes | bytearray | memoryview], object]) -> None:
        self._tar = TarWriter(write)

    def add(self, directory: int, name: bytes, path: bytes) -> None:
        """`name` in the open `directory` as `path`, with all that is below it. Raises OSError when it is not there."""
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            self._tar.entry(directory, name, path)
            return
        inner = os.open(name, _DIRECTORY, dir_fd=directory)
        try:
            self._tar.directory(inner, path)
            self.add_content(inner, path)
        finally:
            os.close(inner)

    def add_content(self, directory: int, path: bytes) -> None:
        """What is in the open `directory`, below `path` (empty: at the top)."""
        levels = [(os.dup(directory), path.rstrip(b"/") + b"/" if path else b"", _names(directory))]
        try:
            while levels:
                fd, prefix, names = levels[-1]
                name = next(names, None)
                if name is None:
                    os.close(levels.pop()[0])
                elif (inner := self._one(fd, name, prefix + name)) is not None:
                    levels.append((inner, prefix + name + b"/", _names(inner)))
                    if len(levels) > _DEEPEST:
                        raise exhausted(f"{quote(prefix)}: more than {_DEEPEST} directories within each other")
        finally:
            for fd, _, _ in levels:
                os.close(fd)

    def finish(self) -> None:
        """The archive's end."""
        self._tar.finish()

    def _one(self, directory: int, name: bytes, path: bytes) -> int | None:
        """Write one entry; a directory's descriptor is returned, to be gone into."""
        try:
            if not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                self._tar.entry(directory, name, path)
                return None
            inner = os.open(name, _DIRECTORY, dir_fd=directory)
        except _GONE:
            return None  # it went, or became something else, while we walked
        try:
            self._tar.directory(inner, path)
        except BaseException:
            os.close(inner)
            raise
        return inner


def _names(fd: int) -> Iterator[bytes]:
    return iter(sorted(map(os.fsencode, os.listdir(fd))))
