"""A file tree as a tar: PAX, names byte for byte, hard links, file capabilities. Links are written, never followed.

Directories are walked by descriptor, so a name that is swapped for a link meanwhile is an error or a link, not another
directory. A file that shrinks while it is read is filled up with zeros, one that grows is cut: headers came first.
"""

from __future__ import annotations

import os
import stat

from cortend.diff.refusal import exhausted, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_BLOCK = 512
_END = bytes(2 * _BLOCK)
_PIECE = 1 << 18
_DEEPEST = 900
"""Directories within each other: one descriptor for each is open (RLIMIT_NOFILE is 1024)."""
_OCTAL_SIZE = 8**11
_OCTAL_ID = 8**7
_CAPABILITY = "security.capability"
_KINDS = {
    stat.S_IFREG: b"0", stat.S_IFLNK: b"2", stat.S_IFCHR: b"3", stat.S_IFBLK: b"4", stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}  # fmt: skip


class Packer:
    """Writes trees through `write`; `finish` ends the archive."""

    def __init__(self, write: Callable[[bytes | bytearray | memoryview], object]) -> None:
        self._write = write
        self._links: dict[tuple[int, int], bytes] = {}

    def add(self, directory: int, name: bytes, path: bytes) -> None:
        """`name` in the open `directory` as `path`, with all that is below it. Raises OSError when it is not there."""
        self._add(directory, name, path, 0)

    def add_content(self, directory: int, path: bytes) -> None:
        """What is in the open `directory`, below `path` (empty: at the top)."""
        self._content(directory, path, 0)

    def finish(self) -> None:
        """The archive's end."""
        self._write(_END)

    def _add(self, directory: int, name: bytes, path: bytes, depth: int) -> None:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            inner = os.open(name, flags, dir_fd=directory)
            try:
                self.directory(inner, path)
                self._content(inner, path, depth + 1)
            finally:
                os.close(inner)
        elif stat.S_ISREG(found.st_mode):
            self._regular(directory, name, path)
        elif not stat.S_ISSOCK(found.st_mode):  # tar has no sockets
            target = os.readlink(name, dir_fd=directory) if stat.S_ISLNK(found.st_mode) else b""
            self._header(path, found, _KINDS[stat.S_IFMT(found.st_mode)], target)

    def directory(self, fd: int, path: bytes) -> None:
        """The open directory itself, without its content."""
        self._header(path.rstrip(b"/") + b"/", os.fstat(fd), b"5")

    def _content(self, fd: int, path: bytes, depth: int) -> None:
        if depth > _DEEPEST:
            raise exhausted(f"{quote(path)}: more than {_DEEPEST} directories within each other")
        prefix = path.rstrip(b"/") + b"/" if path else b""
        for name in sorted(map(os.fsencode, os.listdir(fd))):
            try:
                self._add(fd, name, prefix + name, depth)
            except (FileNotFoundError, NotADirectoryError):
                continue  # it went, or became something else, while we walked

    def _regular(self, directory: int, name: bytes, path: bytes) -> None:
        # O_NONBLOCK: if it became a fifo meanwhile nobody waits; devices do not open here (nodev).
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=directory)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                return
            identity = (found.st_dev, found.st_ino)
            if first := self._links.get(identity):
                self._header(path, found, b"1", first)
                return
            if found.st_nlink > 1:
                self._links[identity] = path
            self._header(path, found, b"0", xattrs=_capability(fd))
            self._file(fd, found.st_size)
        finally:
            os.close(fd)

    def _file(self, fd: int, size: int) -> None:
        left = size
        while left:
            piece = os.read(fd, min(left, _PIECE)) or bytes(min(left, _PIECE))
            self._write(piece)
            left -= len(piece)
        self._write(bytes(-size % _BLOCK))

    def _header(
        self, path: bytes, found: os.stat_result, kind: bytes, link: bytes = b"", xattrs: bytes = b""
    ) -> None:
        size = found.st_size if kind == b"0" else 0
        pax = b""
        if len(path) > 100 or not path.isascii():
            pax += _record(b"path", path)
        if len(link) > 100 or not link.isascii():
            pax += _record(b"linkpath", link)
        if size >= _OCTAL_SIZE:
            pax += _record(b"size", b"%d" % size)
        for key, value in ((b"uid", found.st_uid), (b"gid", found.st_gid)):
            if value >= _OCTAL_ID:
                pax += _record(key, b"%d" % value)
        if xattrs:
            pax += _record(b"SCHILY.xattr.security.capability", xattrs)
        if pax:
            self._write(_block(b"PaxHeaders.0/" + path[-80:].lstrip(b"/"), b"x", len(pax)))
            self._write(pax + bytes(-len(pax) % _BLOCK))
        self._write(_block(path, kind, size, found, link))


def _capability(fd: int) -> bytes:
    try:
        return os.getxattr(fd, _CAPABILITY)
    except OSError:
        return b""


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE\\n`, whose length counts its own digits."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + len(b"%d" % len(rest))
    length += len(b"%d" % length) - len(b"%d" % len(rest))
    return b"%d" % length + rest


def _octal(value: int, width: int) -> bytes:
    """What does not fit stands in an extended header, and is 0 here."""
    return b"%0*o\0" % (width - 1, value if 0 <= value < 8 ** (width - 1) else 0)


def _block(
    path: bytes, kind: bytes, size: int, found: os.stat_result | None = None, link: bytes = b""
) -> bytes:
    device = found.st_rdev if found and kind in (b"3", b"4") else 0
    fields = (
        path[:100].ljust(100, b"\0"),
        _octal(stat.S_IMODE(found.st_mode) if found else 0o644, 8),
        _octal(found.st_uid if found else 0, 8),
        _octal(found.st_gid if found else 0, 8),
        _octal(size, 12),
        _octal(found.st_mtime_ns // 1_000_000_000 if found else 0, 12),
        b" " * 8,
        kind,
        link[:100].ljust(100, b"\0"),
        b"ustar\x0000",
        bytes(64),
        _octal(os.major(device), 8),
        _octal(os.minor(device), 8),
        bytes(167),
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
