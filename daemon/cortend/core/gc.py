"""Garbage collection's pure part: what labels say, and which objects are reachable.

Labels, on blobs, images and snapshots (and, for the last two, on leases):

    gc.root                             any value: the object is kept for itself
    gc.ref.content[.<any>]              a digest this object needs
    gc.ref.snapshot.<snapshotter>[.<any>]   a snapshot this object needs (`/` does as well as `.`)
    gc.expire                           RFC 3339: the lease ends then
    gc.flat                             any value: the lease holds what it names, not what that refers to
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from corten_shared.errors import InvalidArgument
from corten_shared.times import parse_rfc3339

CONTENT = "content"
INGEST = "ingest"
ROOT = "gc.root"
EXPIRE = "gc.expire"
FLAT = "gc.flat"

_CONTENT_REF = "gc.ref.content"
_SNAPSHOT_REF = "gc.ref.snapshot."


class Node(NamedTuple):
    """An object that can be collected; `kind` is a lease resource's type (`content`, `snapshots/<snapshotter>`)."""

    ns: str
    kind: str
    id: str


def snapshot_kind(snapshotter: str) -> str:
    """The kind of the nodes (and type of the lease resources) that are snapshots of `snapshotter`."""
    return f"snapshots/{snapshotter}"


def references(ns: str, labels: Mapping[str, str]) -> Iterator[Node]:
    """The objects of the same namespace that `labels` refer to."""
    for key, value in labels.items():
        if key == _CONTENT_REF or key.startswith((f"{_CONTENT_REF}.", f"{_CONTENT_REF}/")):
            yield Node(ns, CONTENT, value)
        elif key.startswith(_SNAPSHOT_REF):
            snapshotter = key.removeprefix(_SNAPSHOT_REF).replace("/", ".").partition(".")[0]
            yield Node(ns, snapshot_kind(snapshotter), value)


def expired(labels: Mapping[str, str], now: int) -> bool:
    """Whether `gc.expire` is not after `now` (ns since the epoch). A lease whose time cannot be read is kept."""
    text = labels.get(EXPIRE)
    if text is None:
        return False
    try:
        return parse_rfc3339(text) <= now
    except InvalidArgument:
        return False


def mark(roots: Iterable[Node], references: Callable[[Node], Iterable[Node]]) -> set[Node]:
    """Every node reachable from `roots`, the roots included. Cycles and references to nothing are fine."""
    reached: set[Node] = set()
    pending = list(roots)
    while pending:
        node = pending.pop()
        if node not in reached:
            reached.add(node)
            pending.extend(references(node))
    return reached
