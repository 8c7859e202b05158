"""Streams of a running process: one connection to conmon, any number of clients.

conmon writes output to its clients before it reads more from the container, so a client that does not read
would stop the container. The daemon's one connection is therefore always drained into a bounded buffer per
client. When a buffer is full, reading pauses for at most `GRACE` seconds: a slow but living client (a pipe
into gzip) loses nothing, a dead one is dropped and the container goes on. The log is complete in any case,
conmon writes it before anything else.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable

from corten_shared.errors import Conflict, ResourceExhausted
from cortend.core.runtime import Chunk

LIMIT = 8 << 20
"""Bytes kept for one client."""

GRACE = 2.0
"""Seconds that a full client may hold up the container."""

PACKET = 32 << 10
"""Bytes that conmon takes in one packet of stdin."""

_READ = 512 << 10
_ROOM = 64 << 10  # more than any version of conmon puts into a packet
_STREAMS = {2: 1, 3: 2}


class Hub:
    """The daemon's connection to one process's streams. Belongs to the event loop it was made on.

    `closes_stdin`: conmon closes the process's stdin when our sending side is shut down.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        closes_stdin: bool,
        on_close: Callable[[], None] = lambda: None,
        limit: int = LIMIT,
        grace: float = GRACE,
    ) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._closes_stdin = closes_stdin
        self._on_close = on_close
        self._limit = limit
        self._grace = grace
        self._clients: list[Client] = []
        self._buffer = memoryview(bytearray(_READ))
        self._header = bytearray(1)
        self._closed = False
        self._paused: asyncio.TimerHandle | None = None
        self._stdin_open = True
        self._writing = asyncio.Lock()
        self._writable: asyncio.Future[None] | None = None
        self._loop.add_reader(sock, self._on_readable)

    @property
    def closed(self) -> bool:
        """Whether the connection is gone (the process's output ended, or nobody needed it)."""
        return self._closed

    def attach(self, *, stdin: bool) -> Client:
        """A further client: it gets what comes from now on."""
        client = Client(self, stdin=stdin)
        if self._closed:
            client.end()
        else:
            self._clients.append(client)
        return client

    def detach(self, client: Client) -> None:
        """Forget a client; without clients the connection is given up, unless that would end the process's
        input."""
        if client not in self._clients:
            return
        self._clients.remove(client)
        if client.stdin:
            self.close_stdin()
        self.drained()
        if not self._clients and not (self._closes_stdin and self._stdin_open):
            self.close()

    async def send(self, data: bytes) -> None:
        """Write to the process's stdin, in whole, one caller after the other."""
        async with self._writing:
            for start in range(0, len(data), PACKET):
                await self._send_packet(data[start : start + PACKET])

    async def _send_packet(self, packet: bytes) -> None:
        while True:
            if self._closed or not self._stdin_open:
                raise Conflict("the process's stdin is closed")
            try:
                self._sock.send(packet)
                return
            except BlockingIOError:
                pass
            except OSError as error:
                raise Conflict(f"the process's stdin is closed: {error.strerror}") from error
            self._writable = self._loop.create_future()
            self._loop.add_writer(self._sock, self._on_writable)
            try:
                await self._writable
            finally:
                self._writable = None
                if not self._closed:
                    self._loop.remove_writer(self._sock)

    def close_stdin(self) -> None:
        """End the process's input, if conmon was told to let that happen."""
        if self._closes_stdin and self._stdin_open and not self._closed:
            self._stdin_open = False
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError as error:
                if error.errno != errno.ENOTCONN:
                    raise
            self._on_writable()

    def close(self) -> None:
        """Give the connection up and end every client's output; idempotent."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        if self._paused:
            self._paused.cancel()
        self._sock.close()
        self._on_writable()
        clients, self._clients = self._clients, []
        for client in clients:
            client.end()
        self._on_close()

    def _on_writable(self) -> None:
        if self._writable and not self._writable.done():
            self._writable.set_result(None)

    def _on_readable(self) -> None:
        """Take what is there, as one chunk per run of packets of the same stream."""
        used, stream, ended = 0, 0, False
        while used <= _READ - _ROOM:
            try:
                count = self._sock.recvmsg_into([self._header, self._buffer[used:]])[0]
            except (BlockingIOError, InterruptedError):
                break
            except ConnectionResetError:
                continue  # conmon left input of ours unread when it ended; its output is still queued
            except OSError:
                ended = True
                break
            if count == 0:
                ended = True
                break
            now = _STREAMS.get(self._header[0], 1)
            if now != stream and used:
                # The other stream begins: pass on what came before it and move this packet to the front.
                self._pass_on(Chunk(stream, bytes(self._buffer[:used])))
                self._buffer[: count - 1] = bytes(self._buffer[used : used + count - 1])
                used = 0
            stream, used = now, used + count - 1
        if used:
            self._pass_on(Chunk(stream, bytes(self._buffer[:used])))
        if ended:
            self.close()

    def _pass_on(self, chunk: Chunk) -> None:
        full = False
        for client in self._clients:
            client.put(chunk)
            full = full or client.size > self._limit
        if full and self._paused is None and not self._closed:
            self._loop.remove_reader(self._sock)
            self._paused = self._loop.call_later(self._grace, self._drop_stalled)

    def drained(self) -> None:
        """A client took something: go on reading when no buffer is full any more."""
        if self._paused and all(client.size <= self._limit for client in self._clients):
            self._paused.cancel()
            self._resume()

    def _drop_stalled(self) -> None:
        for client in [client for client in self._clients if client.size > self._limit]:
            client.fail(
                ResourceExhausted(
                    f"the client did not read {client.size} bytes of output in time: it is disconnected",
                    hint="the log has all of it",
                )
            )
            self.detach(client)
        if not self._closed:
            self._resume()

    def _resume(self) -> None:
        self._paused = None
        if not self._closed:
            self._loop.add_reader(self._sock, self._on_readable)


class Client:
    """One client of a hub (implements core.runtime.Attachment)."""

    def __init__(self, hub: Hub, *, stdin: bool) -> None:
        self.stdin = stdin
        self.size = 0
        self._hub = hub
        self._chunks: deque[Chunk] = deque()
        self._ended = False
        self._error: Exception | None = None
        self._ready = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        """The next chunk; ends when the output ends, raises ResourceExhausted when this client was too
        slow."""
        while not self._chunks:
            if self._error:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()
        chunk = self._chunks.popleft()
        self.size -= len(chunk.data)
        self._hub.drained()
        return chunk

    async def write(self, data: bytes) -> None:
        """Write to stdin; raises Conflict when it is closed or was not asked for."""
        if not self.stdin:
            raise Conflict("this client is not attached to stdin")
        await self._hub.send(data)

    async def close_stdin(self) -> None:
        """End the input (ignored where the container keeps its stdin open for further clients)."""
        if self.stdin:
            self._hub.close_stdin()

    async def close(self) -> None:
        """Detach."""
        self._hub.detach(self)
        self.end()

    def put(self, chunk: Chunk) -> None:
        """Add output (the hub's side)."""
        self._chunks.append(chunk)
        self.size += len(chunk.data)
        self._ready.set()

    def end(self) -> None:
        """There is no more output."""
        self._ended = True
        self._ready.set()

    def fail(self, error: Exception) -> None:
        """Drop the buffer and end with an error."""
        self._chunks.clear()
        self.size = 0
        self._error = error
        self._ready.set()
