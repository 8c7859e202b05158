"""Events: the journal since a moment, then what happens, in docker's words."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from corten_shared.errors import InvalidArgument
from corten_shared.models.event import Event
from cortend.api.docker import versions
from cortend.api.docker.call import NAMESPACE, Call
from cortend.api.docker.filters import Filters
from cortend.api.docker.moments import parse_moment
from cortend.api.docker.responses import Stream, dump
from cortend.api.docker.routing import Route

if TYPE_CHECKING:
    from cortend.services.all import Services

_FILTERS = frozenset(
    [
        "config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope", "secret",
        "service", "type", "volume",
    ]
)

ACTIONS: dict[str, tuple[str, str]] = {
    "/containers/create": ("container", "create"),
    "/containers/delete": ("container", "destroy"),
    "/containers/rename": ("container", "rename"),
    "/containers/update": ("container", "update"),
    "/containers/archive-path": ("container", "archive-path"),
    "/containers/extract-to-dir": ("container", "extract-to-dir"),
    "/containers/export": ("container", "export"),
    "/containers/commit": ("container", "commit"),
    "/containers/health": ("container", "health_status"),
    "/tasks/start": ("container", "start"),
    "/tasks/exit": ("container", "die"),
    "/tasks/stop": ("container", "stop"),
    "/tasks/kill": ("container", "kill"),
    "/tasks/restart": ("container", "restart"),
    "/tasks/paused": ("container", "pause"),
    "/tasks/resumed": ("container", "unpause"),
    "/tasks/oom": ("container", "oom"),
    "/tasks/attach": ("container", "attach"),
    "/tasks/detach": ("container", "detach"),
    "/tasks/exec-create": ("container", "exec_create"),
    "/tasks/exec-start": ("container", "exec_start"),
    "/tasks/exec-exit": ("container", "exec_die"),
    "/images/create": ("image", "create"),
    "/images/update": ("image", "tag"),
    "/images/delete": ("image", "delete"),
    "/images/load": ("image", "load"),
    "/images/save": ("image", "save"),
    "/images/push": ("image", "push"),
    "/networks/connect": ("network", "connect"),
    "/networks/disconnect": ("network", "disconnect"),
    "/volumes/create": ("volume", "create"),
    "/volumes/destroy": ("volume", "destroy"),
}
"""docker's type and action for a topic; topics that are not here are the engine's own affair.

Images say their docker action themselves, in the attribute `action`: one topic stands for several (pull, import, tag).
"""

_ATTRIBUTES = {"exit_code": "exitCode", "exec_duration": "execDuration"}
_NAMED_BY_REFERENCE = frozenset({"pull", "push"})


def routes(services: Services) -> Iterable[Route]:
    """The routes of this noun."""
    return (Route("GET", "/events", Events(services).stream),)


class Events:
    """The event stream."""

    def __init__(self, services: Services) -> None:
        self._events = services.events

    async def stream(self, call: Call) -> Response:
        """GET /events: with `since` what the journal has first; with `until` it ends then."""
        filters = call.filters(_FILTERS)
        since, until = parse_moment("since", call.text("since")), parse_moment("until", call.text("until"))
        if since and until and since > until:
            raise InvalidArgument(
                f"`since` time ({since // 10**9}) cannot be after `until` time ({until // 10**9})"
            )
        kind, prefix = _content_type(call)
        body = self._body(since, until, matcher(filters, call.version), call.version, prefix)
        return Stream(body, kind)

    async def _body(
        self, since: int, until: int, accept: Callable[[Event], bool], version: versions.Version, prefix: bytes
    ) -> AsyncIterator[bytes]:
        async with contextlib.aclosing(self._events.stream(accept, since=since, until=until)) as events:
            async for event in events:
                yield prefix + dump(versions.adapt("event", version, event_document(event))) + b"\n"


def _content_type(call: Call) -> tuple[str, bytes]:
    """What the client accepts, and what goes before each object."""
    accepted = {part.partition(";")[0].strip() for part in call.request.headers.get("accept", "").split(",")}
    if "application/json-seq" in accepted:
        return "application/json-seq", b"\x1e"
    for kind in ("application/jsonl", "application/x-ndjson"):
        if kind in accepted:
            return kind, b""
    return versions.events_type(call.version), b""


def event_document(event: Event) -> dict[str, Any]:
    """An event in docker's shape."""
    kind, action = ACTIONS[event.topic]
    action = event.attributes.get("action", action)
    action, actor = _image_actor(event, action) if kind == "image" else (action, _actor(event))
    return {
        "Type": kind,
        "Action": action,
        "Actor": actor,
        "scope": "local",
        "time": event.time // 10**9,
        "timeNano": event.time,
    }


def _actor(event: Event) -> dict[str, Any]:
    attributes = {_ATTRIBUTES.get(key, key): value for key, value in event.attributes.items() if key != "action"}
    return {"ID": event.object_id, "Attributes": attributes}


def _image_actor(event: Event, action: str) -> tuple[str, dict[str, Any]]:
    """docker names an image by its id, except where it came from or went to a registry."""
    attributes = dict(event.attributes)
    action, image_id = attributes.pop("action", action), attributes.pop("id", "")
    name = attributes.get("name", event.object_id)
    return action, {"ID": name if action in _NAMED_BY_REFERENCE else image_id or name, "Attributes": attributes}


def matcher(filters: Filters, version: versions.Version) -> Callable[[Event], bool]:
    """A test of whether a client with these filters is told of an event."""

    def accept(event: Event) -> bool:
        found = ACTIONS.get(event.topic)
        if found is None or event.namespace != NAMESPACE:
            return False
        kind, action = found[0], event.attributes.get("action", found[1])
        return (
            versions.shows_event(version, kind, action)
            and filters.exact("type", (kind,))
            and filters.exact("event", (action, action.partition(":")[0]))
            and filters.exact("scope", ("local",))
            and filters.labels(event.attributes)
            and all(_is_object(filters, noun, kind, event) for noun in ("container", "volume", "network"))
            and _is_image(filters, kind, event)
            and not any(noun in filters for noun in ("config", "daemon", "node", "plugin", "secret", "service"))
        )

    return accept


def _is_object(filters: Filters, noun: str, kind: str, event: Event) -> bool:
    if noun not in filters:
        return True
    return kind == noun and filters.prefix(noun, (event.object_id, event.attributes.get("name", event.object_id)))


def _is_image(filters: Filters, kind: str, event: Event) -> bool:
    """By the image's id or name, or the image that a container was made from; without a tag any tag."""
    if "image" not in filters:
        return True
    name = event.attributes.get("image", "") if kind == "container" else event.attributes.get("name", event.object_id)
    ids = (event.object_id, event.attributes.get("id", "")) if kind == "image" else ()
    repository = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
    return kind in ("container", "image") and filters.exact("image", (*ids, name, repository))
