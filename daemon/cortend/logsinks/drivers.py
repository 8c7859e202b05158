"""The drivers by name."""

from __future__ import annotations

from collections.abc import Mapping

from corten_shared.errors import InvalidArgument
from cortend.core.logsinks import LogSink, LogSource
from cortend.logsinks import syslog
from cortend.logsinks.journald import SOCKET, JournalSink


class Drivers:
    """Implements core.logsinks.LogSinks."""

    def __init__(self, *, journal: str = SOCKET) -> None:
        self._journal = journal

    def check(self, driver: str, options: Mapping[str, str]) -> None:
        """See LogSinks."""
        if driver == "syslog":
            syslog.parse(options)

    async def open(self, driver: str, options: Mapping[str, str], source: LogSource) -> LogSink:
        """See LogSinks."""
        match driver:
            case "journald":
                return JournalSink(source, self._journal)
            case "syslog":
                settings = syslog.parse(options)
                context = syslog.tls_context(options) if settings.scheme == "tcp+tls" else None
                sink = syslog.SyslogSink(settings, context, source)
                await sink.connect()
                return sink
            case _:
                raise InvalidArgument(f"log driver {driver} sends nothing away")
