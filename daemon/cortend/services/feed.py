"""A stream that arrives on the event loop, for one thread that reads it as it comes."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator

from corten_shared.errors import Cancelled, ResourceExhausted
from cortend.services.hops import HOP

_AHEAD = 4
"""Pieces (of HOP bytes) that may wait for the thread: a sender that is faster than it is slowed down."""


class Feed:
    """`pump` runs on the loop; the thread iterates. An error of either side ends the other."""

    def __init__(self, chunks: AsyncIterator[bytes], *, limit: int, what: str) -> None:
        self.size = 0
        self._chunks = chunks
        self._limit = limit
        self._what = what
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Event()
        self._changed = threading.Condition()
        self._pieces: deque[bytes] = deque()
        self._ended = False
        self._error: BaseException | None = None

    async def pump(self) -> None:
        """Pass the stream on, to its end. Raises what it raises, and ResourceExhausted past the limit."""
        try:
            gathered: list[bytes] = []
            size = 0
            async for chunk in self._chunks:
                gathered.append(chunk)
                size += len(chunk)
                if size >= HOP:
                    await self._put(b"".join(gathered))
                    gathered, size = [], 0
            await self._put(b"".join(gathered))
        except BaseException as error:
            self._end(error)
            raise
        self._end(None)

    def close(self) -> None:
        """Have the thread stop: its next read raises Cancelled."""
        self._end(Cancelled(f"{self._what} was given up"))

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._changed:
                while not self._pieces and not self._ended:
                    self._changed.wait()
                if self._error is not None:
                    raise Cancelled(f"{self._what} ended early") from self._error
                if not self._pieces:
                    return
                piece = self._pieces.popleft()
            self._loop.call_soon_threadsafe(self._room.set)
            yield piece

    async def _put(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > self._limit:
            raise ResourceExhausted(f"{self._what} has more than {self._limit} bytes")
        if not piece:
            return
        self._room.clear()
        with self._changed:
            self._pieces.append(piece)
            full = len(self._pieces) >= _AHEAD
            self._changed.notify()
        if full:
            await self._room.wait()

    def _end(self, error: BaseException | None) -> None:
        with self._changed:
            if not self._ended or error is not None:
                self._ended, self._error = True, self._error or error
                self._changed.notify()
