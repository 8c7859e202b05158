"""Copying a directory of an image into a new volume: owners, modes, times, attributes and hard links kept.

Links are copied as links and never followed: every step is a descriptor (O_NOFOLLOW), so a container that changes the
directory meanwhile cannot lead the copy elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from corten_shared.errors import InvalidArgument
from cortend.linux.files import copy_content, copy_xattrs

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
MAX_DEPTH = 256
"""Directories inside directories; a descriptor of each is open while what is below is copied."""


def copy_tree(source: int, target: Path) -> None:
    """Copy what is in the open directory `source` (which is closed) into the existing directory `target`."""
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, source)
        fd = os.open(target, DIRECTORY | os.O_NOFOLLOW)
        stack.callback(os.close, fd)
        _Copy(fd).directory(source, fd, 0)


class _Copy:
    """One copy; `links` maps a source file with several names to the first copy's path below `top`."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._links: dict[tuple[int, int], str] = {}
        self._path: list[str] = []

    def directory(self, source: int, target: int, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise InvalidArgument(f"directories of the image are more than {MAX_DEPTH} deep")
        with os.scandir(source) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            self._path.append(name)
            self._entry(source, target, name, depth)
            self._path.pop()
        status = os.fstat(source)
        os.fchown(target, status.st_uid, status.st_gid)
        os.fchmod(target, stat.S_IMODE(status.st_mode))
        copy_xattrs(source, target)
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _entry(self, source: int, target: int, name: str, depth: int) -> None:
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            self._subdirectory(source, target, name, depth)
        elif kind == stat.S_IFREG:
            self._file(source, target, name)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        elif kind in (stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK):
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)

    def _subdirectory(self, source: int, target: int, name: str, depth: int) -> None:
        with contextlib.ExitStack() as stack:
            inner = os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=source)
            stack.callback(os.close, inner)
            os.mkdir(name, 0o700, dir_fd=target)
            made = os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=target)
            stack.callback(os.close, made)
            self.directory(inner, made, depth + 1)

    def _file(self, source: int, target: int, name: str) -> None:
        with contextlib.ExitStack() as stack:
            inner = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
            stack.callback(os.close, inner)
            status = os.fstat(inner)
            if not stat.S_ISREG(status.st_mode):
                return  # changed under our hands
            identity = (status.st_dev, status.st_ino)
            if first := self._links.get(identity):
                os.link(first, name, src_dir_fd=self._top, dst_dir_fd=target, follow_symlinks=False)
                return
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            made = os.open(name, flags, 0o600, dir_fd=target)
            stack.callback(os.close, made)
            copy_content(inner, made)
            os.fchown(made, status.st_uid, status.st_gid)
            os.fchmod(made, stat.S_IMODE(status.st_mode))
            copy_xattrs(inner, made)
            os.utime(made, ns=(status.st_atime_ns, status.st_mtime_ns))
            if status.st_nlink > 1:
                self._links[identity] = "/".join(self._path)
