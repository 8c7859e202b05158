"""Numbers as archives write them, bounded before they are converted."""

from __future__ import annotations

from cortend.diff.refusal import invalid

_DIGITS = 20
_REMEMBERED = 4096
_seen: dict[bytes, int] = {}


def number(field: bytes, what: str) -> int:
    """A header's field: octal text, or GNU's base-256 when its first bit is set (negative ones too).

    Modes and owners are few, so what was read once is remembered.
    """
    known = _seen.get(field)
    if known is not None:
        return known
    value = _read(field, what)
    if len(_seen) < _REMEMBERED:
        _seen[field] = value
    return value


def _read(field: bytes, what: str) -> int:
    digits = field.rstrip(b"\0 ")
    if digits.isdigit() and not digits.strip(b"01234567"):  # as nearly every header has it
        return int(digits, 8)
    if field[:1] >= b"\x80":
        value = int.from_bytes(field, "big")
        bits = 8 * len(field) - 1
        # The first bit marks the encoding; the second one is the sign.
        return value - (1 << bits + 1) if field[0] & 0x40 else value - (1 << bits)
    digits = field.strip(b" \0").split(b"\0", 1)[0].rstrip(b" ")
    # int() alone would take signs, underscores and 0o.
    if digits.strip(b"01234567"):
        raise invalid(f"an unreadable {what} field {field!r}")
    return int(digits, 8) if digits else 0


def decimal(text: bytes, what: str) -> int:
    """A number in a PAX record."""
    if not text.isdigit() or len(text) > _DIGITS:
        raise invalid(f"an unreadable {what} {text[:40]!r}")
    return int(text)
