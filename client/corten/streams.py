"""Carrying a container's streams between a hijacked connection and this process.

The wire (Engine API, "attach"): with a terminal the bytes are raw; without one the daemon frames
its output, `[stream][0][0][0][length, u32 big-endian]` and the payload. What we send is never
framed, and closing our direction (shutdown for writing) is the end of the container's stdin.

One thread and one poll loop serve both directions: a blocked daemon must not keep us from reading
its output, or both would wait for ever.
"""

from __future__ import annotations

import _socket
import os
import select

from corten_shared.errors import DataLoss, Internal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.transport import Connection
    from corten.tty import DetachKeys

CHUNK = 64 * 1024
MAX_ERROR = 64 * 1024
"""Bytes kept of an error that the daemon reports inside the stream."""
_IOV = 512


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """All of `data` to `fd`, also when it is a pipe that does not block."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            select.select([], [fd], [])


class Demultiplexer:
    """Frames in, payloads out to file descriptors. `feed` takes any cut of the stream."""

    def __init__(self, stdout: int = 1, stderr: int = 2) -> None:
        self._fds = {0: stdout, 1: stdout, 2: stderr}
        self._header = bytearray()
        self._stream = 1
        self._left = 0
        self._error = bytearray()

    def feed(self, data: bytes) -> None:
        """Write what `data` carries; raises DataLoss when it is not framed."""
        view = memoryview(data)
        at, end = 0, len(data)
        batch: list[memoryview] = []
        target = -1
        while at < end:
            if not self._left:
                at = self._read_header(view, at)
                if not self._left:
                    continue
            piece = view[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            if self._stream == 3:
                self._error += piece[: MAX_ERROR - len(self._error)]
                continue
            fd = self._fds[self._stream]
            if batch and (fd != target or len(batch) == _IOV):
                _write_batch(target, batch)
                batch = []
            target = fd
            batch.append(piece)
        if batch:
            _write_batch(target, batch)

    def finish(self) -> None:
        """To be called at the end of the stream: raises what the daemon reported, or a cut frame."""
        if self._error:
            raise Internal(f"error from daemon in stream: {self._error.decode(errors='replace').strip()}")
        if self._left or self._header:
            raise DataLoss("the container's output ended in the middle of a frame")

    def _read_header(self, view: memoryview, at: int) -> int:
        if not self._header and len(view) - at >= 8:
            header: bytes | memoryview = view[at : at + 8]
            at += 8
        else:
            need = 8 - len(self._header)
            self._header += view[at : at + need]
            at += min(need, len(view) - at)
            if len(self._header) < 8:
                return at
            header = bytes(self._header)
            self._header.clear()
        self._stream = header[0]
        self._left = int.from_bytes(header[4:8], "big")
        if self._stream > 3 or header[1] or header[2] or header[3]:
            raise DataLoss(f"the container's output is not framed: header {bytes(header).hex()}")
        return at


def _write_batch(fd: int, batch: list[memoryview]) -> None:
    """All pieces in order; one system call in the usual case."""
    if len(batch) == 1:
        write_all(fd, batch[0])
        return
    try:
        written = os.writev(fd, batch)
    except BlockingIOError:
        written = 0
    for piece in batch:
        if written >= len(piece):
            written -= len(piece)
        else:
            write_all(fd, piece[written:])
            written = 0


class Raw:
    """Output of a container with a terminal: bytes as they are. Same surface as Demultiplexer."""

    def __init__(self, stdout: int = 1) -> None:
        self._fd = stdout

    def feed(self, data: bytes) -> None:
        """Write `data`."""
        write_all(self._fd, data)

    def finish(self) -> None:
        """Nothing is left to say."""


class Pump:
    """Both directions of one hijacked connection until the container's output ends.

    `stdin`: the descriptor to read, or None. Ends early, with `detached` set, when the detach
    keys are typed. Reading goes on after our stdin ended; the end of the output ends everything.
    """

    def __init__(
        self,
        connection: Connection,
        output: Demultiplexer | Raw,
        stdin: int | None = None,
        detach: DetachKeys | None = None,
    ) -> None:
        self._connection = connection
        self._output = output
        self._stdin = stdin
        self._detach = detach
        self._pending = b""
        self.detached = False

    def run(self) -> None:
        """Pump; raises Unavailable when the connection breaks, DataLoss when frames are broken."""
        connection = self._connection
        if connection.buffer:
            self._output.feed(bytes(connection.buffer))
            connection.buffer.clear()
        if self._stdin is None:
            self._close_writing()
            while data := connection.recv():
                self._output.feed(data)
        else:
            self._both_ways(connection.sock)
        if not self.detached:
            self._output.finish()

    def _both_ways(self, sock: _socket.socket) -> None:
        sock.setblocking(False)
        while True:
            ready = self._wait(sock)
            if ready & _SEND:
                self._send(sock)
            if ready & _TYPED and self._read_stdin():
                self.detached = True
                return
            if ready & _RECEIVE and not self._receive(sock):
                return

    def _wait(self, sock: _socket.socket) -> int:
        poll = select.poll()
        poll.register(sock, select.POLLIN | (select.POLLOUT if self._pending else 0))
        if self._stdin is not None and not self._pending:
            poll.register(self._stdin, select.POLLIN)
        ready = 0
        for fd, events in poll.poll():
            if fd == sock.fileno():
                ready |= _SEND if events & select.POLLOUT else 0
                ready |= _RECEIVE if events & ~select.POLLOUT else 0
            else:
                ready |= _TYPED
        return ready

    def _receive(self, sock: _socket.socket) -> bool:
        try:
            data = sock.recv(256 * 1024)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        if data:
            self._output.feed(data)
        return bool(data)

    def _read_stdin(self) -> bool:
        """Take what was typed; True when it was the detach keys."""
        assert self._stdin is not None
        try:
            data = os.read(self._stdin, CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the terminal was hung up
            data = b""
        if not data:
            self._stdin = None
            self._close_writing()
            return False
        self._pending = self._detach.feed(data) if self._detach else data
        if self._pending:
            self._send(self._connection.sock)
        return self._detach is not None and self._detach.found

    def _send(self, sock: _socket.socket) -> None:
        try:
            self._pending = self._pending[sock.send(self._pending) :]
        except BlockingIOError:
            return
        except OSError:  # the container does not read any more; its output may go on
            self._pending = b""
            self._stdin = None

    def _close_writing(self) -> None:
        try:
            self._connection.sock.shutdown(_socket.SHUT_WR)
        except OSError:
            return


_SEND, _RECEIVE, _TYPED = 1, 2, 4
