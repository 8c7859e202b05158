"""Parts of a blob, and whether the client has it already (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import re
from typing import NamedTuple

from starlette.datastructures import Headers

_RANGE = re.compile(r"bytes=[ \t]*(\d{0,19})-(\d{0,19})[ \t]*\Z", re.ASCII)
_TAG = re.compile(r'(?:W/)?"([^"]*)"')


class Selection(NamedTuple):
    """What to answer: the status, and the first byte and the one after the last."""

    status: int
    start: int
    end: int


def select(headers: Headers, etag: str, size: int) -> Selection:
    """What a request with these headers gets of a blob: all (200), a part (206), nothing new (304), no such part (416).

    `etag` is without quotes. A range is only looked at when `If-Range` names this blob.
    """
    if matches(headers.get("if-none-match", ""), etag):
        return Selection(304, 0, 0)
    if_range = headers.get("if-range")
    if if_range is not None and if_range.strip() != f'"{etag}"':  # a strong comparison (13.1.5)
        return Selection(200, 0, size)
    text = headers.get("range", "")
    wanted = byte_range(text, size)
    if wanted is None:
        return Selection(416, 0, 0)
    partial = is_range(text)
    return Selection(206 if partial else 200, *wanted)


def matches(text: str, etag: str) -> bool:
    """Whether `If-None-Match` names the tag: `*`, or a list, weak ones too (13.1.2)."""
    return text.strip() == "*" or etag in _TAG.findall(text)


def is_range(text: str) -> bool:
    """Whether it is one byte range that makes sense; what is not is ignored, as a server may (14.2)."""
    match = _RANGE.match(text)
    if match is None or not any(match.groups()):
        return False
    first, last = match.groups()
    return not (first and last and int(last) < int(first))


def byte_range(text: str, size: int) -> tuple[int, int] | None:
    """The first byte and the one after the last that a Range header asks for; None when there are none."""
    match = _RANGE.match(text)
    if match is None or not is_range(text):
        return 0, size
    first, last = match.groups()
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
    else:
        start, end = max(size - int(last), 0), size
    return (start, end) if start < end else None
