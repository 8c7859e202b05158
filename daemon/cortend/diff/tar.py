"""Reading tar archives that somebody else wrote: ustar, old V7, GNU and PAX, every field checked.

Sources: POSIX.1-2024 pax(1) "Extended Interchange Formats", GNU tar's manual ("Basic Tar Format", "Storing Sparse
Files"). Where archives are ambiguous this reads as Go's archive/tar does, hence as docker and containerd do: members
without content by type have none whatever their size field says, global headers are checked but not applied.

    header block (512) | [extended headers]... | content, padded to 512 | ... | two zero blocks

Names and links are bytes, exactly as archived.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64
from zlib import adler32

from cortend.diff import sparse
from cortend.diff.fields import decimal, number
from cortend.diff.limits import Limits
from cortend.diff.refusal import Refusal, damaged, exhausted, invalid, quote
from cortend.diff.stream import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCK = 512
PATH_MAX = 4095
REGULAR, HARD_LINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK, _GNU_SPARSE = b"x", b"g", b"L", b"K", b"S"
_WITHOUT_CONTENT = (HARD_LINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO)
_KINDS = (REGULAR, *_WITHOUT_CONTENT)
_ZEROS = bytes(BLOCK)
_USTAR, _GNU = b"ustar\x00", b"ustar "
_SIZE_MAX = (1 << 63) - 1
_ID_MAX = (1 << 32) - 2
_XATTR_PREFIX = b"SCHILY.xattr."
_XATTR_ENCODED = b"LIBARCHIVE.xattr."


class Member:
    """One archive member. `size` is of the archived content, `length` of the file it makes (more when sparse)."""

    __slots__ = (
        "gid", "holes", "kind", "length", "link", "major", "minor", "mode", "mtime", "name", "size", "uid", "xattrs",
    )  # fmt: skip

    def __init__(self, name: bytes, kind: bytes) -> None:
        self.name = name
        self.kind = kind
        self.link = b""
        self.size = self.length = self.mode = self.uid = self.gid = self.major = self.minor = 0
        self.mtime = 0
        """Nanoseconds since the epoch."""
        self.xattrs: dict[bytes, bytes] = {}
        self.holes: list[tuple[int, int]] | None = None
        """Of a sparse file: where its archived pieces go, (offset, bytes)."""


class Archive:
    """Members of a tar stream in order. Read a member's content with `content` before going on; the rest is skipped."""

    def __init__(self, reader: Reader, limits: Limits) -> None:
        self._reader = reader
        self._limits = limits
        self._left = 0
        self._padding = 0

    def next(self) -> Member | None:
        """The next member, or None at the end (two zero blocks, or just no more bytes: docker takes both)."""
        self._finish()
        extended: dict[bytes, bytes] = {}
        long_name = long_link = b""
        budget = self._limits.header
        while (block := self._block()) is not None:
            kind = block[156:157]
            if kind not in (_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK):
                return self._member(block, extended, long_name, long_link)
            data = self._extension(block, budget)
            budget -= len(data) + BLOCK
            if kind == _PAX:
                extended = parse_pax(data)
            elif kind == _GLOBAL:
                parse_pax(data)
            elif kind == _LONG_NAME:
                long_name = _text(data)
            else:
                long_link = _text(data)
        if extended or long_name or long_link:
            raise damaged("archive ends after an extended header")
        return None

    def content(self, size: int) -> Iterable[memoryview]:
        """The next `size` bytes of this member's content, in pieces."""
        self._left -= size
        return self._reader.pieces(size)

    def drain(self) -> None:
        """Read on to the stream's end."""
        self._reader.drain()

    def _finish(self) -> None:
        """Go past what is left of the current member; a missing padding of the last one is forgiven."""
        if self._left:
            self._reader.skip(self._left)
        if self._padding:
            self._reader.take_or_end(self._padding)
        self._left = self._padding = 0

    def _block(self) -> bytes | None:
        block = self._reader.take_or_end(BLOCK)
        if not block:
            return None
        if len(block) < BLOCK:
            raise damaged("archive ends in the middle of a header")
        if block != _ZEROS:
            _check(block, self._reader.position - BLOCK)
            return block
        second = self._reader.take_or_end(BLOCK)
        if second and second.strip(b"\0"):
            raise damaged(f"a lone zero block at byte {self._reader.position - 2 * BLOCK} of the archive")
        return None

    def _extension(self, block: bytes, budget: int) -> bytes:
        size = number(block[124:136], "size")
        if not 0 <= size <= budget:
            raise exhausted(f"an extended header of {size} bytes (limit {self._limits.header} for one member)")
        data = self._reader.take(size)
        self._reader.take_or_end(-size % BLOCK)
        return data

    def _member(self, block: bytes, pax: dict[bytes, bytes], long_name: bytes, long_link: bytes) -> Member:
        try:
            return self._parse(block, pax, long_name, long_link)
        except Refusal as error:
            name = pax.get(b"path") or long_name or _header_name(block)
            raise Refusal(error.code, f"layer entry {quote(name)}: {error.message}", error.hint) from None

    def _parse(self, block: bytes, pax: dict[bytes, bytes], long_name: bytes, long_link: bytes) -> Member:
        name = pax.get(b"path") or long_name or _header_name(block)
        kind = block[156:157]
        if kind in (b"\0", b"7"):
            kind = REGULAR
        old_sparse = kind == _GNU_SPARSE
        if old_sparse:
            kind = REGULAR
        if kind not in _KINDS:
            raise invalid(f"unknown type {kind!r}")
        member = Member(name, kind)
        member.link = pax.get(b"linkpath") or long_link or _text(block[157:257])
        member.mode = number(block[100:108], "mode") & 0o7777
        member.uid = _identity(pax, b"uid", block[108:116])
        member.gid = _identity(pax, b"gid", block[116:124])
        member.mtime = _mtime(pax, block[136:148])
        if kind in (CHAR, BLOCK_DEVICE):
            member.major, member.minor = number(block[329:337], "major"), number(block[337:345], "minor")
        if kind not in _WITHOUT_CONTENT:
            self._measure(member, block, pax, old_sparse)
        if block[156:157] == b"\0" and member.name.endswith(b"/"):
            member.kind = DIRECTORY  # how V7 archives wrote directories
        if pax:
            member.xattrs = _xattrs(pax)
        for text in (member.name, member.link):
            if text and (len(text) > PATH_MAX or b"\0" in text):
                raise invalid(f"a name of {len(text)} bytes" if b"\0" not in text else "a name with a zero byte")
        return member

    def _measure(self, member: Member, block: bytes, pax: dict[bytes, bytes], old_sparse: bool) -> None:
        """Sizes, and the map of a sparse file."""
        size = decimal(pax[b"size"], "size") if b"size" in pax else number(block[124:136], "size")
        if not 0 <= size <= _SIZE_MAX:
            raise invalid(f"a size of {size}")
        self._left, self._padding = size, -size % BLOCK
        member.length = size
        taken = 0
        if old_sparse:
            member.holes, member.length = sparse.read_old(block, self._reader, self._limits.header)
        elif layout := sparse.from_pax(pax, self._reader, size, self._limits.header):
            member.holes, member.length, taken = layout
            member.name = pax.get(b"GNU.sparse.name") or member.name
        self._left = member.size = size - taken
        if member.length > self._limits.data:
            raise exhausted(f"a file of {member.length} bytes (limit {self._limits.data})")
        if member.holes is not None:
            sparse.check(member.holes, member.size, member.length)


def parse_pax(data: bytes) -> dict[bytes, bytes]:
    """Records `LENGTH KEY=VALUE\\n`; an empty value unsets the key. GNU's repeated sparse keys come as one list."""
    records: dict[bytes, bytes] = {}
    repeated: list[bytes] = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 12)
        digits = data[at:space] if space > 0 else b""
        end = at + int(digits) if digits.isdigit() else 0
        record = data[space + 1 : end - 1]
        key, equals, value = record.partition(b"=")
        if end <= space + 1 or end > len(data) or data[end - 1] != 0x0A or not equals or not key:
            raise damaged("a malformed PAX record")
        if b"\0" in key or (b"\0" in value and not key.startswith((_XATTR_PREFIX, _XATTR_ENCODED))):
            raise invalid("a PAX record with a zero byte")
        if key in sparse.REPEATED:
            repeated.append(value)
        elif key != sparse.LISTED:
            records[key] = value
        at = end
    if repeated:
        records[sparse.LISTED] = b",".join(repeated)
    return {key: value for key, value in records.items() if value}


def unquote(text: bytes) -> bytes:
    """Undo percent-encoding."""
    first, *rest = text.split(b"%")
    out = [first]
    for part in rest:
        try:
            out.append(bytes.fromhex(part[:2].decode("ascii")) + part[2:])
        except ValueError:
            out.append(b"%" + part)
    return b"".join(out)


def _check(block: bytes, position: int) -> None:
    """The header checksum: the sum of all bytes, its own field counted as spaces; some wrote it with signed bytes."""
    stored = number(block[148:156], "checksum")
    # adler32's lower half is one more than the sum of the bytes, modulo 65521, which 256 bytes cannot reach.
    total = (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2
    if total - sum(block[148:156]) + 256 == stored:
        return
    rest = block[:148] + block[156:]
    if sum(byte - 256 if byte > 127 else byte for byte in rest) + 256 != stored:
        raise damaged(f"a wrong checksum in the header at byte {position} of the archive")


def _header_name(block: bytes) -> bytes:
    name = _text(block[:100])
    if block[257:263] == _USTAR and (prefix := _text(block[345:500])):
        return prefix + b"/" + name
    return name


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _identity(pax: dict[bytes, bytes], key: bytes, field: bytes) -> int:
    value = decimal(pax[key], key.decode()) if key in pax else number(field, key.decode())
    if not 0 <= value <= _ID_MAX:
        raise invalid(f"a {key.decode()} of {value}")
    return value


def _mtime(pax: dict[bytes, bytes], field: bytes) -> int:
    """Nanoseconds; what no 64-bit clock can say becomes the epoch, as docker does."""
    if b"mtime" in pax:
        whole, _, fraction = pax[b"mtime"].partition(b".")
        if whole.startswith(b"-"):
            return 0
        value = decimal(whole, "mtime") * 1_000_000_000
        if fraction[:9].isdigit():
            value += int(fraction[:9].ljust(9, b"0"))
    else:
        value = number(field, "mtime") * 1_000_000_000
    return value if 0 <= value <= _SIZE_MAX else 0


def _xattrs(pax: dict[bytes, bytes]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for key, value in pax.items():
        if key.startswith(_XATTR_PREFIX):
            found[key[len(_XATTR_PREFIX) :]] = value
        elif key.startswith(_XATTR_ENCODED):
            found[unquote(key[len(_XATTR_ENCODED) :])] = _base64(value)
    if any(b"\0" in key for key in found):
        raise invalid("an extended attribute's name with a zero byte")
    return found


def _base64(text: bytes) -> bytes:
    try:
        return a2b_base64(text + b"=" * (-len(text) % 4))
    except Base64Error:
        raise invalid("an unreadable extended attribute") from None
