"""Where a copy of a container's log goes: a syslog server, the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class LogSource(NamedTuple):
    """Whose lines they are. `tag` is what `--log-opt tag` says; `attributes` what `labels` and `env` chose."""

    id: str
    name: str
    image: str
    tag: str
    attributes: Mapping[str, str] = {}


class LogEntry(NamedTuple):
    """A line without its newline: when it was written (ns since the epoch), to stdout (1) or stderr (2).

    `partial`: the line goes on in the next entry of the same stream.
    """

    time_ns: int
    stream: int
    text: bytes
    partial: bool = False


class LogSink(Protocol):
    """An open way to one receiver. For the event loop; one sender at a time."""

    async def send(self, entries: Sequence[LogEntry]) -> None:
        """Hand the entries over, in order. Raises Unavailable; some may have arrived then, and come again."""
        ...

    async def close(self) -> None:
        """Let go of the receiver. Idempotent."""
        ...


class LogSinks(Protocol):
    """The receivers there can be."""

    def check(self, driver: str, options: Mapping[str, str]) -> None:
        """Whether the options make sense, without talking to anybody; raises InvalidArgument."""
        ...

    async def open(self, driver: str, options: Mapping[str, str], source: LogSource) -> LogSink:
        """Connect. Raises InvalidArgument, Unavailable when nobody listens."""
        ...
