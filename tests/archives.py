"""Tar archives byte by byte: what no honest tool writes, too.

    archive(file("a", b"text"), directory("d"), link("l", "../../etc"))
"""

from __future__ import annotations

from collections.abc import Mapping

BLOCK = 512
END = bytes(2 * BLOCK)


def raw(value: str | bytes) -> bytes:
    """Text as bytes."""
    return value.encode() if isinstance(value, str) else value


def octal(value: int, width: int) -> bytes:
    """A numeric field; base-256 where octal digits do not suffice or the value is negative."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    if value < 0:
        return (value % (1 << (8 * width))).to_bytes(width, "big")
    return b"\x80" + value.to_bytes(width - 1, "big")


def seal(block: bytes) -> bytes:
    """A header block with its checksum filled in."""
    total = sum(block[:148]) + sum(block[156:]) + 8 * 32
    return block[:148] + b"%06o\0 " % total + block[156:]


def pad(content: bytes) -> bytes:
    """Content filled up to whole blocks."""
    return content + bytes(-len(content) % BLOCK)


def header(
    name: str | bytes,
    kind: bytes = b"0",
    size: int = 0,
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    mtime: int = 1_600_000_000,
    target: str | bytes = b"",
    major: int = 0,
    minor: int = 0,
    prefix: bytes = b"",
    magic: bytes = b"ustar\x0000",
) -> bytes:
    """One header block."""
    fields = (
        raw(name)[:100].ljust(100, b"\0"), octal(mode, 8), octal(uid, 8), octal(gid, 8), octal(size, 12),
        octal(mtime, 12), b" " * 8, kind, raw(target)[:100].ljust(100, b"\0"), magic, bytes(64),
        octal(major, 8), octal(minor, 8), prefix.ljust(155, b"\0"), bytes(12),
    )  # fmt: skip
    return seal(b"".join(fields))


def member(name: str | bytes, kind: bytes = b"0", content: bytes = b"", **fields: object) -> bytes:
    """A header with its content."""
    return header(name, kind, len(content), **fields) + pad(content)  # type: ignore[arg-type]


def file(name: str | bytes, content: bytes = b"", **fields: object) -> bytes:
    """A regular file."""
    return member(name, b"0", content, **fields)


def directory(name: str | bytes, **fields: object) -> bytes:
    """A directory."""
    return member(name, b"5", **{"mode": 0o755, **fields})


def link(name: str | bytes, target: str | bytes, **fields: object) -> bytes:
    """A symbolic link."""
    return member(name, b"2", target=target, **{"mode": 0o777, **fields})


def hard_link(name: str | bytes, target: str | bytes, **fields: object) -> bytes:
    """A hard link to an earlier member."""
    return member(name, b"1", target=target, **fields)


def device(name: str | bytes, major: int, minor: int, kind: bytes = b"3") -> bytes:
    """A character (or block, kind 4) device."""
    return member(name, kind, major=major, minor=minor)


def record(key: str | bytes, value: str | bytes) -> bytes:
    """One PAX record; its length counts itself."""
    body = b" " + raw(key) + b"=" + raw(value) + b"\n"
    length = len(body)
    while len(b"%d" % length) + len(body) != length:
        length = len(b"%d" % length) + len(body)
    return b"%d" % length + body


def pax(records: Mapping[str, str | bytes] | bytes, kind: bytes = b"x") -> bytes:
    """An extended header for the next member."""
    data = records if isinstance(records, bytes) else b"".join(record(key, value) for key, value in records.items())
    return member("PaxHeaders/x", kind, data)


def gnu_long(text: str | bytes, kind: bytes = b"L") -> bytes:
    """GNU's long name (or link, kind K) for the next member."""
    return member("././@LongLink", kind, raw(text) + b"\0", magic=b"ustar  \0")


def archive(*members: bytes) -> bytes:
    """Members and the end."""
    return b"".join(members) + END
