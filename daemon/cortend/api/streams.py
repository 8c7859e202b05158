"""Hijacked connections: a container's streams over the raw socket of attach and exec.

    client --raw bytes--> stdin                      never framed
    client <--frames----- stdout, stderr             with a terminal: raw

A frame is 8 bytes (stream, three zeros, length as big-endian u32) and its payload. The client half-closes to end the
container's input while output goes on; we half-close and then close when the output has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Collection

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from corten_shared.errors import Conflict, CortenError, InvalidArgument, Unimplemented
from cortend.api.hijack import wants_upgrade
from cortend.core.runtime import Attachment, Chunk

log = logging.getLogger(__name__)

STDOUT = 1
STDERR = 2

_READ = 64 << 10
_LINGER = 2.0
"""Seconds that a client gets to close after the output ended."""
_DEFAULT_DETACH = b"\x10\x11"
"""ctrl-p, ctrl-q."""
_HEADER = struct.Struct(">BxxxL")


def frame(stream: int, data: bytes) -> bytes:
    """One frame, header and payload in one piece so that no other write comes between."""
    return _HEADER.pack(stream, len(data)) + data


def parse_detach_keys(text: str) -> bytes:
    """The bytes of `ctrl-p,ctrl-q` or `a,b`; the default when empty. Raises InvalidArgument in docker's words."""
    if not text:
        return _DEFAULT_DETACH
    try:
        return b"".join(_key(name) for name in text.split(","))
    except ValueError:
        raise InvalidArgument(f"Invalid detach keys ({text[:80]}) provided") from None


def _key(name: str) -> bytes:
    if len(name) == 1 and name.isascii():
        return name.encode()
    control = name.lower().removeprefix("ctrl-")
    if len(name) == 6 and len(control) == 1 and "@" <= control.upper() <= "_":
        return bytes([ord(control.upper()) & 0x1F])
    raise ValueError(name)


class DetachFilter:
    """Looks for the detach keys in what is typed; they may arrive in several reads."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What may be passed on, and whether the keys were complete (what follows them is dropped)."""
        data = self._held + data
        at = data.find(self._keys)
        if at >= 0:
            self._held = b""
            return data[:at], True
        keep = next((n for n in range(min(len(self._keys) - 1, len(data)), 0, -1) if data.endswith(self._keys[:n])), 0)
        self._held = data[len(data) - keep :]
        return data[: len(data) - keep], False

    def rest(self) -> bytes:
        """What was held back when the input ended."""
        held, self._held = self._held, b""
        return held


class Hijacked(Response):
    """Takes the connection over and joins it to an attachment until one side has ended.

    With `until` the end of the output is told to the client only after that has returned.
    """

    def __init__(
        self,
        attachment: Attachment,
        content_type: str,
        *,
        tty: bool,
        outputs: Collection[int] = (STDOUT, STDERR),
        stdin: bool = True,
        detach_keys: bytes = b"",
        until: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.attachment = attachment
        self.content_type = content_type
        self.tty = tty
        self.outputs = frozenset(outputs)
        self.stdin = stdin
        self.detach_keys = detach_keys if tty else b""
        self.until = until
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the connection (ASGI)."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self.attachment.close)
            hijack = scope.get("extensions", {}).get("hijack")
            if hijack is None:
                raise Unimplemented("this listener cannot hand its connection over", hint="use the unix socket")
            reader, writer = await hijack(content_type=self.content_type, upgrade=wants_upgrade(scope))
            stack.callback(writer.close)
            await self._join(reader, writer)
            await self.attachment.close()
            await _finish(reader, writer)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        output = asyncio.create_task(self._output(writer))
        input_ = asyncio.create_task(self._input(reader, writer))
        try:
            await asyncio.wait([output, input_], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (output, input_):
                task.cancel()
            await asyncio.wait([output, input_])
            for task in (output, input_):
                if not task.cancelled() and (error := task.exception()) is not None:
                    _report(error)

    async def _output(self, writer: asyncio.StreamWriter) -> None:
        """The container's output to the client; slow clients hold it up here, and only here."""
        async for chunk in self.attachment:
            if chunk.stream in self.outputs or self.tty:
                writer.write(chunk.data if self.tty else frame(chunk.stream, chunk.data))
                await writer.drain()
        if self.until is not None:
            await self.until()

    async def _input(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What the client types to the container, until it detached or is gone; a half-close is neither."""
        keys = DetachFilter(self.detach_keys) if self.detach_keys else None
        while data := await reader.read(_READ):
            data, detached = keys.feed(data) if keys else (data, False)
            await self._write(data)
            if detached:
                return
        if keys:
            await self._write(keys.rest())
        if self.stdin:
            with contextlib.suppress(CortenError):
                await self.attachment.close_stdin()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _write(self, data: bytes) -> None:
        if data and self.stdin:
            with contextlib.suppress(Conflict):  # the process closed its stdin: it goes on, without this
                await self.attachment.write(data)


def _report(error: BaseException) -> None:
    if isinstance(error, (ConnectionError, CortenError)):
        log.debug("stream ended: %s", error)
    else:
        log.error("stream failed", exc_info=error)


async def _finish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send what is left, end our side, and give the client a moment to end its own.

    Closing while unread input is in the socket would reset the connection, and the client would
    report that instead of a clean end.
    """
    with contextlib.suppress(OSError, RuntimeError, TimeoutError):
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()
        async with asyncio.timeout(_LINGER):
            while await reader.read(_READ):
                pass


class Message:
    """An attachment that says one thing and ends: how an exec that cannot start tells why."""

    def __init__(self, text: str) -> None:
        self._data = text.encode("utf-8", "replace")

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        yield Chunk(STDOUT, self._data)

    async def write(self, data: bytes) -> None:
        """Nobody reads it."""

    async def close_stdin(self) -> None:
        """Nothing to close."""

    async def close(self) -> None:
        """Nothing to close."""
