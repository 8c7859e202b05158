"""Checking the whole store, and mending it.

    rows        the database: is the file sound, can each row be read?
    content     every blob is read and hashed; then each image is followed from its name to its layers
    snapshots   every directory against the line that was kept at its commit; with `deep` against its layer
    leftovers   what nobody names

Each part rests on the one before it. A repair fetches again, unpacks again, or removes; what a container wrote is never
touched. The daemon works on meanwhile: what is being made has a lease or is left alone, and what seems to be missing is
looked for twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from corten_shared.errors import Conflict
from corten_shared.models.check import CheckLine
from cortend.core.metadata import Metadata
from cortend.core.workers import Workers
from cortend.services.check_content import ContentChecker
from cortend.services.check_leftovers import LeftoverChecker
from cortend.services.check_rows import RowChecker
from cortend.services.check_run import CheckRun
from cortend.services.check_snapshots import SnapshotChecker
from cortend.services.leases import temporary_lease

_EVERY = 0.1
"""Seconds between two looks at what was found."""

Part = Callable[[CheckRun], Awaitable[None]]


class CheckService:
    """One check at a time."""

    def __init__(
        self,
        *,
        rows: RowChecker,
        content: ContentChecker,
        snapshots: SnapshotChecker,
        leftovers: LeftoverChecker,
        metadata: Metadata,
        workers: Workers,
        request_gc: Callable[[], None],
    ) -> None:
        self._rows = rows
        self._content = content
        self._snapshots = snapshots
        self._leftovers = leftovers
        self._metadata = metadata
        self._workers = workers
        self._request_gc = request_gc
        self._busy = asyncio.Lock()

    def system(self, *, repair: bool = False, deep: bool = False) -> AsyncIterator[CheckLine]:
        """Check everything; the last line is the summary. Raises Conflict while another check runs."""
        parts = (
            self._rows.check,
            self._content.hash_all,
            self._content.images,
            self._content.rest,
            self._snapshots.check,
            self._leftovers.check,
        )
        return self._lines(parts, repair, deep)

    def content(self, *, repair: bool = False) -> AsyncIterator[CheckLine]:
        """Check the blobs alone. As `system`."""
        return self._lines((self._content.hash_all, self._content.images, self._content.rest), repair, False)

    async def _lines(self, parts: tuple[Part, ...], repair: bool, deep: bool) -> AsyncIterator[CheckLine]:
        if self._busy.locked():
            raise Conflict("a check of the store is under way", hint="wait until it has ended")
        async with self._busy, contextlib.AsyncExitStack() as stack:
            run = CheckRun(repair, deep, self._leases(stack))
            task = asyncio.create_task(self._run(parts, run), name="store check")
            try:
                while not task.done():
                    await asyncio.wait((task,), timeout=_EVERY)
                    for line in run.take():
                        yield line
                task.result()
            finally:  # before the leases go
                await _end(task)
            for line in (*run.take(), run.summary()):
                yield line
        if repair:
            self._request_gc()

    async def _run(self, parts: tuple[Part, ...], run: CheckRun) -> None:
        for part in parts:
            await part(run)

    def _leases(self, stack: contextlib.AsyncExitStack) -> Callable[[str], Awaitable[str]]:
        """One lease for each namespace in which something is made, until the check ends."""
        known: dict[str, str] = {}

        async def lease(ns: str) -> str:
            if ns not in known:
                known[ns] = await stack.enter_async_context(
                    temporary_lease(self._metadata, self._workers, ns, "check")
                )
            return known[ns]

        return lease


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
