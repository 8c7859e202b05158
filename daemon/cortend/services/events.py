"""Events as a stream: the journal since a moment, then what happens, without a gap between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from corten_shared import times
from corten_shared.models.event import Event
from cortend.core.events import EventExchange
from cortend.core.metadata import Metadata
from cortend.core.workers import Workers


class EventService:
    """Reads the journal and listens to the exchange."""

    def __init__(self, *, metadata: Metadata, exchange: EventExchange, workers: Workers) -> None:
        self._metadata = metadata
        self._exchange = exchange
        self._workers = workers

    async def stream(
        self,
        accept: Callable[[Event], bool],
        *,
        since: int = 0,
        until: int = 0,
        journal: bool = False,
        follow: bool = True,
    ) -> AsyncGenerator[Event, None]:
        """The events that `accept` likes, in order; times in ns since the epoch, 0 for none.

        From the journal those since `since` (with `journal` also when that is 0: all of them), then live ones unless
        `follow` is off. Ends at `until`. Subscribed before the journal is read, so that no event falls between.
        """
        with self._exchange.subscribe(accept) as live:
            last = 0
            if since or journal:
                for event in await self._workers.run(self._journal, since, until):
                    last = event.seq
                    if accept(event):
                        yield event
            while follow and (fresh := await _next(live, until)) is not None:
                if fresh.seq > last or not fresh.seq:
                    yield fresh

    def _journal(self, since: int, until: int) -> list[Event]:
        with self._metadata.view() as tx:
            return tx.events.list(since=since, until=until or None)


async def _next(live: AsyncIterator[Event], until: int) -> Event | None:
    """The next event; None at the end of the stream or at `until`."""
    patience = (until - times.now()) / 1e9 if until else None
    if patience is not None and patience <= 0:
        return None
    try:
        return await asyncio.wait_for(anext(live), patience)
    except (StopAsyncIteration, TimeoutError):
        return None
