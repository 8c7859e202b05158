"""Lists: filtered, in a fixed order, in pages.

A page ends with `next`, which is the key of its last item, so that the next page begins after that key whatever came or
went meanwhile: an item that stays is shown once, and none is skipped. Every list has a key that is unique and
does not change; it orders the list.

A handler takes a `Listing` and gives it what reads the list:

    @api.get("")
    async def list_leases(listing: Listed, namespace: Namespace = DEFAULT) -> Items[Lease]:
        return await listing.items(workers, read, key=lambda lease: lease.id)
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel
from pydantic.functional_serializers import PlainSerializer

from corten_shared import filters
from corten_shared.errors import DeadlineExceeded, InvalidArgument
from corten_shared.filters import MAX_FILTERS
from corten_shared.models.api import Items
from cortend.core.workers import Workers

T = TypeVar("T")
Key = str | int | tuple[str | int, ...]

MAX_LIMIT = 100_000
"""Most items of a page."""
PATIENCE = 10.0
"""Seconds that the filters of one list may take."""

Limit = Annotated[int | None, Query(ge=1, le=MAX_LIMIT, description="At most so many items; without it, all of them.")]
Page = Annotated[str, Query(max_length=8192, description="The `next` of the page before.")]
Filters = Annotated[
    list[str],
    Query(
        max_length=MAX_FILTERS,
        description="Only what this means, in containerd's filter language: `name==foo,labels.\"a.b\"~=^x`. "
        "Of several, any.",
    ),
]


class Listing:
    """Which part of a list is asked for; a dependency of its handler."""

    def __init__(self, limit: Limit = None, page: Page = "", filter: Filters = []) -> None:  # noqa: B006
        self._limit = limit
        self._after = _read(page) if page else None
        self._accept = filters.parse_all(filter)

    async def items(
        self,
        workers: Workers,
        read: Callable[[], Iterable[T]],
        *,
        key: Callable[[T], Key],
        also: Callable[[T], Sequence[object]] = lambda item: (),
    ) -> Items[T]:
        """The page of what `read` returns; all of it blocks, so it runs on a worker.

        Filters see an item's members by their JSON names, and those of the objects that `also` names where the
        item has none. Raises InvalidArgument (a `page` of another list), DeadlineExceeded (filters).
        """
        return await workers.run(self.page, read, key, also)

    def page(
        self,
        read: Callable[[], Iterable[T]],
        key: Callable[[T], Key],
        also: Callable[[T], Sequence[object]] = lambda item: (),
    ) -> Items[T]:
        """As `items`, blocking."""
        found = self._wanted(read(), also)
        keyed = sorted(((_tuple(key(item)), item) for item in found), key=lambda pair: pair[0])
        if self._after is not None:
            keyed = _beyond(keyed, self._after)
        shown = keyed[: self._limit]
        more = len(shown) < len(keyed)
        return Items(items=[item for _, item in shown], next=_write(shown[-1][0]) if more else None)

    def _wanted(self, items: Iterable[T], also: Callable[[T], Sequence[object]]) -> Iterable[T]:
        if self._accept is None:
            yield from items
            return
        deadline = time.monotonic() + PATIENCE
        for item in items:
            if self._accept(fields_of(item, *also(item))):
                yield item
            if time.monotonic() > deadline:
                raise DeadlineExceeded(f"filtering took more than {PATIENCE:g} s", hint="use simpler filters")


Listed = Annotated[Listing, Depends()]


def _beyond(keyed: list[tuple[tuple[Any, ...], T]], after: tuple[Any, ...]) -> list[tuple[tuple[Any, ...], T]]:
    if keyed and [type(part) for part in keyed[0][0]] != [type(part) for part in after]:
        raise _bad_page()
    return [pair for pair in keyed if pair[0] > after]


def _tuple(key: Key) -> tuple[str | int, ...]:
    return key if isinstance(key, tuple) else (key,)


def _write(key: tuple[str | int, ...]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def _read(page: str) -> tuple[Any, ...]:
    try:
        key = json.loads(base64.b64decode(page + "=" * (-len(page) % 4), altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        raise _bad_page() from None
    if not isinstance(key, list) or not key or not all(type(part) in (str, int) for part in key):
        raise _bad_page()
    return tuple(key)


def _bad_page() -> InvalidArgument:
    return InvalidArgument("page is not the `next` of a page of this list", hint="start again without `page`")


# -- what filters see ---------------------------------------------------------------------------------------------


def fields_of(*objects: object) -> filters.Lookup:
    """The fields of the first of `objects` that has one of that name: members of records, and entries of maps.

    Names are compared without regard to case and underscores, so that containerd's `target.mediatype` is ours. An empty
    text, list or map is absent, as in containerd; a list's text is its items with commas.
    """

    def lookup(path: Sequence[str]) -> tuple[str, bool]:
        for item in objects:
            value = _member(item, path)
            if value is not None:
                return _text(value)
        return "", False

    return lookup


def _member(value: object, path: Sequence[str]) -> object:
    for at, name in enumerate(path):
        if isinstance(value, Mapping):
            return value.get(".".join(path[at:]))  # a label's dots are its own
        if not isinstance(value, BaseModel):
            return None
        member = _members(type(value)).get(_plain(name))
        if member is None:
            return None
        attribute, write = member
        value = getattr(value, attribute)
        if write is not None and value is not None:
            value = write(value)
    return value


def _text(value: object) -> tuple[str, bool]:
    if isinstance(value, str):
        return value, value != ""
    if isinstance(value, bool):
        return str(value).lower(), value
    if isinstance(value, list | tuple):
        return ",".join(_text(item)[0] for item in value), bool(value)
    if isinstance(value, Mapping | BaseModel):
        return "", bool(value)
    return str(value), True


_known: dict[type[BaseModel], dict[str, tuple[str, Callable[[Any], object] | None]]] = {}


def _members(model: type[BaseModel]) -> dict[str, tuple[str, Callable[[Any], object] | None]]:
    """Attributes of a record by plain name, with what writes their value where JSON has another one (times)."""
    found = _known.get(model)
    if found is None:
        found = {}
        for name, field in model.model_fields.items():
            write = next((part.func for part in field.metadata if isinstance(part, PlainSerializer)), None)
            for known in (name, field.alias, field.serialization_alias):
                if known:
                    found.setdefault(_plain(known), (name, write))  # type: ignore[arg-type]
        _known[model] = found
    return found


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
