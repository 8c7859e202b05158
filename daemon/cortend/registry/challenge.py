"""WWW-Authenticate: which login a registry asks for (RFC 9110, section 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from cortend.core.limits import MAX_CHALLENGE

_PIECE = re.compile(
    r"""\s*,?\s*(?:
        (?P<key>[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s",]+))
      | (?P<scheme>[A-Za-z][A-Za-z0-9-]{0,31})(?=\s|,|\Z)
    )""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(.)")


class Challenge(NamedTuple):
    """One way to log in: `scheme` and the names of parameters are in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """The challenges of all WWW-Authenticate headers. What cannot be read ends its header; nothing is raised."""
    found: list[Challenge] = []
    for header in headers:
        found.extend(_parse(header[:MAX_CHALLENGE]))
    return found[:16]


def _parse(header: str) -> list[Challenge]:
    found: list[Challenge] = []
    position = 0
    while match := _PIECE.match(header, position):
        position = match.end()
        if match["scheme"]:
            found.append(Challenge(match["scheme"].lower(), {}))
        elif found:
            value = _ESCAPE.sub(r"\1", match["quoted"]) if match["quoted"] is not None else match["bare"]
            found[-1].parameters.setdefault(match["key"].lower(), value)
    return found
