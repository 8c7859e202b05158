"""Tar entries: PAX where ustar does not suffice, names byte for byte, hard links, extended attributes, holes.

Written are nanoseconds (`mtime`), ids and sizes of any magnitude, `SCHILY.xattr.*` (those that `extract` restores), and
sparse files in GNU's PAX form 1.0, which GNU tar, Python and Go (so docker and podman) read. The same tree gives the
same bytes. A file that shrinks while it is read is filled up with zeros, one that grows is cut: headers came first.
"""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"

_BLOCK = 512
_END = bytes(2 * _BLOCK)
_PIECE = 1 << 18
_OCTAL_SIZE = 8**11
_OCTAL_ID = 8**7
_SECOND = 1_000_000_000
_KINDS = {
    stat.S_IFREG: b"0", stat.S_IFLNK: b"2", stat.S_IFCHR: b"3", stat.S_IFBLK: b"4", stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}  # fmt: skip
_XATTRS = ("user.", "security.capability", "system.posix_acl_")
_OVERLAYS_OWN = "user.overlay."
_SPARSE_FROM = 1 << 20
"""Bytes of a file from which holes are worth a map."""
_MOST_PIECES = 8192
"""Of a map: what comes after that is written as it reads."""


class TarWriter:
    """Writes entries through `write`; `finish` ends the archive."""

    def __init__(self, write: Callable[[bytes | bytearray | memoryview], object]) -> None:
        self.entries = 0
        self._write = write
        self._links: dict[tuple[int, int], bytes] = {}

    def entry(self, directory: int, name: bytes, path: bytes) -> None:
        """`name` in the open `directory` as `path`: anything but a directory. Sockets, which tar does not have, are
        passed over. Raises OSError when it is not there."""
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISREG(found.st_mode):
            self._regular(directory, name, path)
        elif stat.S_IFMT(found.st_mode) in _KINDS:
            if found.st_nlink > 1 and self._linked(path, found):
                return
            target = os.readlink(name, dir_fd=directory) if stat.S_ISLNK(found.st_mode) else b""
            self._header(path, found, _KINDS[stat.S_IFMT(found.st_mode)], link=target)

    def directory(self, fd: int, path: bytes) -> None:
        """The open directory itself, without its content; the root's path is empty."""
        name = path.rstrip(b"/") + b"/" if path else b"./"
        self._header(name, os.fstat(fd), b"5", xattrs=xattrs(fd))

    def white_out(self, path: bytes) -> None:
        """Say that `path` is deleted."""
        above, slash, name = path.rpartition(b"/")
        self._mark(above + slash + WHITEOUT + name)

    def make_opaque(self, path: bytes) -> None:
        """Say that what lies below in the directory `path` is deleted."""
        self._mark(path + b"/" + OPAQUE)

    def finish(self) -> None:
        """The archive's end."""
        self._write(_END)

    def _mark(self, path: bytes) -> None:
        self._emit(path, b"0", mode=0o600)

    def _regular(self, directory: int, name: bytes, path: bytes) -> None:
        # O_NONBLOCK: if it became a fifo meanwhile nobody waits; devices do not open here (nodev).
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=directory)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or (found.st_nlink > 1 and self._linked(path, found)):
                return
            pieces = holes(fd, found)
            if pieces is None:
                self._header(path, found, b"0", size=found.st_size, xattrs=xattrs(fd))
                self._content(fd, found.st_size)
                self._pad(found.st_size)
            else:
                self._sparse(fd, path, found, pieces)
        finally:
            os.close(fd)

    def _linked(self, path: bytes, found: os.stat_result) -> bool:
        """Whether the file is in the archive already; a link to it is written then."""
        identity = (found.st_dev, found.st_ino)
        first = self._links.get(identity)
        if first is None:
            self._links[identity] = path
            return False
        self._header(path, found, b"1", link=first)
        return True

    def _sparse(self, fd: int, path: bytes, found: os.stat_result, pieces: list[tuple[int, int]]) -> None:
        """Form 1.0: the map is text before the content, and fills blocks."""
        numbers = [len(pieces), *(number for piece in pieces for number in piece)]
        text = b"".join(b"%d\n" % number for number in numbers)
        text += bytes(-len(text) % _BLOCK)
        size = len(text) + sum(count for _, count in pieces)
        pax = [
            (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", path),
            (b"GNU.sparse.realsize", b"%d" % found.st_size),
        ]  # fmt: skip
        name = b"GNUSparseFile.0/" + path.rpartition(b"/")[2][:80]
        self._header(name, found, b"0", size=size, xattrs=xattrs(fd), pax=pax)
        self._write(text)
        for offset, count in pieces:
            os.lseek(fd, offset, os.SEEK_SET)
            self._content(fd, count)
        self._pad(size)

    def _content(self, fd: int, size: int) -> None:
        left = size
        while left:
            piece = os.read(fd, min(left, _PIECE)) or bytes(min(left, _PIECE))
            self._write(piece)
            left -= len(piece)

    def _pad(self, size: int) -> None:
        if size % _BLOCK:
            self._write(bytes(-size % _BLOCK))

    def _header(
        self,
        path: bytes,
        found: os.stat_result,
        kind: bytes,
        *,
        size: int = 0,
        link: bytes = b"",
        xattrs: list[tuple[str, bytes]] | None = None,
        pax: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        device = found.st_rdev if kind in (b"3", b"4") else 0
        more = [*(pax or ()), *((b"SCHILY.xattr." + os.fsencode(name), value) for name, value in xattrs or ())]
        self._emit(
            path, kind, mode=stat.S_IMODE(found.st_mode), uid=found.st_uid, gid=found.st_gid, mtime=found.st_mtime_ns,
            size=size, link=link, device=device, pax=more,
        )  # fmt: skip

    def _emit(
        self,
        path: bytes,
        kind: bytes,
        *,
        mode: int,
        uid: int = 0,
        gid: int = 0,
        mtime: int = 0,
        size: int = 0,
        link: bytes = b"",
        device: int = 0,
        pax: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        """The entry's header, after an extended one when it needs that."""
        self.entries += 1
        records = list(pax or ())
        if len(path) > 100 or not path.isascii():
            records.append((b"path", path))
        if len(link) > 100 or not link.isascii():
            records.append((b"linkpath", link))
        if size >= _OCTAL_SIZE:
            records.append((b"size", b"%d" % size))
        records += [(key, b"%d" % value) for key, value in ((b"uid", uid), (b"gid", gid)) if value >= _OCTAL_ID]
        if mtime % _SECOND or not 0 <= mtime < _OCTAL_SIZE * _SECOND:
            records.append((b"mtime", _moment(mtime)))
        if records:
            text = b"".join(_record(key, value) for key, value in records)
            self._write(_block(b"PaxHeaders.0/" + path[-80:].lstrip(b"/"), b"x", size=len(text)))
            self._write(text + bytes(-len(text) % _BLOCK))
        self._write(_block(path, kind, mode=mode, uid=uid, gid=gid, mtime=mtime, size=size, link=link, device=device))


def xattrs(fd: int) -> list[tuple[str, bytes]]:
    """The attributes of an open file that belong to it and not to this machine, by name."""
    found: list[tuple[str, bytes]] = []
    try:
        names = os.listxattr(fd)
    except OSError:
        return found
    for name in sorted(names):
        # A name with `=` cannot be told from its value in a PAX record.
        if name.startswith(_XATTRS) and not name.startswith(_OVERLAYS_OWN) and "=" not in name:
            try:
                found.append((name, os.getxattr(fd, name)))
            except OSError:
                continue  # it went meanwhile
    return found


def holes(fd: int, found: os.stat_result) -> list[tuple[int, int]] | None:
    """(offset, bytes) of what a sparse file holds, with an empty piece at its end; None for a file without holes."""
    size = found.st_size
    if size < _SPARSE_FROM or found.st_blocks * _BLOCK > size - size // 8:
        return None
    pieces: list[tuple[int, int]] = []
    at = 0
    try:
        while at < size and len(pieces) < _MOST_PIECES:
            start = os.lseek(fd, at, os.SEEK_DATA)
            at = min(os.lseek(fd, start, os.SEEK_HOLE), size)
            if at > start:
                pieces.append((start, at - start))
        if at < size:
            pieces.append((at, size - at))
    except OSError as error:
        if error.errno != errno.ENXIO:  # nothing but a hole from here on
            return None
    finally:
        os.lseek(fd, 0, os.SEEK_SET)
    return [*pieces, (size, 0)]


def _moment(mtime: int) -> bytes:
    """Seconds with as many decimals as they have."""
    seconds, rest = divmod(abs(mtime), _SECOND)
    text = b"%s%d.%09d" % (b"-" if mtime < 0 else b"", seconds, rest)
    return text.rstrip(b"0").rstrip(b".")


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
    path: bytes,
    kind: bytes,
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    mtime: int = 0,
    size: int = 0,
    link: bytes = b"",
    device: int = 0,
) -> bytes:
    fields = (
        path[:100].ljust(100, b"\0"),
        _octal(mode, 8),
        _octal(uid, 8),
        _octal(gid, 8),
        _octal(size, 12),
        _octal(mtime // _SECOND, 12),
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
