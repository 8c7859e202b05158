"""HTTP/1.1 on the daemon's sockets, with the one thing ASGI lacks: handing the connection over.

Docker's attach and exec ask for the socket itself. `HijackProtocol` puts a callable in
`scope["extensions"]["hijack"]`; a handler that awaits it gets a StreamReader and a StreamWriter on the raw
connection, and HTTP is over:

    client                            daemon
      POST /exec/1/start  Upgrade: tcp  --->  handler reads the JSON body
      <---  HTTP/1.1 101 UPGRADED             reader, writer = await hijack(content_type, upgrade=True)
      raw bytes  <------------------------->  raw bytes

The client may send raw bytes at once behind its request (they are handed over), and may close its direction
alone: the reader then ends while the writer goes on. A client that has gone altogether ends the connection:
`await writer.wait_closed()` returns.

This subclasses uvicorn's httptools protocol and touches its insides, so uvicorn's minor version is pinned. What it
adds beyond hijacking are bounds that a socket with hostile peers needs: bytes of a request's head, and the time that
a head may take.
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket
import struct
from collections.abc import Awaitable
from typing import Any, Protocol, cast

import httptools
from starlette.types import Scope
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from cortend.core.actor import Peer

log = logging.getLogger(__name__)

MAX_HEAD = 64 << 10
"""Bytes of a request line and headers together (431 beyond)."""
MAX_URL = 32 << 10
"""Bytes of a request's target (414 beyond)."""
MAX_FIELDS = 200
"""Header fields of a request (431 beyond)."""
HEAD_TIMEOUT = 30.0
"""Seconds from a request's first byte, or the connection's beginning, to the end of its head."""
LINGER = 30.0
"""Seconds that a peer has to read what is left when a hijacked connection is closed."""
_UCRED = struct.Struct("iII")
_AHEAD = 64 << 10
"""Bytes taken from the socket ahead of need before reading pauses."""


class Hijack(Protocol):
    """Takes the connection over; see the module."""

    def __call__(
        self, content_type: str, upgrade: bool
    ) -> Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Answer `101 UPGRADED` (or `200 OK` without `upgrade`) and return the raw streams.

        Must be awaited before any response was begun. The connection is closed when the handler returns.
        """
        ...


def wants_upgrade(scope: Scope) -> bool:
    """Whether the request carries `Connection: Upgrade` and `Upgrade: tcp`."""
    fields = dict(scope["headers"])
    tokens = {token.strip().lower() for token in fields.get(b"connection", b"").split(b",")}
    return b"upgrade" in tokens and fields.get(b"upgrade", b"").strip().lower() == b"tcp"


def peer_of(sock: socket.socket | None) -> Peer | None:
    """Who is at the other end of a unix socket's connection (unix(7), SO_PEERCRED); None for other sockets."""
    if sock is None or sock.family != socket.AF_UNIX:
        return None
    pid, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Peer(pid, uid)


class _Refused(Exception):
    """A request's head breaks a bound; `status` is the answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class HijackProtocol(HttpToolsProtocol):
    """One connection: requests until one of them takes it over."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._peer: Peer | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_size = 0
        self._in_head = False
        self._upgrading = False
        self._body_left = 0
        self._early = bytearray()
        self._eof = False
        self._hijacked: HijackedConnection | None = None

    # -- from the transport -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected; its first request must begin and end its head in time."""
        super().connection_made(transport)
        self._peer = peer_of(transport.get_extra_info("socket"))
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client closed its direction."""
        self._eof = True
        # What asked for an upgrade may close its direction before it has our answer.
        return self._upgrading or None

    def data_received(self, data: bytes) -> None:
        """Bytes from the client: for the parser, for the body of an upgrade, or for later."""
        self._unset_keepalive_if_required()
        if self._upgrading:
            self._feed_upgraded(data)
        elif self._awaiting_response():
            self._keep(data)
        else:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        """Have the parser read the next bytes of HTTP."""
        if self._head_timer is None and not self._in_body():
            self._start_head_timer()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._feed_upgraded(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(error)
        else:
            if self._in_head:
                self._head_size += len(data)
                if self._head_size > MAX_HEAD:
                    self._answer(431, "request header fields too large")

    def _feed_upgraded(self, data: bytes) -> None:
        """Bytes after the head of a request that wants an upgrade: its body, then what the new protocol says.

        The parser stops at such a head (RFC 9110 7.8 has the body still be HTTP), so the body is cut off here.
        """
        body = data[: self._body_left]
        self._body_left -= len(body)
        if body:
            self.on_body(body)
        if not self._body_left and self.cycle.more_body:
            super().on_message_complete()
        if len(data) > len(body):
            self._keep(data[len(body) :])

    def _keep(self, data: bytes) -> None:
        """Keep bytes for later: for the hijacker, or as the next request."""
        self._early += data
        if len(self._early) > _AHEAD:
            self.flow.pause_reading()

    def _awaiting_response(self) -> bool:
        cycle = self.cycle
        return cycle is not None and not cycle.more_body and not cycle.response_complete

    def _in_body(self) -> bool:
        return self.cycle is not None and self.cycle.more_body and not self._in_head

    # -- from the parser --------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope["extensions"] = cast(Any, {"hijack": self._hijack, "peer": self._peer})
        self._in_head = True
        self._head_size = 0
        if self._head_timer is None:
            self._start_head_timer()

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        super().on_url(url)
        if len(self.url) > MAX_URL:
            raise _Refused(414, "request target too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One whole header field."""
        super().on_header(name, value)
        if len(self.headers) > MAX_FIELDS:
            raise _Refused(431, "too many request header fields")

    def on_headers_complete(self) -> None:
        """The head is whole: decide whether this is an upgrade, and start the handler."""
        self._stop_head_timer()
        self._in_head = False
        self._head_size = 0
        if self.parser.get_http_version() not in ("1.0", "1.1"):
            raise _Refused(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        if self.parser.should_upgrade():
            fields = dict(self.headers)
            if b"transfer-encoding" in fields:
                raise _Refused(411, "a request to upgrade needs a Content-Length for its body")
            self._body_left = int(fields.get(b"content-length", b"0"))
            self._upgrading = True
        super().on_headers_complete()
        if self._upgrading:
            self.cycle.keep_alive = False  # the parser is of no use after this request

    def on_message_complete(self) -> None:
        """The request is whole, except for the body of an upgrade, which the parser does not see."""
        if not self._upgrading:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer was sent: go on with what was kept."""
        super().on_response_complete()
        if self._early and not self._upgrading and not self.transport.is_closing():
            kept, self._early = bytes(self._early), bytearray()
            self.data_received(kept)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        async def run(scope: Any, receive: Any, send: Any) -> None:
            try:
                await app(scope, receive, send)
            finally:
                if self._hijacked is not None:
                    self._hijacked.finish()

        super()._start_asgi_task(cycle, run)

    # -- refusals ---------------------------------------------------------------------------------------------------

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT, self._answer, 408, "the request's head did not arrive")

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__
        if isinstance(cause, _Refused):
            self._answer(cause.status, cause.reason)
        else:
            self._answer(400, f"malformed HTTP request: {error}")

    def _answer(self, status: int, reason: str) -> None:
        """Refuse what is not a request and close; within another's response the connection is just closed."""
        self._stop_head_timer()
        if self.transport.is_closing():
            return
        log.debug("refused a connection: %d %s", status, reason)
        if self.cycle is None or self.cycle.response_complete:
            body = reason.encode("ascii", "replace")
            head = b"content-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()

    # -- stopping ---------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Stop at the daemon's end: idle connections and streams (answers without a length) end,
        the rest may finish."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self.transport.close()
            return
        cycle.keep_alive = False
        if cycle.response_started and cycle.chunked_encoding:
            cycle.disconnected = True
            cycle.message_event.set()
            self.transport.close()

    def abort(self) -> None:
        """Drop the connection with whatever was not sent."""
        self.transport.abort()

    # -- handing over -----------------------------------------------------------------------------------------------

    async def _hijack(
        self, content_type: str, upgrade: bool
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        cycle = self.cycle
        if cycle.response_started:
            raise RuntimeError("hijack after the response was begun")
        while cycle.more_body and not cycle.disconnected:
            await cycle.receive()
        if self.transport.is_closing():
            raise ConnectionResetError("the client went away")
        cycle.response_started = cycle.response_complete = True
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        self.connections.discard(self)
        self._hijacked = HijackedConnection(self.transport, self.connections, paused=self.flow.write_paused)
        self.transport.set_protocol(self._hijacked)
        self.transport.write(_switching(content_type, upgrade))
        if self._early:
            self._hijacked.data_received(bytes(self._early))
            self._early.clear()
        if self._eof:
            self._hijacked.eof_received()
        return self._hijacked.streams()


def _switching(content_type: str, upgrade: bool) -> bytes:
    """The head of the last HTTP answer on the connection (Engine API, "Hijacking")."""
    kind = f"Content-Type: {content_type}\r\n".encode("latin-1")
    if upgrade:
        return b"HTTP/1.1 101 UPGRADED\r\n" + kind + b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    return b"HTTP/1.1 200 OK\r\n" + kind + b"\r\n"


class HijackedConnection(asyncio.StreamReaderProtocol):
    """A connection that is no longer HTTP; counted among the server's connections until it is gone."""

    def __init__(self, transport: asyncio.Transport, connections: set[Any], *, paused: bool) -> None:
        # A strong reference: the protocol alone must keep the reader alive.
        self._reader = asyncio.StreamReader()
        super().__init__(self._reader)
        self.transport = transport
        self._connections = connections
        self._hangup: _HangupWatch | None = None
        self._linger: asyncio.TimerHandle | None = None
        connections.add(self)
        self.connection_made(transport)
        # Kept here, because a writer that is dropped before its connection was closed warns.
        self._writer = asyncio.StreamWriter(transport, self, self._reader, asyncio.get_running_loop())
        if paused:
            self.pause_writing()

    def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The two directions."""
        return self._reader, self._writer

    def eof_received(self) -> bool:
        """The client closed its direction; ours goes on until it has gone altogether."""
        super().eof_received()
        if self._hangup is None and not self.transport.is_closing():
            self._hangup = _HangupWatch(self.transport)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: the reader ends, `wait_closed` returns."""
        self._connections.discard(self)
        if self._hangup is not None:
            self._hangup.close()
        if self._linger is not None:
            self._linger.cancel()
        super().connection_lost(exc)

    def finish(self) -> None:
        """Close once everything written was sent, but do not wait for ever for a peer that does not read."""
        self.transport.close()
        if self._linger is None and self in self._connections:
            loop = asyncio.get_running_loop()
            self._linger = loop.call_later(LINGER, self.transport.abort)

    def cut(self) -> None:
        """The daemon stops."""
        self.finish()

    shutdown = cut

    def abort(self) -> None:
        """Drop the connection with whatever was not sent."""
        self.transport.abort()


class _HangupWatch:
    """Aborts a transport, of which reading has ended, when its peer closes the other direction too.

    asyncio stops watching a socket that reached its end, and would notice only on the next write, which for a silent
    container never comes. An epoll set with no events asked for still reports a hang-up (epoll_ctl(2)), and is
    itself a descriptor that the event loop can watch.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._epoll.register(transport.get_extra_info("socket").fileno(), 0)
        self._loop.add_reader(self._epoll.fileno(), self._hung_up)

    def _hung_up(self) -> None:
        self.close()
        self._transport.abort()

    def close(self) -> None:
        """Stop watching. Idempotent."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
