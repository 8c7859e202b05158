"""Threads for blocking work."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from corten_shared.errors import ResourceExhausted
from cortend.workers import ThreadWorkers


def run(scenario: Callable[[ThreadWorkers], Awaitable[None]], **sizes: int) -> None:
    async def main() -> None:
        workers = ThreadWorkers(**sizes)
        try:
            async with asyncio.timeout(30):
                await scenario(workers)
        finally:
            await asyncio.to_thread(workers.close)

    asyncio.run(main())


def test_results_and_errors_come_back() -> None:
    async def scenario(workers: ThreadWorkers) -> None:
        assert await workers.run(divmod, 7, 3) == (2, 1)
        assert await workers.run_slow(int, "ff", base=16) == 255
        with pytest.raises(ZeroDivisionError):
            await workers.run(divmod, 1, 0)

    run(scenario)


def test_a_full_disk_is_named_with_the_next_step() -> None:
    def write() -> None:
        Path("/dev/full").write_text("x")

    def write_named() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/file")

    async def scenario(workers: ThreadWorkers) -> None:
        with pytest.raises(ResourceExhausted, match=r"^no space left on device") as caught:
            await workers.run(write)
        assert caught.value.hint == "free some space and try again"
        with pytest.raises(ResourceExhausted, match="no space left on device while writing /data/file"):
            await workers.run_slow(write_named)
        with pytest.raises(FileNotFoundError):
            await workers.run(Path("/no/such/file").read_text)

    run(scenario)


def test_long_work_does_not_keep_short_work_waiting() -> None:
    async def scenario(workers: ThreadWorkers) -> None:
        release = threading.Event()
        long = [asyncio.create_task(workers.run_slow(release.wait)) for _ in range(3)]
        assert await workers.run(abs, -1) == 1
        release.set()
        await asyncio.gather(*long)

    run(scenario, slow=1)


def test_queued_work_of_a_cancelled_caller_is_still_done() -> None:
    """It may be the step that undoes another one."""

    async def scenario(workers: ThreadWorkers) -> None:
        release, done = threading.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        blocking = asyncio.create_task(workers.run(release.wait))
        queued = asyncio.create_task(workers.run(lambda: loop.call_soon_threadsafe(done.set)))
        await asyncio.sleep(0)
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        release.set()
        await blocking
        await done.wait()

    run(scenario, short=1)


def test_failure_that_nobody_waits_for_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(workers: ThreadWorkers) -> None:
        begun, release = threading.Event(), threading.Event()

        def fail() -> None:
            begun.set()
            release.wait()
            raise OSError("disk on fire")

        task = asyncio.create_task(workers.run(fail))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()
        await workers.run(abs, 1)

    with caplog.at_level(logging.WARNING):
        run(scenario, short=1)
    assert "disk on fire" in caplog.text
