"""The progress of a pull or push on its way to one reader, in docker's words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar

from corten_shared import digest as digests
from corten_shared.models.image import Progress

Line = TypeVar("Line", bound=Progress)

INTERVAL = 0.1
"""At most one line of each kind per layer in this many seconds, while bytes go on coming."""


def short(digest: str) -> str:
    """The id under which a layer's progress is shown."""
    return digests.hex_part(digest)[:12]


class ProgressBoard(Generic[Line]):
    """Lines that wait for their reader; of the class `line`.

    A newer line of the same layer and word replaces one that still waits, so a slow reader costs no memory
    and sees the latest figures.
    """

    def __init__(self, line: type[Line], clock: Callable[[], float] = time.monotonic) -> None:
        self._line = line
        self._clock = clock
        self._waiting: dict[tuple[str | None, str], Line] = {}
        self._shown: dict[tuple[str | None, str], float] = {}
        self._news = asyncio.Event()
        self._closed = False

    def say(self, status: str, id: str | None = None, **more: Any) -> None:
        """A line without figures; `more` are members of its class."""
        self._put(self._line(status=status, id=id, **more))

    def count(self, status: str, id: str, current: int, total: int) -> None:
        """A line with figures, in bytes; dropped when one was shown a moment ago and more will come."""
        key, now = (id, status), self._clock()
        if key not in self._waiting and current < total and now - self._shown.get(key, -INTERVAL) < INTERVAL:
            return
        self._shown[key] = now
        self._put(self._line(status=status, id=id, current=current, total=total))

    def close(self) -> None:
        """No line follows."""
        self._closed = True
        self._news.set()

    async def lines(self) -> AsyncIterator[Line]:
        """Every line until `close`."""
        while True:
            while self._waiting:
                yield self._waiting.pop(next(iter(self._waiting)))
            if self._closed:
                return
            self._news.clear()
            await self._news.wait()

    def _put(self, line: Line) -> None:
        self._waiting[line.id, line.status] = line
        self._news.set()
