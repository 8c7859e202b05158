"""Tasks that nobody awaits: kept referenced, their failures logged, awaited at the daemon's end."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)


class Background:
    """A set of running background tasks."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run `work`; a failure is logged under `name`."""
        # In a context of its own: what happens later is not the doing of the client whose request began it.
        task = asyncio.get_running_loop().create_task(work, name=name, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed: %s", task.get_name(), error, exc_info=error)

    async def drain(self, patience: float) -> None:
        """Wait up to `patience` seconds for everything to end, then cancel the rest."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=patience)
        await self.cancel()

    async def cancel(self) -> None:
        """Cancel everything and wait until it has ended."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
