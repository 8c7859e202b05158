"""A faithful copy of a tree whose names and content somebody else chose.

Works by descriptor, one directory at a time, and follows no link. Kept: content (holes too, shared blocks where the
file system can), hard links, owners, modes, times, extended attributes of files and directories, devices, fifos.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from cortend.linux.files import copy_content, copy_xattrs

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def copy_tree(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Copy what is in directory `source`, and its own attributes, to the empty directory `target`."""
    _Copy(os.open(target, _DIRECTORY)).run(os.open(source, _DIRECTORY))


class _Level:
    """A directory being copied: both descriptors, and the names still to do."""

    def __init__(self, source: int, target: int, path: str) -> None:
        self.source = source
        self.target = target
        self.path = path
        self.names: Iterator[str] = iter(os.listdir(source))

    def finish(self) -> None:
        """Attributes come last: writing into a directory changes its times."""
        found = os.fstat(self.source)
        os.fchown(self.target, found.st_uid, found.st_gid)
        os.fchmod(self.target, stat.S_IMODE(found.st_mode))
        copy_xattrs(self.source, self.target)
        os.utime(self.target, ns=(found.st_atime_ns, found.st_mtime_ns))

    def close(self) -> None:
        os.close(self.source)
        os.close(self.target)


class _Copy:
    def __init__(self, target: int) -> None:
        self._target = target
        self._links: dict[tuple[int, int], str] = {}

    def run(self, source: int) -> None:
        """An explicit stack: the depth of the tree is the image's choice."""
        root = os.dup(self._target)
        levels = [_Level(source, self._target, "")]
        try:
            while levels:
                level = levels[-1]
                name = next(level.names, None)
                if name is None:
                    level.finish()
                    levels.pop().close()
                elif (below := self._copy(root, level, name)) is not None:
                    levels.append(below)
        finally:
            os.close(root)
            for level in levels:
                level.close()

    def _copy(self, root: int, level: _Level, name: str) -> _Level | None:
        """Copy one name; a directory is returned to be gone into."""
        found = os.lstat(name, dir_fd=level.source)
        path = f"{level.path}{name}"
        if stat.S_ISDIR(found.st_mode):
            os.mkdir(name, 0o700, dir_fd=level.target)
            source = os.open(name, _DIRECTORY, dir_fd=level.source)
            return _Level(source, os.open(name, _DIRECTORY, dir_fd=level.target), f"{path}/")
        key = (found.st_dev, found.st_ino)
        if found.st_nlink > 1 and key in self._links:
            first = self._links[key]
            os.link(first, name, src_dir_fd=root, dst_dir_fd=level.target, follow_symlinks=False)
            return None
        if stat.S_ISREG(found.st_mode):
            _copy_file(level, name)
        else:
            _copy_special(level, name, found)
        if found.st_nlink > 1:
            self._links[key] = path
        return None


def _copy_file(level: _Level, name: str) -> None:
    source = os.open(name, _READ, dir_fd=level.source)
    try:
        target = os.open(name, _WRITE, 0o600, dir_fd=level.target)
        try:
            found = os.fstat(source)
            copy_content(source, target)
            os.fchown(target, found.st_uid, found.st_gid)
            os.fchmod(target, stat.S_IMODE(found.st_mode))
            copy_xattrs(source, target)
            os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy_special(level: _Level, name: str, found: os.stat_result) -> None:
    """Links, devices, fifos, sockets: none is opened."""
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(name, dir_fd=level.source), name, dir_fd=level.target)
    else:
        os.mknod(name, found.st_mode, found.st_rdev, dir_fd=level.target)
    os.chown(name, found.st_uid, found.st_gid, dir_fd=level.target, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=level.target)
    times = (found.st_atime_ns, found.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=level.target, follow_symlinks=False)
