"""When garbage is collected: soon after something was removed, and now and then anyway."""

from __future__ import annotations

import asyncio
import logging

from corten_shared.errors import CortenError
from cortend.core.metadata import Collected, Collector
from cortend.core.workers import Workers
from cortend.linux.memory import malloc_trim

log = logging.getLogger(__name__)


class CollectService:
    """Schedules the collector: one run at a time, `delay` seconds after a request, `interval` seconds at most apart."""

    def __init__(self, *, collector: Collector, workers: Workers, delay: float = 0.5, interval: float = 3600.0) -> None:
        self._collector = collector
        self._workers = workers
        self._delay = delay
        self._interval = interval
        self._wanted = asyncio.Event()
        self._lock = asyncio.Lock()

    def configure(self, *, delay: float, interval: float) -> None:
        """Use other times from the next wait on."""
        self._delay, self._interval = delay, interval

    def request(self) -> None:
        """Something may have become garbage. Cheap; for the event loop."""
        self._wanted.set()

    async def collect(self) -> Collected:
        """Collect now and say what went."""
        async with self._lock:
            self._wanted.clear()
            collected = await self._workers.run_slow(self._collect)
        if any(collected):
            log.info("collected garbage", extra={"fields": collected._asdict()})
        return collected

    def _collect(self) -> Collected:
        collected = self._collector.collect()
        malloc_trim()  # what a pull or a long listing took is not kept for the next one
        return collected

    async def run(self) -> None:
        """Serve requests until cancelled."""
        while True:
            try:
                await asyncio.wait_for(self._wanted.wait(), timeout=self._interval)
                await asyncio.sleep(self._delay)
            except TimeoutError:
                pass
            try:
                await self.collect()
            except (CortenError, OSError) as error:
                log.error("garbage collection failed: %s", error)
