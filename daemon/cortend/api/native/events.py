"""Events: what happened, and what happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Annotated

from fastapi import APIRouter, Query

from corten_shared.models.event import Event
from cortend.api.native.parameters import Since, Until, moment
from cortend.api.native.streaming import Stream, lines
from cortend.services.all import Services

Topics = Annotated[list[str], Query(description="Only topics that begin so, like `/tasks/`; may be repeated.")]
Namespaces = Annotated[list[str], Query(description="Only these namespaces; may be repeated.")]


def router(services: Services) -> APIRouter:
    """The routes of this noun."""
    api = APIRouter(prefix="/events", tags=["events"])

    @api.get("", response_class=Stream, responses={200: {"model": Event}})
    async def stream_events(
        since: Since = None,
        until: Until = None,
        follow: bool = True,
        topic: Topics = [],  # noqa: B006
        namespace: Namespaces = [],  # noqa: B006
    ) -> Stream:
        """JSON lines: the journal from `since` on (everything without `follow`), then events as they happen.

        Ends at `until`, and without `follow` at the journal's end.
        """
        return lines(_events(services, moment(since), moment(until), follow, _accepting(topic, namespace)))

    return api


def _accepting(topics: list[str], namespaces: list[str]) -> Callable[[Event], bool]:
    prefixes = tuple(topics)

    def accept(event: Event) -> bool:
        return (not prefixes or event.topic.startswith(prefixes)) and (
            not namespaces or event.namespace in namespaces
        )

    return accept


async def _events(
    services: Services, since: int, until: int, follow: bool, accept: Callable[[Event], bool]
) -> AsyncGenerator[Event, None]:
    """Subscribed before the journal is read, so that no event falls between them."""

    def journal() -> list[Event]:
        with services.metadata.view() as tx:
            return tx.events.list(since=since, until=until or None)

    with services.exchange.subscribe(accept) as live:
        last = 0
        if since or not follow:
            for event in await services.workers.run(journal):
                last = event.seq
                if accept(event):
                    yield event
        while follow and (event_ := await _next(live, until)) is not None:
            if event_.seq > last or not event_.seq:
                yield event_


async def _next(live: AsyncIterator[Event], until: int) -> Event | None:
    """The next event; None at the end or at `until`."""
    left = (until - time.time_ns()) / 1e9 if until else None
    if left is not None and left <= 0:
        return None
    try:
        return await asyncio.wait_for(anext(live), left)
    except (StopAsyncIteration, TimeoutError):
        return None
