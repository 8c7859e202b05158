"""Events from any thread to asyncio subscribers, each with a bounded queue of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from corten_shared.errors import CortenError, Internal, ResourceExhausted
from corten_shared.models.event import Event

log = logging.getLogger(__name__)

QUEUE = 1024
"""Events a subscriber may be behind."""


class Exchange:
    """core.events.EventExchange."""

    def __init__(self, limit: int = QUEUE) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._subscriptions: tuple[Subscription, ...] = ()

    def publish(self, event: Event) -> None:
        """Give the event to every subscriber."""
        for subscription in self._subscriptions:  # replaced as a whole, so it can be walked without the lock
            subscription.offer(event)

    def subscribe(
        self, accept: Callable[[Event], bool] | None = None
    ) -> AbstractContextManager[AsyncIterator[Event]]:
        """Events from entering the `with` on; enter it on the event loop that will read them."""
        return self._subscribe(accept)

    @contextmanager
    def _subscribe(self, accept: Callable[[Event], bool] | None) -> Iterator[AsyncIterator[Event]]:
        subscription = Subscription(accept, self._limit)
        with self._lock:
            self._subscriptions = (*self._subscriptions, subscription)
        try:
            yield subscription
        finally:
            with self._lock:
                self._subscriptions = tuple(other for other in self._subscriptions if other is not subscription)
            subscription.end(None)


class Subscription(AsyncIterator[Event]):
    """One subscriber's queue. Any thread offers, one task on the loop reads.

    The queue is filled on the publisher's side (not by a callback per event), so that the bound holds even when the
    loop does not come to read; the loop is woken once for all that waits.
    """

    def __init__(self, accept: Callable[[Event], bool] | None, limit: int) -> None:
        self._accept = accept
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._queue: deque[Event] = deque()
        self._ready = asyncio.Event()
        self._woken = False
        self._ended = False
        self._reason: CortenError | None = None

    def offer(self, event: Event) -> None:
        """Queue the event if it is liked; from any thread."""
        if self._ended or not self._likes(event):
            return
        with self._lock:
            full = len(self._queue) >= self._limit
            if not full:
                self._queue.append(event)
        if full:
            self.end(
                ResourceExhausted(
                    f"events come faster than they are read: more than {self._limit} are waiting",
                    hint="subscribe again, with the time of the last event seen as `since`",
                )
            )
        else:
            self._wake()

    def end(self, reason: CortenError | None) -> None:
        """Take no more events; the reader gets what is queued, then `reason` (None: the end). The first call counts."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            self._reason = reason
        self._wake()

    async def __anext__(self) -> Event:
        """The next event, waiting for it; raises ResourceExhausted to a reader that fell behind."""
        while True:
            with self._lock:
                if self._queue:
                    return self._queue.popleft()
                if self._ended:
                    raise self._reason or StopAsyncIteration
                self._woken = False
                self._ready.clear()
            await self._ready.wait()

    def _likes(self, event: Event) -> bool:
        if self._accept is None:
            return True
        try:
            return self._accept(event)
        except Exception:  # the publisher has committed: a subscriber's mistake is the subscriber's
            log.exception("an event subscriber's filter failed")
            self.end(Internal("the subscription's filter failed"))
            return False

    def _wake(self) -> None:
        with self._lock:
            if self._woken:
                return
            self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._ready.set)
        except RuntimeError:  # the loop is closed: nobody reads any more
            self._ended = True
