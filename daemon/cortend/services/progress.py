"""A pull's progress on its way to one reader, in docker's words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from corten_shared import digest as digests
from corten_shared.models.image import ImageRecord, PullProgress

INTERVAL = 0.1
"""At most one line of each kind per layer in this many seconds, while bytes go on coming."""


def short(digest: str) -> str:
    """The id under which a layer's progress is shown."""
    return digests.hex_part(digest)[:12]


class ProgressBoard:
    """Lines that wait for their reader.

    A newer line of the same layer and word replaces one that still waits, so a slow reader costs no memory
    and sees the latest figures.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: dict[tuple[str | None, str], PullProgress] = {}
        self._shown: dict[tuple[str | None, str], float] = {}
        self._news = asyncio.Event()
        self._closed = False

    def say(self, status: str, id: str | None = None, image: ImageRecord | None = None) -> None:
        """A line without figures."""
        self._put(PullProgress(status=status, id=id, image=image))

    def count(self, status: str, id: str, current: int, total: int) -> None:
        """A line with figures, in bytes; dropped when one was shown a moment ago and more will come."""
        key, now = (id, status), self._clock()
        if key not in self._waiting and current < total and now - self._shown.get(key, -INTERVAL) < INTERVAL:
            return
        self._shown[key] = now
        self._put(PullProgress(status=status, id=id, current=current, total=total))

    def close(self) -> None:
        """No line follows."""
        self._closed = True
        self._news.set()

    async def lines(self) -> AsyncIterator[PullProgress]:
        """Every line until `close`."""
        while True:
            while self._waiting:
                yield self._waiting.pop(next(iter(self._waiting)))
            if self._closed:
                return
            self._news.clear()
            await self._news.wait()

    def _put(self, line: PullProgress) -> None:
        self._waiting[line.id, line.status] = line
        self._news.set()
