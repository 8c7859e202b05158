"""From the text of a flag to its value, with Go's grammar and docker's words for what is wrong.

Every converter takes the text and returns the value, or raises ValueError with the reason; the
flag parser adds which flag it was.
"""

from __future__ import annotations

_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))
_SIZES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_DURATIONS = {"ns": 1, "us": 1000, "µs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def boolean(text: str) -> bool:
    """A Go boolean (strconv.ParseBool)."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def integer(text: str) -> int:
    """A signed 64-bit number."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    value = int(text) if len(text) < 25 else 1 << 64
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


def unsigned16(text: str) -> int:
    """A number of 0 to 65535."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if len(text) > 5 or int(text) > 0xFFFF:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)


def size(text: str) -> int:
    """Bytes with binary units: `64m`, `1.5g`, `512KiB`."""
    number = text.rstrip("bBiIkKmMgGtTpP ")
    suffix = text[len(number) :].strip().lower()
    try:
        if not number or number[0] not in "0123456789." or "_" in number:
            raise ValueError
        value = float(number)
    except ValueError:
        raise ValueError(_size_problem(text)) from None
    unit = suffix[:1] if suffix[:1] != "b" else ""
    if suffix[len(unit) :] not in ("", "b", "ib") or (not unit and suffix not in ("", "b")):
        raise ValueError(f"invalid suffix: '{suffix}'")
    return int(value * 1024 ** _SIZES[unit])


def _size_problem(text: str) -> str:
    last_digit = max((at for at, char in enumerate(text) if char.isdigit()), default=-1)
    tail = text[last_digit + 1 :]
    if last_digit >= 0 and text[0].isdigit() and tail:
        return f"invalid suffix: '{tail.strip()}'"
    return f"invalid size: '{text}'"


def nano_cpus(text: str) -> int:
    """CPUs as billionths: `1.5` is 1500000000."""
    whole, _, fraction = text.partition(".")
    digits = whole.lstrip("+-") + fraction
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 30:
        raise ValueError(f"failed to parse {text} as a rational number")
    if len(fraction.rstrip("0")) > 9:
        raise ValueError("value is too precise")
    value = int(whole.lstrip("+-") or "0") * 10**9 + int(fraction[:9].ljust(9, "0"))
    return -value if whole.startswith("-") else value


def duration(text: str) -> int:
    """A Go duration in nanoseconds: `1m30s`, `500ms`."""
    rest, sign = (text[1:], -1 if text[0] == "-" else 1) if text[:1] in ("+", "-") else (text, 1)
    total, at = 0.0, 0
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f'time: invalid duration "{text}"')
    while at < len(rest):
        start = at
        while at < len(rest) and (rest[at].isdigit() or rest[at] == "."):
            at += 1
        number, start = rest[start:at], at
        while at < len(rest) and not (rest[at].isdigit() or rest[at] == "."):
            at += 1
        unit = rest[start:at]
        if number.strip(".") == "" or number.count(".") > 1 or not number.isascii():
            raise ValueError(f'time: invalid duration "{text}"')
        if unit not in _DURATIONS:
            problem = f'unknown unit "{unit}"' if unit else "missing unit"
            raise ValueError(f'time: {problem} in duration "{text}"')
        total += float(number) * _DURATIONS[unit]
    return sign * int(total)


def is_ip(text: str) -> bool:
    """Whether `text` is an address without a zone."""
    import socket

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False


def csv_fields(text: str) -> list[str]:
    """One CSV record (RFC 4180 quoting, as Go's reader takes it)."""
    if '"' not in text:
        return text.split(",")
    import csv

    return next(csv.reader([text], strict=True), [])
