"""Points in time: nanoseconds since the epoch (UTC) as integers, RFC 3339 on the wire.

Integers keep conmon's and docker's nanoseconds exact, which `datetime` (microseconds) cannot.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from corten_shared.errors import InvalidArgument

ZERO = "0001-01-01T00:00:00Z"
"""How Go, and so docker, writes a time that was never set."""

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)\Z")


def now() -> int:
    """The wall clock, in nanoseconds since the epoch."""
    return time.time_ns()


def format_rfc3339(ns: int) -> str:
    """`ns` as RFC 3339 in UTC with up to nine decimals, trailing zeros dropped (Go's RFC3339Nano); 0 is ZERO."""
    if ns == 0:
        return ZERO
    seconds, rest = divmod(ns, 1_000_000_000)
    text = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{text}{fraction}Z"


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time; raises InvalidArgument."""
    match = _RFC3339.match(text)
    if match is None:
        raise InvalidArgument(f"invalid time {text[:60]!r}", hint="use RFC 3339, as in 2026-01-31T12:00:00Z")
    if text.startswith("0001-01-01"):
        return 0
    day, clock, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in 'Zz' else zone}")
    except ValueError as error:
        raise InvalidArgument(f"invalid time {text[:60]!r}: {error}") from error
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86400 + delta.seconds) * 1_000_000_000 + int((fraction or "").ljust(9, "0"))


def _validate(value: Any) -> Any:
    return parse_rfc3339(value) if isinstance(value, str) else value


Timestamp = Annotated[
    int,
    BeforeValidator(_validate),
    PlainSerializer(format_rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A record's time: an int of nanoseconds in Python, RFC 3339 in JSON; 0 means never."""
