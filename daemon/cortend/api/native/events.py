"""Events: what happened, and what happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from corten_shared import filters
from corten_shared.models.event import Event
from cortend.api.native.listing import Filters, fields_of
from cortend.api.native.parameters import Since, Until, moment
from cortend.api.native.streaming import JsonLines, Stream, lines
from cortend.services.all import Services

Topics = Annotated[list[str], Query(description="Only topics that begin so, like `/tasks/`; may be repeated.")]
Namespaces = Annotated[list[str], Query(description="Only these namespaces; may be repeated.")]


def router(services: Services) -> APIRouter:
    """The routes of this noun."""
    api = APIRouter(prefix="/events", tags=["events"])

    @api.get("", response_class=JsonLines, responses={200: {"model": Event}})
    async def stream_events(
        since: Since = None,
        until: Until = None,
        follow: bool = True,
        topic: Topics = [],  # noqa: B006
        namespace: Namespaces = [],  # noqa: B006
        filter: Filters = [],  # noqa: B006
    ) -> Stream:
        """JSON lines: the journal from `since` on (everything without `follow`), then events as they happen.

        Ends at `until`, and without `follow` at the journal's end.
        """
        accept = _accepting(topic, namespace, filter)
        whole = not follow
        return lines(
            services.events.stream(accept, since=moment(since), until=moment(until), journal=whole, follow=follow)
        )

    return api


def _accepting(topics: list[str], namespaces: list[str], texts: list[str]) -> Callable[[Event], bool]:
    prefixes = tuple(topics)
    matches = filters.parse_all(texts)

    def accept(event: Event) -> bool:
        return (
            (not prefixes or event.topic.startswith(prefixes))
            and (not namespaces or event.namespace in namespaces)
            and (matches is None or matches(_fields(event)))
        )

    return accept


def _fields(event: Event) -> filters.Lookup:
    """An event's fields; `event.x` is what containerd calls an attribute, or the object's id."""
    lookup = fields_of(event)

    def find(path: Sequence[str]) -> tuple[str, bool]:
        if path[0] == "event":
            name = ".".join(path[1:])
            own = {"id": event.object_id, "name": event.object_id, "container_id": event.object_id}
            value = event.attributes.get(name) or own.get(name, "")
            return value, value != ""
        return lookup(path)

    return find
