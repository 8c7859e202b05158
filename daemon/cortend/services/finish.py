"""Work that must not be left half-done: a cancelled caller waits for its end, and only then goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def finished(work: Awaitable[T], release: Callable[[T], object] | None = None) -> T:
    """Await `work` to its end, whatever happens; a cancellation is passed on afterwards.

    `release` (short, on the loop) then gets the result that nobody will use.
    """
    task = asyncio.ensure_future(work)
    try:
        await ended(task)
    except asyncio.CancelledError:
        if release is not None and not task.cancelled() and task.exception() is None:
            release(task.result())
        raise
    return task.result()


async def ended(task: asyncio.Future[Any]) -> None:
    """Wait until `task` has ended, in whatever way; a cancellation is passed on afterwards."""
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        if not task.cancelled():
            task.exception()  # seen: nobody else will look
        raise asyncio.CancelledError
