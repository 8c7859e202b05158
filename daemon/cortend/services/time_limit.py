"""A container's time limit: it is stopped when it has run for so long (podman's `--timeout`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from corten_shared import times
from corten_shared.models.container import ContainerRecord
from cortend.core.metadata import Metadata
from cortend.core.runtime import TaskKey
from cortend.core.workers import Workers
from cortend.services.background import Background

log = logging.getLogger(__name__)


End = Callable[[TaskKey], Coroutine[Any, Any, None]]


class TimeLimits:
    """Ends containers whose time is over; a follower of the supervisor's tasks."""

    def __init__(self, *, metadata: Metadata, workers: Workers, end: End) -> None:
        self._metadata = metadata
        self._workers = workers
        self._end = end
        self._waiting: dict[TaskKey, asyncio.Task[None]] = {}
        self._background = Background()

    def add(self, key: TaskKey, record: ContainerRecord) -> None:
        """The container runs."""
        if record.spec.time_limit:
            work = self._wait(key, record)
            self._waiting[key] = self._background.spawn(work, f"time limit of {key.ns}/{key.id[:12]}")

    async def discard(self, key: TaskKey) -> None:
        """The container has ended."""
        if (waiting := self._waiting.pop(key, None)) is not None and waiting is not asyncio.current_task():
            waiting.cancel()

    def forget(self, key: TaskKey) -> None:
        """The container is gone; nothing is remembered of it."""

    async def close(self) -> None:
        """Stop waiting; the next daemon goes on."""
        await self._background.cancel()

    async def _wait(self, key: TaskKey, record: ContainerRecord) -> None:
        started_at = await self._workers.run(self._started_at, key)
        left = record.spec.time_limit - (times.now() - started_at) / 1e9
        await asyncio.sleep(max(0.0, left))
        log.info("the time of container %s is over", record.name)
        self._background.spawn(self._end(key), f"end {key.ns}/{key.id[:12]}")

    def _started_at(self, key: TaskKey) -> int:
        with self._metadata.view() as tx:
            return tx.tasks.get(key.ns, key.id).started_at
