"""Who waits for a container to end or to go."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from cortend.core.runtime import TaskKey
from cortend.services.requests import WaitResult


class Waiters:
    """Futures by container: for its next exit, and for its removal."""

    def __init__(self) -> None:
        self._exit: dict[TaskKey, set[asyncio.Future[WaitResult]]] = defaultdict(set)
        self._removal: dict[TaskKey, set[asyncio.Future[WaitResult]]] = defaultdict(set)

    def next_exit(self, key: TaskKey) -> asyncio.Future[WaitResult]:
        """Done at the next exit; also when the container is removed before."""
        return _register(self._exit[key])

    def removal(self, key: TaskKey) -> asyncio.Future[WaitResult]:
        """Done when the container is gone."""
        return _register(self._removal[key])

    def exited(self, key: TaskKey, result: WaitResult) -> None:
        """Tell those who wait for the exit."""
        _resolve(self._exit.pop(key, set()), result)

    def removed(self, key: TaskKey, result: WaitResult) -> None:
        """Tell everybody: what is gone neither runs nor will."""
        _resolve(self._exit.pop(key, set()), result)
        _resolve(self._removal.pop(key, set()), result)


def _register(futures: set[asyncio.Future[WaitResult]]) -> asyncio.Future[WaitResult]:
    future: asyncio.Future[WaitResult] = asyncio.get_running_loop().create_future()
    futures.add(future)
    future.add_done_callback(futures.discard)
    return future


def _resolve(futures: set[asyncio.Future[WaitResult]], result: WaitResult) -> None:
    for future in list(futures):
        if not future.done():
            future.set_result(result)
