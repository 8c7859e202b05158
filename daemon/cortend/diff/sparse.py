"""Maps of sparse files: which pieces of a file an archive holds, in GNU's four ways of saying it.

    old GNU      header type S: 4 (offset, bytes) pairs at 386, more in following blocks; real size at 483
    PAX 0.0      GNU.sparse.offset and GNU.sparse.numbytes repeated, GNU.sparse.size
    PAX 0.1      GNU.sparse.map=offset,bytes,…; GNU.sparse.size
    PAX 1.0      GNU.sparse.major=1: the map is text in front of the content; GNU.sparse.realsize
"""

from __future__ import annotations

from cortend.diff.fields import decimal, number
from cortend.diff.refusal import exhausted, invalid
from cortend.diff.stream import Reader

LISTED = b"corten.sparse.listed"
"""Where the repeated records of format 0.0 are kept, joined; no archive's own key may be called so."""
REPEATED = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
_BLOCK = 512
_LINE = 32


def read_old(block: bytes, reader: Reader, limit: int) -> tuple[list[tuple[int, int]], int]:
    """(pieces, real size) of an old GNU header and its extension blocks."""
    fields, more = [block[386:482]], block[482]
    while more:
        if len(fields) * _BLOCK > limit:
            raise exhausted(f"a sparse map of more than {limit} bytes")
        extension = reader.take(_BLOCK)
        fields.append(extension[:504])
        more = extension[504]
    joined = b"".join(fields)
    words = [joined[at : at + 12] for at in range(0, len(joined), 12)]
    return _pairs([_natural(word) for word in words if word.strip(b"\0")]), _natural(block[483:495])


def from_pax(
    pax: dict[bytes, bytes], reader: Reader, size: int, limit: int
) -> tuple[list[tuple[int, int]], int, int] | None:
    """(pieces, real size, bytes of content that were the map), or None for a file that is not sparse."""
    if b"GNU.sparse.major" in pax:
        version = (pax[b"GNU.sparse.major"], pax.get(b"GNU.sparse.minor", b"0"))
        if version != (b"1", b"0"):
            raise invalid("a sparse file of an unknown version")
        numbers, taken = _read_map(reader, min(size, limit))
        return _pairs(numbers), decimal(pax.get(b"GNU.sparse.realsize", b""), "sparse size"), taken
    text = pax.get(b"GNU.sparse.map") or pax.get(LISTED)
    if text is None and b"GNU.sparse.size" not in pax:
        return None
    numbers = [decimal(part, "sparse map") for part in text.split(b",")] if text else []
    return _pairs(numbers), decimal(pax.get(b"GNU.sparse.size", b""), "sparse size"), 0


def check(pieces: list[tuple[int, int]], size: int, length: int) -> None:
    """Pieces lie in order inside the file, and are what the archive holds."""
    end = 0
    for offset, count in pieces:
        if offset < end or offset + count > length:
            raise invalid("a sparse map that makes no sense")
        end = offset + count
    if sum(count for _, count in pieces) != size:
        raise invalid("a sparse map that does not fit its content")


def _read_map(reader: Reader, limit: int) -> tuple[list[int], int]:
    """The numbers of format 1.0: a count, then pairs, a line each, padded to a block; and the bytes they took."""
    lines: list[bytes] = []
    rest, taken, wanted = b"", 0, 1
    while len(lines) < wanted:
        if taken + _BLOCK > limit:
            raise exhausted("a sparse map longer than its file or the limit")
        *whole, rest = (rest + reader.take(_BLOCK)).split(b"\n")
        taken += _BLOCK
        lines += whole
        if len(rest) > _LINE and len(lines) < wanted:
            raise invalid("an unreadable sparse map")
        if lines:
            wanted = 1 + 2 * decimal(lines[0], "sparse map")
    return [decimal(line, "sparse map") for line in lines[1:wanted]], taken


def _pairs(numbers: list[int]) -> list[tuple[int, int]]:
    if len(numbers) % 2:
        raise invalid("a sparse map with an odd number of values")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _natural(field: bytes) -> int:
    value = number(field, "sparse map")
    if value < 0:
        raise invalid("a negative number in a sparse map")
    return value
