"""Exits through pidfds."""

from __future__ import annotations

import asyncio
import os
import subprocess

from corten_shared.models.task import ProcessId
from cortend.linux import process
from cortend.runtime.watch import Watcher


def _spawn(*argv: str) -> ProcessId:
    child = subprocess.Popen(argv, stdin=subprocess.PIPE)
    child.returncode = 0
    start = process.start_time(child.pid)
    assert start is not None
    if child.stdin:
        child.stdin.close()
    return ProcessId(pid=child.pid, start=start)


def test_an_exit_is_seen_by_every_waiter_and_the_child_is_reaped() -> None:
    async def scenario() -> None:
        watcher, target = Watcher(), _spawn("cat")
        await asyncio.gather(*(asyncio.shield(watcher.add(target)) for _ in range(3)))
        assert process.start_time(target.pid) is None

    asyncio.run(scenario())


def test_a_child_that_ended_before_is_done_at_once_and_reaped() -> None:
    async def scenario() -> None:
        target = _spawn("true")
        while process.is_alive(target.pid, target.start):
            pass
        assert Watcher().add(target).done()
        assert process.start_time(target.pid) is None

    asyncio.run(scenario())


def test_another_process_with_the_same_number_is_not_waited_for() -> None:
    async def scenario() -> None:
        start = process.start_time(os.getpid())
        assert start is not None
        assert Watcher().add(ProcessId(pid=os.getpid(), start=start + 1)).done()

    asyncio.run(scenario())


def test_close_gives_descriptors_back_and_cancels_waiters() -> None:
    async def scenario() -> None:
        before = len(os.listdir("/proc/self/fd"))
        watcher = Watcher()
        start = process.start_time(os.getpid())
        assert start is not None
        ended = watcher.add(ProcessId(pid=os.getpid(), start=start))
        assert not ended.done()
        watcher.close()
        assert ended.cancelled()
        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(scenario())
