"""A syslog server: over a unix socket, UDP, TCP or TLS, in the forms of RFC 3164 and RFC 5424.

Options as docker's: `syslog-address` (`udp://host:514`, `tcp://…`, `tcp+tls://…`, `unix:///dev/log`, `unixgram://…`),
`syslog-facility`, `syslog-format` (`rfc3164` is the default, `rfc5424`, `rfc5424micro`), `syslog-tls-*`. Unlike
docker's, messages carry the time at which the line was written.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from corten_shared.errors import InvalidArgument, Unavailable
from cortend.core.logsinks import LogEntry, LogSource

FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "", "", "", "", *(f"local{n}" for n in range(8)),
)  # fmt: skip
FORMATS = ("", "rfc3164", "rfc5424", "rfc5424micro")
_SEVERITY = {1: 6, 2: 3}
_PATIENCE = 10.0
_PORT, _TLS_PORT = 514, 6514


class Settings(NamedTuple):
    """What the options say: `scheme` unix, unixgram, udp, tcp or tcp+tls; `path` of a socket, or host and port."""

    scheme: str
    path: str
    host: str
    port: int
    facility: int
    format: str


def parse(options: Mapping[str, str]) -> Settings:
    """The options; raises InvalidArgument in docker's words where it has them."""
    facility = options.get("syslog-facility") or "daemon"
    number = int(facility) if facility.isascii() and facility.isdigit() and len(facility) < 3 else -1
    if facility in FACILITIES:
        number = FACILITIES.index(facility)
    if not 0 <= number < len(FACILITIES):
        raise InvalidArgument(f"invalid syslog facility {facility[:40]!r}", hint="as in daemon, user or local0")
    form = options.get("syslog-format", "")
    if form not in FORMATS:
        raise InvalidArgument(f"Invalid syslog format {form[:40]!r}", hint="rfc3164, rfc5424 or rfc5424micro")
    address = options.get("syslog-address") or "unix:///dev/log"
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise InvalidArgument(f"invalid syslog-address {address[:80]!r}: {error}") from error
    if parts.scheme in ("unix", "unixgram"):
        if not parts.path.startswith("/"):
            raise InvalidArgument(f"invalid syslog-address {address[:80]!r}", hint="as in unix:///dev/log")
        return Settings(parts.scheme, parts.path, "", 0, number, form)
    if parts.scheme not in ("udp", "tcp", "tcp+tls") or not parts.hostname:
        raise InvalidArgument(
            f"unsupported scheme in syslog-address {address[:80]!r}", hint="unix, unixgram, udp, tcp or tcp+tls"
        )
    return Settings(
        parts.scheme, "", parts.hostname, port or (_TLS_PORT if parts.scheme == "tcp+tls" else _PORT), number, form
    )


class SyslogSink:
    """Implements core.logsinks.LogSink. Connects again when the server went away."""

    def __init__(self, settings: Settings, context: ssl.SSLContext | None, source: LogSource) -> None:
        self._settings = settings
        self._context = context
        self._source = source
        self._datagrams: socket.socket | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        """Raises Unavailable."""
        settings = self._settings
        try:
            async with asyncio.timeout(_PATIENCE):
                if settings.path:
                    await self._connect_path()
                elif settings.scheme == "udp":
                    await self._connect_udp()
                else:
                    _, self._writer = await asyncio.open_connection(settings.host, settings.port, ssl=self._context)
        except (OSError, TimeoutError, ssl.SSLError) as error:
            await self.close()
            where = settings.path or f"{settings.host}:{settings.port}"
            raise Unavailable(
                f"syslog server {settings.scheme}://{where} is not there: {error or 'no answer'}",
                hint="correct --log-opt syslog-address, or start the server",
            ) from error

    async def _connect_path(self) -> None:
        """As every syslog client: a datagram socket, or a stream where the server has one."""
        kinds = [socket.SOCK_DGRAM, socket.SOCK_STREAM] if self._settings.scheme == "unix" else [socket.SOCK_DGRAM]
        for kind in kinds:
            sock = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            try:
                sock.connect(self._settings.path)
            except OSError:
                sock.close()
                if kind == kinds[-1]:
                    raise
                continue
            if kind == socket.SOCK_DGRAM:
                self._datagrams = sock
            else:
                _, self._writer = await asyncio.open_unix_connection(sock=sock)
            return

    async def _connect_udp(self) -> None:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._settings.host, self._settings.port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, address = found[0]
        self._datagrams = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
        await loop.sock_connect(self._datagrams, address)

    async def send(self, entries: Sequence[LogEntry]) -> None:
        """See LogSink."""
        if self._datagrams is None and self._writer is None:
            await self.connect()
        try:
            async with asyncio.timeout(_PATIENCE):
                for entry in entries:
                    await self._send(self._message(entry))
                if self._writer is not None:
                    await self._writer.drain()
        except (OSError, TimeoutError, ssl.SSLError) as error:
            await self.close()
            raise Unavailable(f"the syslog server does not take log lines: {error or 'it is busy'}") from error

    async def _send(self, message: bytes) -> None:
        if self._datagrams is not None:
            await asyncio.get_running_loop().sock_sendall(self._datagrams, message)
            return
        assert self._writer is not None
        if self._writer.is_closing():
            raise ConnectionResetError("the connection was closed")
        if self._settings.scheme == "tcp+tls" and self._settings.format.startswith("rfc5424"):
            message = b"%d %s" % (len(message), message)  # RFC 5425, section 4.3
        else:
            message += b"\n"
        self._writer.write(message)

    def _message(self, entry: LogEntry) -> bytes:
        priority = self._settings.facility * 8 + _SEVERITY[entry.stream]
        head = self._head(priority, entry.time_ns)
        return head.encode("utf-8", "replace") + entry.text.replace(b"\n", b" ")

    def _head(self, priority: int, time_ns: int) -> str:
        tag, pid, host = self._source.tag, os.getpid(), socket.gethostname()
        if self._settings.format.startswith("rfc5424"):
            micro = self._settings.format == "rfc5424micro"
            moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
            fraction = f".{time_ns % 1_000_000_000 // 1000:06}" if micro else ""
            return f"<{priority}>1 {moment:%Y-%m-%dT%H:%M:%S}{fraction}Z {host} {tag} {pid} {tag} - "
        local = datetime.fromtimestamp(time_ns / 1_000_000_000, UTC).astimezone()
        stamp = f"{local:%b} {local.day:2} {local:%H:%M:%S}"
        if self._settings.path:
            return f"<{priority}>{stamp} {tag}[{pid}]: "  # the local server knows its own host
        return f"<{priority}>{stamp} {host} {tag}[{pid}]: "

    async def close(self) -> None:
        """See LogSink."""
        if self._datagrams is not None:
            self._datagrams.close()
            self._datagrams = None
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()
            with suppress(OSError, TimeoutError, ssl.SSLError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()


def tls_context(options: Mapping[str, str]) -> ssl.SSLContext:
    """TLS as `syslog-tls-ca-cert`, `-cert`, `-key` and `-skip-verify` say; raises InvalidArgument."""
    try:
        context = ssl.create_default_context(cafile=options.get("syslog-tls-ca-cert") or None)
        if options.get("syslog-tls-cert"):
            context.load_cert_chain(options["syslog-tls-cert"], options.get("syslog-tls-key") or None)
    except (OSError, ssl.SSLError) as error:
        raise InvalidArgument(f"cannot use the certificates of --log-opt syslog-tls-…: {error}") from error
    if options.get("syslog-tls-skip-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
