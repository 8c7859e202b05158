"""The journal, by systemd's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): a datagram of fields for each line.

    MESSAGE=text                      a value without a newline
    MESSAGE\\n<8 bytes, little>text\\n  any other
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Sequence
from contextlib import suppress

from corten_shared.errors import Unavailable
from corten_shared.times import format_rfc3339
from cortend.core.logsinks import LogEntry, LogSource

SOCKET = "/run/systemd/journal/socket"
_PRIORITY = {1: "6", 2: "3"}
_PATIENCE = 5.0


class JournalSink:
    """Implements core.logsinks.LogSink with docker's fields (CONTAINER_NAME, CONTAINER_ID_FULL, IMAGE_NAME, …)."""

    def __init__(self, source: LogSource, path: str = SOCKET) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise Unavailable(
                f"journald is not there: {path}: {error.strerror or error}", hint="choose another --log-driver"
            ) from error
        fields = {
            "CONTAINER_ID": source.id[:12],
            "CONTAINER_ID_FULL": source.id,
            "CONTAINER_NAME": source.name,
            "CONTAINER_TAG": source.tag,
            "IMAGE_NAME": source.image,
            "SYSLOG_IDENTIFIER": source.tag,
            **{_field_name(key): value for key, value in source.attributes.items()},
        }
        self._head = b"".join(_field(key, value.encode("utf-8", "surrogateescape")) for key, value in fields.items())

    async def send(self, entries: Sequence[LogEntry]) -> None:
        """See LogSink. Waits while the journal's queue is full."""
        loop = asyncio.get_running_loop()
        for entry in entries:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await loop.sock_sendall(self._socket, self._datagram(entry))
            except (OSError, TimeoutError) as error:
                raise Unavailable(f"journald does not take log lines: {error or 'it is busy'}") from error

    def _datagram(self, entry: LogEntry) -> bytes:
        fields = [
            self._head,
            _field("PRIORITY", _PRIORITY[entry.stream].encode()),
            _field("SYSLOG_TIMESTAMP", format_rfc3339(entry.time_ns).encode()),
            _field("CONTAINER_PARTIAL_MESSAGE", b"true") if entry.partial else b"",
            _field("MESSAGE", entry.text),
        ]
        return b"".join(fields)

    async def close(self) -> None:
        """See LogSink."""
        with suppress(OSError):
            self._socket.close()


def _field(name: str, value: bytes) -> bytes:
    if b"\n" in value:
        return b"%s\n%s%s\n" % (name.encode(), len(value).to_bytes(8, "little"), value)
    return b"%s=%s\n" % (name.encode(), value)


def _field_name(text: str) -> str:
    """A label's or variable's name as the journal takes it: capitals, digits and `_`, not first."""
    return re.sub(r"[^A-Z0-9_]", "_", text.upper()).lstrip("_0123456789")[:64] or "ATTRIBUTE"
