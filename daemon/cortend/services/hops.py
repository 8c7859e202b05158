"""Writing an ingest from the event loop: bytes are gathered, and a worker thread writes and hashes them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from corten_shared.errors import AlreadyExists, NotFound, Unavailable
from cortend.core.content import ContentStore, IngestWriter
from cortend.core.workers import Workers
from cortend.services.finish import ended, finished

HOP = 1 << 20
"""Bytes gathered before they go to a worker thread: each hop costs as much as hashing some 100 KB."""

T = TypeVar("T")


class Hops:
    """Calls on a writer, one after the other on worker threads, the last write while the loop reads on.

    A writer must never be used by two threads, so a cancelled caller still waits for the call under way. `drop`
    says that the ingest is not worth keeping when it is not committed.
    """

    def __init__(self, workers: Workers, writer: IngestWriter) -> None:
        self.writer = writer
        self.drop = False
        self.committed = False
        self._workers = workers
        self._running: asyncio.Task[None] | None = None
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
        await self._settle()

    async def truncate(self, size: int) -> None:
        """Drop all bytes after the first `size`."""
        await self._run(self.writer.truncate, size)

    async def commit(self, size: int, expected: str | None = None) -> bool:
        """Make the ingest a blob; False when the blob was there already. Raises DataLoss."""
        await self.flush()
        try:
            await self._run(self.writer.commit, size, expected)
        except AlreadyExists:
            self.committed = True
            return False
        self.committed = True
        return True

    async def close(self) -> None:
        """Wait for what is under way, whatever becomes of it, and close the writer."""
        try:
            if self._running is not None:
                await ended(self._running)
        finally:
            await finished(self._workers.run(self.writer.close))

    async def _run(self, call: Callable[..., T], *args: object) -> T:
        await self._settle()
        return await finished(self._workers.run_slow(call, *args))

    async def _write(self) -> None:
        """Begin to write, once the write before has ended (its error is raised here)."""
        await self._settle()
        data = b"".join(self._gathered)
        self._gathered, self._size = [], 0
        if data:
            self._running = asyncio.ensure_future(self._workers.run_slow(self.writer.write, data))

    async def _settle(self) -> None:
        """Wait for the write under way; raises its error."""
        if self._running is not None:
            task = self._running
            await ended(task)
            self._running = None
            task.result()


@asynccontextmanager
async def writing(
    content: ContentStore,
    workers: Workers,
    ns: str,
    ref: str,
    *,
    lease: str,
    expected: str | None = None,
    size: int = 0,
) -> AsyncIterator[Hops]:
    """The ingest `ref`, opened and in the end closed; dropped then when it is empty or not worth keeping.

    Raises as ContentStore.writer.
    """
    opening = workers.run_slow(content.writer, ns, ref, lease=lease, expected=expected, size=size)
    hops = Hops(workers, await finished(opening, lambda writer: writer.close()))
    try:
        yield hops
    finally:
        await hops.close()
        if not hops.committed and (hops.drop or not hops.writer.offset):
            with contextlib.suppress(NotFound, Unavailable):
                await workers.run(content.abort, ns, ref)
