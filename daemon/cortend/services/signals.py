"""Signals by name or number, as docker takes them."""

from __future__ import annotations

import signal as signals

from corten_shared.errors import InvalidArgument


def signal_number(text: str) -> int:
    """`SIGTERM`, `term`, `15`, `RTMIN+3` -> number. Raises InvalidArgument in docker's words."""
    name = text.strip().upper().removeprefix("SIG")
    if name.isdecimal() and len(name) < 4:
        number = int(name)
        if 0 < number <= signals.NSIG - 1:
            return number
    elif name.startswith(("RTMIN", "RTMAX")):
        base, offset = (signals.SIGRTMIN, 1) if name.startswith("RTMIN") else (signals.SIGRTMAX, -1)
        rest = name[5:]
        if not rest:
            return int(base)
        number = int(base) + offset * int(rest[1:]) if rest[1:].isdecimal() and len(rest) < 4 else 0
        if rest[0] == ("+" if offset > 0 else "-") and signals.SIGRTMIN <= number <= signals.SIGRTMAX:
            return number
    elif (found := signals.Signals.__members__.get(f"SIG{name}")) is not None:
        return int(found)
    raise InvalidArgument(f"invalid signal: {text[:40]}")
