"""Points in time as docker's clients send them, and as log lines show them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from corten_shared.errors import InvalidArgument
from corten_shared.times import parse_rfc3339

_UNIX = re.compile(r"(-?\d{1,12})(?:\.(\d{1,9})\d*)?\Z", re.ASCII)
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:h|m|s|ms))+\Z", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_UNITS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6}


def parse_moment(name: str, text: str) -> int:
    """Nanoseconds since the epoch of unix seconds (`1700000000.5`), RFC 3339, or a span before now (`1h30m`).

    0 for an empty text. Raises InvalidArgument naming the parameter.
    """
    if text in ("", "0"):
        return 0
    if match := _UNIX.match(text):
        return int(match[1]) * 10**9 + int((match[2] or "").ljust(9, "0") or 0)
    if _DURATION.match(text):
        return time.time_ns() - sum(int(float(number) * _UNITS[unit]) for number, unit in _PART.findall(text))
    try:
        return parse_rfc3339(text)
    except InvalidArgument:
        raise InvalidArgument(f'invalid value for "{name}": failed to parse time: {text[:60]!r}') from None


_last: tuple[int, bytes] = (-1, b"")


def log_time(ns: int) -> bytes:
    """A log line's time stamp: RFC 3339 with all nine decimals. Seconds repeat from line to line, so they are kept."""
    global _last
    seconds, rest = divmod(ns, 1_000_000_000)
    known, text = _last
    if known != seconds:
        text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
        _last = (seconds, text)
    return b"%b.%09dZ" % (text, rest)
