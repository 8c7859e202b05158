"""Writing an ingest from the event loop: bytes are gathered, and a worker thread writes and hashes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from cortend.core.content import IngestWriter
from cortend.core.workers import Workers

HOP = 1 << 20
"""Bytes gathered before they go to a worker thread: each hop costs as much as hashing some 100 KB."""

T = TypeVar("T")


class Hops:
    """Calls on a writer, one after the other on worker threads, the last one while the loop reads on.

    A writer must never be used by two threads, so a cancelled caller still waits for the call under way.
    """

    def __init__(self, workers: Workers, writer: IngestWriter) -> None:
        self.writer = writer
        self._workers = workers
        self._running: asyncio.Task[object] | None = None
        self._gathered: list[bytes] = []
        self._size = 0

    async def gather(self, chunk: bytes) -> None:
        """Take a chunk; what was gathered is written once it is worth a hop."""
        self._gathered.append(chunk)
        self._size += len(chunk)
        if self._size >= HOP:
            await self._write()

    async def flush(self) -> None:
        """Write what was gathered and wait until it is written."""
        await self._write()
        await self.settle()

    async def run(self, call: Callable[..., T], *args: object) -> T:
        """Call and wait for the result."""
        await self.settle()
        task = asyncio.ensure_future(self._workers.run_slow(call, *args))
        self._running = task
        await self.settle()
        return task.result()

    async def finish(self, close: Callable[[], None]) -> None:
        """Wait for what is under way, forget its outcome, and close the writer."""
        if self._running is not None:
            await _ended(self._running)
        await self._workers.run(close)

    async def _write(self) -> None:
        """Begin to write, once the write before has ended (its error is raised here)."""
        await self.settle()
        data = b"".join(self._gathered)
        self._gathered, self._size = [], 0
        if data:
            self._running = asyncio.ensure_future(self._workers.run_slow(self.writer.write, data))

    async def settle(self) -> None:
        """Wait for the call under way; raises its error."""
        if self._running is not None:
            task = self._running
            await _ended(task)
            self._running = None
            task.result()


async def _ended(task: asyncio.Task[object]) -> None:
    """Wait until `task` has ended, whatever happens; a cancellation is passed on afterwards."""
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
