"""Keeping logs small while containers write: files that have reached their size make way for new ones.

The kernel says which logs grow (inotify); a look at one costs a stat. Nothing wakes for a container that is silent, and
one that writes is looked at ten times a second, more often when it is fast. What it wrote beyond the size in spite of
that is cut off the old file afterwards, so that every file has the size that was asked for and no byte is lost.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from corten_shared.errors import CortenError
from corten_shared.models.container import ContainerRecord
from cortend.core.runtime import TaskKey, TaskRuntime
from cortend.core.workers import Workers
from cortend.linux.inotify import DirectoriesWatch
from cortend.services import logfiles
from cortend.services.log_options import limits_of
from cortend.services.logfiles import LogLimits
from cortend.services.settings import ContainerSettings

log = logging.getLogger(__name__)

_PAUSE, _SHORTEST = 0.1, 0.01
"""Seconds between two looks at what grows: as many as let a log grow by a part of its size, within these bounds."""
_PART = 0.25
_REOPENED = 5.0
"""Seconds that a conmon has to open its log anew before it is asked once more."""


class _State(Enum):
    """Of a log: nothing to do; a full file was taken away just now; conmon has not opened the next one; the older
    files are to be cut and thinned."""

    FINE = auto()
    FULL = auto()
    TAKEN = auto()
    UNSETTLED = auto()


@dataclass
class _Kept:
    """A log, its size when it was looked at last, and how many bytes a second it grew by then."""

    directory: Path
    limits: LogLimits
    size: int = 0
    seen_at: float = 0.0
    rate: float = 0.0

    def measured(self, size: int, now: float) -> None:
        """Take note of a look."""
        if size >= self.size and self.seen_at:
            self.rate = (size - self.size) / max(now - self.seen_at, 1e-3)
        self.size, self.seen_at = size, now

    @property
    def pause(self) -> float:
        """When it wants to be looked at again."""
        return min(_PAUSE, max(_SHORTEST, _PART * self.limits.size / (self.rate or 1)))

    @property
    def reach(self) -> int:
        """The size at which it would be too large by the next look."""
        return int(self.limits.size - 1.5 * self.rate * self.pause)


class LogKeeper:
    """Rotates the logs of running containers. One per daemon, on its event loop."""

    def __init__(self, *, settings: ContainerSettings, runtime: TaskRuntime, workers: Workers) -> None:
        self._settings = settings
        self._runtime = runtime
        self._workers = workers
        self._kept: dict[TaskKey, _Kept] = {}
        self._asked: dict[TaskKey, float] = {}
        self._watch = DirectoriesWatch[TaskKey]()

    def add(self, key: TaskKey, record: ContainerRecord) -> None:
        """A container runs: from now on its log is kept small. What is there is looked at, too."""
        limits = limits_of(record.spec.log, self._settings.log)
        if limits.size <= 0 or record.spec.log.driver == "none":
            return
        directory = self._settings.logs(*key)
        self._kept[key] = _Kept(directory, limits)
        try:
            self._watch.add(key, str(directory))
        except OSError as error:
            log.error("the log of %s/%s is not rotated: %s", key.ns, key.id[:12], error)

    async def discard(self, key: TaskKey) -> None:
        """The container has ended: bring its log to size for the last time."""
        kept = self._kept.pop(key, None)
        self._watch.discard(key)
        self._asked.pop(key, None)
        if kept is not None:
            await self._workers.run_slow(_finish, kept.directory, kept.limits)

    async def run(self) -> None:
        """Keep until cancelled."""
        while True:
            pauses = [await self._look(key) for key in await self._watch.changed()]
            await asyncio.sleep(min(pauses))

    def close(self) -> None:
        """Stop watching."""
        self._watch.close()

    async def _look(self, key: TaskKey) -> float:
        """See to one log; returns how long to wait before the next look."""
        kept = self._kept.get(key)
        if kept is None:
            return _PAUSE
        try:
            state, size = await self._workers.run(_advance, kept.directory, kept.limits, kept.reach)
            kept.measured(size, asyncio.get_running_loop().time())
            if state is not _State.TAKEN:
                self._asked.pop(key, None)
            if state is _State.UNSETTLED:
                await self._workers.run_slow(logfiles.settle, kept.directory, kept.limits)
            elif state is not _State.FINE:
                await self._reopen(key)
        except (OSError, CortenError) as error:
            log.error("cannot rotate the log of %s/%s: %s", key.ns, key.id[:12], error)
        return kept.pause

    async def _reopen(self, key: TaskKey) -> None:
        """Have conmon open a new file. Not twice in a row: it would put an empty file in the new one's place."""
        now = asyncio.get_running_loop().time()
        if now - self._asked.get(key, -_REOPENED) < _REOPENED:
            return
        self._asked[key] = now
        await self._runtime.reopen_log(key)


def _advance(directory: Path, limits: LogLimits, reach: int) -> tuple[_State, int]:
    """Take a file away that has `reach` bytes, or say what else is to be done; and the current file's size."""
    size = logfiles.size_of(directory)
    if size is None:
        return (_State.TAKEN if logfiles.parts_of(directory) else _State.FINE), 0
    if size >= max(1, reach):
        return (_State.FULL if logfiles.rotate(directory) else _State.FINE), 0
    return (_State.UNSETTLED if logfiles.unsettled(directory, limits) else _State.FINE), size


def _finish(directory: Path, limits: LogLimits) -> None:
    try:
        if (logfiles.size_of(directory) or 0) > limits.size:
            logfiles.rotate(directory)
        if logfiles.unsettled(directory, limits):
            logfiles.settle(directory, limits)
    except OSError as error:
        log.error("cannot bring the log in %s to size: %s", directory, error)
