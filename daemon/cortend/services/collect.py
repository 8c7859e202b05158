"""When garbage is collected: soon after something was removed, when a lease ends, after much was written, now and
then anyway; and never so often that writers would notice."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from corten_shared import times
from corten_shared.errors import CortenError
from cortend.core.metadata import Collected, Collector
from cortend.core.workers import Workers
from cortend.linux.memory import malloc_trim

log = logging.getLogger(__name__)

_LEAST_PAUSE = 0.005
"""Seconds that a collection counts as having kept writers waiting, at least (containerd's figure)."""
_LEAST_REST = 4
"""Rest after a collection, in its own lengths: marking takes no lock, but processor time."""


@dataclass(frozen=True, slots=True)
class CollectSettings:
    """containerd's scheduler's settings (docs/garbage-collection.md of it), times in seconds.

    `interval` is ours: the longest time between two collections.
    """

    schedule_delay: float = 1.0
    startup_delay: float = 0.1
    pause_threshold: float = 0.02
    deletion_threshold: int = 0
    mutation_threshold: int = 100
    interval: float = 3600.0


class Schedule:
    """When the next collection is due. Moments are seconds of one clock, which the caller reads."""

    def __init__(self, settings: CollectSettings, now: float) -> None:
        self.settings = settings
        self._earliest = now + settings.startup_delay
        self._last = now
        self._end: float | None = None
        self._asked: float | None = None
        self._deletions = 0

    def deleted(self, now: float) -> None:
        """Something was removed."""
        self._deletions += 1
        self._ask(now)

    def mutated(self, now: float, count: int) -> None:
        """There were `count` writes since the last collection began."""
        if 0 < self.settings.mutation_threshold <= count:
            self._ask(now)

    def _ask(self, now: float) -> None:
        self._asked = now if self._asked is None else self._asked

    def begun(self) -> None:
        """A collection begins: it answers everything so far, and nothing that comes while it runs."""
        self._asked = None
        self._deletions = 0

    def ended(self, now: float, took: float, locked: float, end: float | None) -> None:
        """A collection is over: how long it took, how long it kept writers waiting, when something expires next."""
        share = min(self.settings.pause_threshold, 0.5)
        pause = max(locked, _LEAST_PAUSE)
        rest = pause / share - pause if share > 0 else 0.0
        self._earliest = now + max(rest, took * _LEAST_REST)
        self._last, self._end = now, end

    def expiring(self, end: float) -> None:
        """Something expires at `end`."""
        self._end = end if self._end is None else min(self._end, end)

    def due(self) -> float:
        """When to collect next."""
        settings = self.settings
        if self._asked is not None:
            wanted = self._asked + settings.schedule_delay
            hurry = 0 < settings.deletion_threshold <= self._deletions
            return wanted if hurry else max(wanted, self._earliest)
        wanted = self._last + settings.interval
        return max(self._earliest, wanted if self._end is None else min(wanted, self._end))


class CollectService:
    """Runs the collector by the schedule, or at once when asked; one run at a time."""

    def __init__(self, *, collector: Collector, workers: Workers, settings: CollectSettings | None = None) -> None:
        self._collector = collector
        self._workers = workers
        self._schedule = Schedule(settings or CollectSettings(), time.monotonic())
        self._changed = asyncio.Event()
        self._lock = asyncio.Lock()
        self._writes = _Writes()

    def configure(self, settings: CollectSettings) -> None:
        """Use other settings from now on."""
        self._schedule.settings = settings
        self._writes.threshold = settings.mutation_threshold
        self._changed.set()

    def request(self) -> None:
        """Something may have become garbage. Cheap; for the event loop."""
        self._schedule.deleted(time.monotonic())
        self._changed.set()

    def expiring(self, end: int) -> None:
        """Something that was just made expires at `end` (ns since the epoch). For the event loop."""
        now = time.monotonic()
        self._schedule.expiring(now + (end - times.now()) / 1e9)
        self._changed.set()

    def next_run(self) -> int:
        """When the next collection is due, in ns since the epoch; now for one that is."""
        return times.now() + int(max(0.0, self._schedule.due() - time.monotonic()) * 1e9)

    async def collect(self) -> Collected:
        """Collect now and say what went."""
        async with self._lock:
            begun = time.monotonic()
            self._writes.count = 0
            self._schedule.begun()
            try:
                collected = await self._workers.run_slow(self._collect)
            finally:
                now = time.monotonic()
                self._schedule.ended(now, now - begun, self._collector.locked, _moment(self._collector.next_end, now))
                self._changed.set()
        if any(collected):
            log.info("collected garbage", extra={"fields": collected._asdict()})
        return collected

    def _collect(self) -> Collected:
        collected = self._collector.collect()
        malloc_trim()  # what a pull or a long listing took is not kept for the next one
        return collected

    async def run(self) -> None:
        """Collect by the schedule until cancelled."""
        loop = asyncio.get_running_loop()
        self._writes.threshold = self._schedule.settings.mutation_threshold
        self._collector.watch(lambda: self._writes.add(lambda: loop.call_soon_threadsafe(self._changed.set)))
        while True:
            await self._until_due()
            try:
                await self.collect()
            except (CortenError, OSError) as error:
                log.error("garbage collection failed: %s", error)

    async def _until_due(self) -> None:
        while True:
            self._changed.clear()
            self._schedule.mutated(time.monotonic(), self._writes.count)
            left = self._schedule.due() - time.monotonic()
            if left <= 0:
                return
            try:
                await asyncio.wait_for(self._changed.wait(), timeout=left)
            except TimeoutError:
                continue


class _Writes:
    """Counts the database's commits since a collection began, and wakes the schedule at the threshold."""

    def __init__(self) -> None:
        self.threshold = 0
        self.count = 0

    def add(self, wake: Callable[[], object]) -> None:
        """One more; under the database's lock, so one at a time."""
        self.count += 1
        if self.count == self.threshold:
            wake()


def _moment(end: int | None, now: float) -> float | None:
    """A time in ns since the epoch on the clock that gave `now`."""
    return None if end is None else now + (end - times.now()) / 1e9
