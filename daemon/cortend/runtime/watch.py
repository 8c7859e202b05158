"""Exits of processes, seen through pidfds on the event loop: no threads, no polling, no mix-up of reused
pids."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import NamedTuple

from corten_shared.models.task import ProcessId
from cortend.linux import process


class _Watch(NamedTuple):
    fd: int
    ended: asyncio.Future[None]


class Watcher:
    """Waits for processes, whoever their parent is; children of the daemon are reaped when they end."""

    def __init__(self) -> None:
        self._watches: dict[ProcessId, _Watch] = {}

    def add(self, target: ProcessId) -> asyncio.Future[None]:
        """A future that is done when the very process has ended; done at once if it has already. Shared:
        shield it."""
        if watch := self._watches.get(target):
            return watch.ended
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        fd = process.open_same(target.pid, target.start)
        if fd is None:
            _reap_zombie(target)
            ended.set_result(None)
            return ended
        self._watches[target] = _Watch(fd, ended)
        loop.add_reader(fd, self._on_exit, loop, target)
        return ended

    def _on_exit(self, loop: asyncio.AbstractEventLoop, target: ProcessId) -> None:
        watch = self._watches.pop(target)
        loop.remove_reader(watch.fd)
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, watch.fd, os.WEXITED | os.WNOHANG)
        os.close(watch.fd)
        if not watch.ended.done():
            watch.ended.set_result(None)

    def close(self) -> None:
        """Stop watching; waiters are cancelled, processes go on."""
        loop = asyncio.get_running_loop()
        for watch in self._watches.values():
            loop.remove_reader(watch.fd)
            os.close(watch.fd)
            watch.ended.cancel()
        self._watches.clear()


def _reap_zombie(target: ProcessId) -> None:
    """Collect a child that ended before anybody watched it."""
    if process.start_time(target.pid) == target.start:
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            os.waitid(os.P_PID, target.pid, os.WEXITED | os.WNOHANG)
