"""Image listings: docker's filters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from corten_shared.errors import InvalidArgument
from corten_shared.times import parse_rfc3339
from cortend.api.docker.filters import MAX_PATTERN, Filters
from cortend.api.docker.moments import parse_moment
from cortend.api.docker.translate_image import created_ns
from cortend.services.image_catalog import ImageView

FILTERS = frozenset({"before", "dangling", "label", "label!", "reference", "since", "until"})


class Selected(NamedTuple):
    """An image of the listing and those of its names that were asked for."""

    view: ImageView
    tags: list[str]
    digests: list[str]


def select(
    views: Iterable[ImageView], filters: Filters, *, since: Sequence[int] = (), before: Sequence[int] = ()
) -> Iterator[Selected]:
    """The images that pass; `since` and `before` are the times of the images that these filters name."""
    dangling = filters.flag("dangling")
    youngest = min([*before, *(parse_moment("until", text) for text in filters.get("until"))], default=None)
    oldest = max(since, default=None)
    patterns = [_checked(pattern) for pattern in filters.get("reference")]
    for view in views:
        created = created_ns(view)
        if dangling is not None and dangling is not view.dangling:
            continue
        if (youngest is not None and created >= youngest) or (oldest is not None and created <= oldest):
            continue
        if not filters.labels(view.documents.config.config.labels or {}):
            continue
        tags = [tag for tag in view.tags if not patterns or _matches(patterns, tag, tag.rpartition(":")[0])]
        digests = [name for name in view.digests if not patterns or _matches(patterns, name, name.partition("@")[0])]
        if not patterns or tags or digests:
            yield Selected(view, tags, digests)


def _checked(pattern: str) -> str:
    if len(pattern) > MAX_PATTERN:
        raise InvalidArgument(f"invalid filter 'reference={pattern[:80]}'")
    return pattern


def _matches(patterns: Iterable[str], *names: str) -> bool:
    return any(_match(pattern, name) for pattern in patterns for name in names)


def _match(pattern: str, name: str) -> bool:
    """Go's path.Match: as a shell's pattern, but no wildcard crosses a slash."""
    wanted, given = pattern.split("/"), name.split("/")
    return len(wanted) == len(given) and all(map(fnmatchcase, given, wanted))


def seconds(created: str | None) -> int:
    """Unix seconds of a document's time; 0 for one that is missing or cannot be read."""
    try:
        return parse_rfc3339(created) // 10**9 if created else 0
    except InvalidArgument:
        return 0
