"""Writing images of EROFS, the kernel's read-only file system (see fs/erofs/erofs_fs.h).

`Image` writes in one pass what it is given, so that a layer can be put into an image while it streams by:

    block 0    superblock at 1024, the root's inode at 1152
    ...        contents of larger files, each from a block of its own, and between them
               segments of 64 KiB: inodes (64 bytes, extended form) with their attributes, small contents behind them

An inode's number (nid) is its offset / 32. Directories come last: their entries name the numbers of what is in them.
Nothing is compressed, holes of sparse files are chunks without an address and, like every gap, holes of the image.
"""

from __future__ import annotations

import os
import stat
import struct

TYPE_CHECKING = False  # the unpack child imports this module: `typing` would cost it milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

BLOCK = 4096
NAME_MAX = 255
UNKNOWN, FILE, DIRECTORY, CHAR, BLOCK_DEVICE, FIFO, SOCKET, SYMLINK = range(8)
KINDS = {
    stat.S_IFREG: FILE, stat.S_IFDIR: DIRECTORY, stat.S_IFCHR: CHAR, stat.S_IFBLK: BLOCK_DEVICE,
    stat.S_IFIFO: FIFO, stat.S_IFSOCK: SOCKET, stat.S_IFLNK: SYMLINK,
}  # fmt: skip
"""EROFS_FT_* by the type in a mode."""

_MAGIC = 0xE0F5E1E2
_SUPER_AT = 1024
_SUPER = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQ24x")
_INODE = struct.Struct("<HHHHQIIIIQII16x")
_ROOT_AT = _SUPER_AT + _SUPER.size
_SEGMENT = 16 * BLOCK
_SLOT = 32
_LINKS_AT = 44
_OWNERS = struct.Struct("<II")
_TIME = struct.Struct("<QI")
_DIRENT = struct.Struct("<QHBB")
_EXTENDED, _PLAIN, _INLINE, _CHUNKED = 1, 0 << 1, 2 << 1, 4 << 1
_MTIME, _CHUNKED_FILES = 0x2, 0x4
_HOLE = 0xFFFFFFFF
_CHUNKS_MAX = 1 << 14
_BLOCKS_MAX = (1 << 32) - 2
_XATTR_PREFIXES = (
    (b"user.", 1), (b"system.posix_acl_access", 2), (b"system.posix_acl_default", 3), (b"trusted.", 4),
    (b"security.", 6),
)  # fmt: skip
_XATTR_VALUE_MAX = 0xFFFF
_XATTRS_MAX = 4 * 0xFFFE
_U64 = (1 << 64) - 1


class Attributes:
    """What an inode has besides its content; `mtime` in nanoseconds since the epoch."""

    __slots__ = ("gid", "mode", "mtime", "uid", "xattrs")

    def __init__(
        self, mode: int, uid: int = 0, gid: int = 0, mtime: int = 0, xattrs: Mapping[bytes, bytes] | None = None
    ) -> None:
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.mtime = mtime
        self.xattrs = xattrs


class Directory:
    """A directory until the image is finished: names with other directories, or with what `entry` gives.

    `opaque` is for overlayfs: nothing below shows through.
    """

    __slots__ = ("attributes", "entries", "opaque")

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.entries: dict[bytes, Directory | int] = {}
        self.opaque = False


def entry(nid: int, kind: int) -> int:
    """An inode and its type as one number: millions of them are kept."""
    return nid << 3 | kind


class Image:
    """An image that is being written to the empty file `fd`. Raises OSError; ValueError for what EROFS cannot hold."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._end = BLOCK
        self._segment = bytearray()
        self._segment_at = 0
        self._segment_end = 0
        self._links: dict[int, int] = {}
        self._inodes = 1
        self._features = 0

    # -- what is no directory ---------------------------------------------------------------------------------------

    def file(self, attributes: Attributes, size: int, pieces: Iterable[bytes | memoryview]) -> int:
        """A regular file of `size` bytes, which `pieces` give; its nid."""
        if size < BLOCK - _INODE.size:
            return self._inline(attributes, b"".join(pieces))
        at = self._room(size)
        position = at
        for piece in pieces:
            self._write(position, piece)
            position += len(piece)
        return self._inode(attributes, _PLAIN, size, at // BLOCK)

    def copied(self, attributes: Attributes, size: int, copy: Callable[[int, int], None]) -> int:
        """As `file`, for large ones: `copy(fd, offset)` puts the content into the image itself."""
        at = self._room(size)
        copy(self._fd, at)
        return self._inode(attributes, _PLAIN, size, at // BLOCK)

    def sparse(
        self, attributes: Attributes, length: int, pieces: Iterable[tuple[int, bytes | memoryview]]
    ) -> int:
        """A regular file of which only `pieces`, (offset, bytes) in order, are no holes; its nid."""
        bits = 12
        while length > _CHUNKS_MAX << bits:
            bits += 1
        size = 1 << bits
        chunks = [_HOLE] * ((length + size - 1) >> bits)
        for offset, piece in pieces:
            view = memoryview(piece)
            while view:
                number, inside = offset >> bits, offset & (size - 1)
                if chunks[number] == _HOLE:
                    chunks[number] = self._room(min(size, length - (number << bits))) // BLOCK
                count = min(len(view), size - inside)
                self._write(chunks[number] * BLOCK + inside, view[:count])
                view, offset = view[count:], offset + count
        self._features |= _CHUNKED_FILES
        table = struct.pack(f"<{len(chunks)}I", *chunks)
        return self._inode(attributes, _CHUNKED, length, bits - 12, table)

    def symlink(self, attributes: Attributes, target: bytes) -> int:
        """A symbolic link; its nid."""
        return self.file(attributes, len(target), (target,))

    def node(self, attributes: Attributes, device: int = 0) -> int:
        """A device, fifo or socket; its nid."""
        major, minor = os.major(device), os.minor(device)
        return self._inode(attributes, _PLAIN, 0, minor & 0xFF | major << 8 | (minor & ~0xFF) << 12)

    # -- afterwards -------------------------------------------------------------------------------------------------

    def linked(self, nid: int, more: int) -> None:
        """Count `more` (or, negative, fewer) names of an inode, which had one."""
        self._links[nid] = self._links.get(nid, 1) + more

    def change(self, nid: int, attributes: Attributes) -> None:
        """Give an inode that is written already another mode, owner and time."""
        at = nid * _SLOT
        self._patch(at + 4, struct.pack("<H", attributes.mode))
        self._patch(at + 24, _OWNERS.pack(attributes.uid, attributes.gid))
        self._patch(at + 32, _TIME.pack(*_time(attributes.mtime)))

    def finish(self, root: Directory) -> int:
        """Write the directories, what was counted and the superblock; how many inodes there are."""
        self._directories(root)
        self._flush()
        for nid, count in self._links.items():
            if count > 1:
                self._write(nid * _SLOT + _LINKS_AT, struct.pack("<I", count))
        os.ftruncate(self._fd, self._end)
        self._write(_SUPER_AT, self._superblock())
        return self._inodes

    def _superblock(self) -> bytes:
        root = _ROOT_AT // _SLOT
        return _SUPER.pack(
            _MAGIC, 0, _MTIME, 12, 0, root, self._inodes, 0, 0, self._end // BLOCK, 0, 0,
            os.urandom(16), bytes(16), self._features, 0, 0, 0, 0, 0, 0, 0,
        )  # fmt: skip

    # -- directories ------------------------------------------------------------------------------------------------

    def _directories(self, root: Directory) -> None:
        """From the root down, places before contents: a directory names its parent's number and its children's."""
        at = _ROOT_AT
        self._check_root(root)
        todo = [(root, at, at, self._room(_listing_size(root)))]
        while todo:
            directory, at, parent, content = todo.pop()
            names: list[tuple[bytes, int, int]] = [(b".", at // _SLOT, DIRECTORY), (b"..", parent // _SLOT, DIRECTORY)]
            links = 2
            for name, found in directory.entries.items():
                if isinstance(found, int):
                    names.append((name, found >> 3, found & 7))
                    continue
                links += 1
                place = self._place(found)
                names.append((name, place[0] // _SLOT, DIRECTORY))
                todo.append((found, place[0], at, place[1]))
            names.sort()
            self._listing(directory, at, content, b"".join(_listing(names)), links)

    def _check_root(self, root: Directory) -> None:
        if len(_xattrs(root.attributes.xattrs)) > BLOCK - _ROOT_AT - _INODE.size:
            raise ValueError("too many extended attributes on the root")

    def _place(self, directory: Directory) -> tuple[int, int]:
        """Where a directory's inode will be, and where its content: -1 for behind the inode."""
        self._inodes += 1
        size, head = _listing_size(directory), _INODE.size + len(_xattrs(directory.attributes.xattrs))
        if head + size <= BLOCK:
            return self._take(head + size, whole=True), -1
        content = self._room(size)
        return self._take(head), content

    def _listing(self, directory: Directory, at: int, content: int, data: bytes, links: int) -> None:
        inline = content < 0
        layout, address = (_INLINE, 0) if inline else (_PLAIN, content // BLOCK)
        attached = _xattrs(directory.attributes.xattrs)
        head = _record(directory.attributes, attached, layout, len(data), address, at // _SLOT, links) + attached
        self._patch(at, head + data if inline else head)
        if not inline:
            self._write(content, data)

    # -- places -----------------------------------------------------------------------------------------------------

    def _inline(self, attributes: Attributes, data: bytes) -> int:
        """A file whose content lies behind its inode, in the same block; in one of its own where that has no room."""
        if _INODE.size + len(_xattrs(attributes.xattrs)) + len(data) > BLOCK:
            at = self._room(len(data))
            self._write(at, data)
            return self._inode(attributes, _PLAIN, len(data), at // BLOCK)
        return self._inode(attributes, _INLINE if data else _PLAIN, len(data), 0, data)

    def _inode(self, attributes: Attributes, layout: int, size: int, address: int, behind: bytes = b"") -> int:
        attached = _xattrs(attributes.xattrs)
        at = self._take(_INODE.size + len(attached) + len(behind), whole=layout == _INLINE)
        self._inodes += 1
        self._patch(at, _record(attributes, attached, layout, size, address, at // _SLOT, 1) + attached + behind)
        return at // _SLOT

    def _take(self, length: int, *, whole: bool = False) -> int:
        """Room for an inode with what is behind it; `whole`: all within one block."""
        at = self._segment_end
        needed = length if whole else min(length, _INODE.size)
        if at % BLOCK + needed > BLOCK:
            at += -at % BLOCK
        if not self._segment or at + length > self._segment_at + len(self._segment):
            self._flush()
            size = max(_SEGMENT, length + -length % BLOCK)
            at = self._segment_at = self._room(size)
            self._segment = bytearray(size)
        self._segment_end = at + length + -length % _SLOT
        return at

    def _room(self, size: int) -> int:
        """Blocks at the end."""
        at = self._end
        self._end += size + -size % BLOCK
        if self._end // BLOCK > _BLOCKS_MAX:
            raise ValueError("larger than the file system can be")
        return at

    def _patch(self, at: int, data: bytes) -> None:
        """Write where an inode is, which may still be in memory."""
        inside = at - self._segment_at
        if self._segment and 0 <= inside < len(self._segment):
            self._segment[inside : inside + len(data)] = data
        else:
            self._write(at, data)

    def _flush(self) -> None:
        if self._segment:
            self._write(self._segment_at, memoryview(self._segment)[: self._segment_end - self._segment_at])
            self._segment = bytearray()

    def _write(self, at: int, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        while view:
            count = os.pwrite(self._fd, view, at)
            view, at = view[count:], at + count


def _record(
    attributes: Attributes, attached: bytes, layout: int, size: int, address: int, number: int, links: int
) -> bytes:
    """struct erofs_inode_extended."""
    seconds, nanoseconds = _time(attributes.mtime)
    return _INODE.pack(
        layout | _EXTENDED, _count(attached), attributes.mode, 0, size, address, number & _HOLE,
        attributes.uid, attributes.gid, seconds, nanoseconds, links,
    )  # fmt: skip


def _time(mtime: int) -> tuple[int, int]:
    seconds, nanoseconds = divmod(mtime, 1_000_000_000)
    return seconds & _U64, nanoseconds


def _count(attached: bytes) -> int:
    """i_xattr_icount: a header of 12 bytes counts as one, then each 4 bytes."""
    return (len(attached) - 12) // 4 + 1 if attached else 0


def _xattrs(xattrs: Mapping[bytes, bytes] | None) -> bytes:
    """Inline extended attributes: a header, then entries padded to 4 bytes."""
    if not xattrs:
        return b""
    parts = [bytes(12)]
    for name, value in xattrs.items():
        prefix, index = next((known for known in _XATTR_PREFIXES if name.startswith(known[0])), (b"", 0))
        if not index:
            continue
        rest = name[len(prefix) :]
        if len(rest) > NAME_MAX or len(value) > _XATTR_VALUE_MAX:
            raise ValueError("an extended attribute that is too long")
        parts.append(struct.pack("<BBH", len(rest), index, len(value)) + rest + value)
        parts.append(bytes(-len(parts[-1]) % 4))
    joined = b"".join(parts)
    if len(joined) > _XATTRS_MAX:
        raise ValueError("too many extended attributes")
    return joined if len(joined) > 12 else b""


def _listing_size(directory: Directory) -> int:
    """The size of a directory's content, which its names alone decide."""
    size = used = 0
    for length in [len(name) for name in sorted([b".", b"..", *directory.entries])]:
        needed = _DIRENT.size + length
        if used + needed > BLOCK:
            size, used = size + BLOCK, 0
        used += needed
    return size + used


def _listing(names: list[tuple[bytes, int, int]]) -> Iterator[bytes]:
    """A directory's content: in each block first entries, then the names, all in the order of their bytes."""
    block: list[tuple[bytes, int, int]] = []
    used = 0
    for item in names:
        needed = _DIRENT.size + len(item[0])
        if used + needed > BLOCK:
            yield _listing_block(block).ljust(BLOCK, b"\0")
            block, used = [], 0
        block.append(item)
        used += needed
    yield _listing_block(block)


def _listing_block(block: list[tuple[bytes, int, int]]) -> bytes:
    at = _DIRENT.size * len(block)
    records = bytearray()
    for name, nid, kind in block:
        records += _DIRENT.pack(nid, at, kind, 0)
        at += len(name)
    return bytes(records) + b"".join(name for name, _, _ in block)
