"""Two bounded pools of threads: one for short work, one for long (implements core.workers.Workers)."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import functools
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from corten_shared.errors import ResourceExhausted

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)


class ThreadWorkers:
    """Runs blocking functions on threads of its own; see core.workers for what is promised."""

    def __init__(self, short: int = 8, slow: int = 4) -> None:
        self._short = ThreadPoolExecutor(short, thread_name_prefix="work")
        self._slow = ThreadPoolExecutor(slow, thread_name_prefix="slow")

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run short work; it runs to its end even when the caller is cancelled meanwhile."""
        return await self._run(self._short, functools.partial(function, *args, **kwargs))

    async def run_slow(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run long work, without keeping short work waiting."""
        return await self._run(self._slow, functools.partial(function, *args, **kwargs))

    async def _run(self, pool: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        context = contextvars.copy_context()  # events say whose request they belong to
        future = asyncio.get_running_loop().run_in_executor(pool, context.run, call)
        try:
            # Shielded, because cancelling the future would take queued work out of the queue, undo steps included.
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(_report)
            raise
        except OSError as error:
            # Any work may be what meets the full disk; here is the one place that all of it comes through.
            if error.errno in _DISK_FULL:
                where = f" while writing {error.filename}" if error.filename else ""
                raise ResourceExhausted(
                    f"no space left on device{where}", hint="free some space and try again"
                ) from error
            raise

    def close(self) -> None:
        """Wait for what was begun or queued, and end the threads. Blocks."""
        self._short.shutdown()
        self._slow.shutdown()


def _report(future: asyncio.Future[Any]) -> None:
    """Log how work failed that nobody waits for any more."""
    if not future.cancelled() and (error := future.exception()) is not None:
        log.warning("work of a cancelled operation failed: %s", error)
