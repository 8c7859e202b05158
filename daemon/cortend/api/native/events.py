"""Events: what happened, and what happens."""

from __future__ import annotations

from collections.abc import Callable
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
        accept = _accepting(topic, namespace)
        whole = not follow
        return lines(
            services.events.stream(accept, since=moment(since), until=moment(until), journal=whole, follow=follow)
        )

    return api


def _accepting(topics: list[str], namespaces: list[str]) -> Callable[[Event], bool]:
    prefixes = tuple(topics)

    def accept(event: Event) -> bool:
        return (not prefixes or event.topic.startswith(prefixes)) and (
            not namespaces or event.namespace in namespaces
        )

    return accept
