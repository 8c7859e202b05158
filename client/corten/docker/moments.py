"""Points in time as users write them (`--since`, `--until`), as the API wants them."""

from __future__ import annotations

import time

from corten.values import duration
from corten_shared.errors import InvalidArgument

_FORMS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H", "%Y-%m-%d")


def moment(text: str, flag: str) -> str:
    """Unix seconds, with `.nanos` where given, of `1700000000`, `10m` (ago), or a date.

    Dates: RFC 3339 and its beginnings; without a zone they are local. Raises InvalidArgument.
    """
    if not text:
        return ""
    if text.replace(".", "", 1).isdigit() and text.isascii():
        return text
    try:
        return str(int(time.time() - duration(text) / 1e9))
    except ValueError:
        pass
    try:
        return _date(text)
    except ValueError:
        raise InvalidArgument(
            f'invalid value for "{flag}": failed to parse value as time or duration: "{text}"',
            hint="Write it as 2013-01-02T13:23:37Z or as 42m",
        ) from None


def _date(text: str) -> str:
    import calendar

    body, offset = _split_zone(text)
    body, dot, fraction = body.partition(".")
    if dot and not (fraction.isascii() and fraction.isdigit()):
        raise ValueError(text)
    for form in _FORMS:
        try:
            parsed = time.strptime(body, form)
        except ValueError:
            continue
        seconds = time.mktime(parsed) if offset is None else calendar.timegm(parsed) - offset
        return f"{int(seconds)}.{fraction[:9].ljust(9, '0')}"
    raise ValueError(text)


def _split_zone(text: str) -> tuple[str, int | None]:
    """The text without its zone, and the zone's seconds east of UTC (None: local)."""
    if text.endswith(("Z", "z")):
        return text[:-1], 0
    sign, zone = text[-6:-5], text[-5:]
    if "T" in text and sign in ("+", "-") and zone[2:3] == ":":
        offset = int(zone[:2]) * 3600 + int(zone[3:]) * 60
        return text[:-6], offset if sign == "+" else -offset
    return text, None
