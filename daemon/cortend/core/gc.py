"""Garbage collection's words: what labels say, and what is reachable from what.

Labels, in containerd's spelling (`containerd.io/gc.root`) or the short one (`gc.root`), which is what stands here:

    gc.root                                  any value: the object is kept for itself         content, snapshots
    gc.ref.content[.<any>]                   a digest this object needs                       all but containers
    gc.ref.image[.<any>]                     a name of an image it needs                      (see below)
    gc.ref.snapshot.<snapshotter>[.<any>]    a snapshot it needs
    gc.bref.<as above, or container[.<any>]> whoever this is needs the labelled object        content, snapshots,
                                                                                              images
    gc.expire                                RFC 3339: a lease, or an image's name, ends then; content and snapshots
                                             are kept for themselves until then
    gc.flat                                  any value: a lease holds what it names, not what that refers to

`/` does as well as `.` before `<any>`. On containers only containerd's spelling counts, and of it only `gc.ref`:
their labels come from images and users, who may mean other things by short words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from corten_shared.errors import InvalidArgument
from corten_shared.times import parse_rfc3339

CONTENT = "content"
INGEST = "ingest"
IMAGE = "images"
CONTAINER = "containers"
LEASE = "leases"
SNAPSHOT = "snapshots/"

ROOT = "gc.root"
EXPIRE = "gc.expire"
FLAT = "gc.flat"
FULL = "containerd.io/"
"""What containerd has before its labels."""

_REF = "gc.ref."
_BACK_REF = "gc.bref."
_NAMED = {"content": CONTENT, "image": IMAGE, "container": CONTAINER}


class Node(NamedTuple):
    """An object that holds or is held; `kind` is a lease resource's type, or one of the words above."""

    ns: str
    kind: str
    id: str


class Reference(NamedTuple):
    """One label's reference: to what, and by which label (its short spelling)."""

    target: Node
    label: str


def snapshot_kind(snapshotter: str) -> str:
    """The kind of the nodes (and type of the lease resources) that are snapshots of `snapshotter`."""
    return f"{SNAPSHOT}{snapshotter}"


def resource_kind(kind: str) -> str:
    """A lease resource's type as it is kept (`ingests`, as containerd says, is `ingest`). Raises InvalidArgument."""
    kind = INGEST if kind == "ingests" else kind
    if kind in (CONTENT, INGEST, IMAGE) or (kind.startswith(SNAPSHOT) and len(kind) > len(SNAPSHOT)):
        return kind
    raise InvalidArgument(
        f"a lease cannot hold a {kind[:80]!r}", hint="a type is content, ingest, images or snapshots/<snapshotter>"
    )


def value_of(labels: Mapping[str, str], name: str) -> str | None:
    """The value of label `name` in either spelling, containerd's first; None when there is none."""
    return labels.get(f"{FULL}{name}", labels.get(name))


def references(ns: str, labels: Mapping[str, str]) -> Iterator[Reference]:
    """The objects of the same namespace that an object with these labels needs."""
    return _related(ns, labels, _REF)


def back_references(ns: str, labels: Mapping[str, str]) -> Iterator[Reference]:
    """The objects of the same namespace that need the object with these labels."""
    return _related(ns, labels, _BACK_REF)


def container_references(ns: str, labels: Mapping[str, str]) -> Iterator[Reference]:
    """As `references`, of a container: containerd's spelling only."""
    return references(ns, {key: value for key, value in labels.items() if key.startswith(FULL)})


def _related(ns: str, labels: Mapping[str, str], prefix: str) -> Iterator[Reference]:
    for key, value in labels.items():
        label = key.removeprefix(FULL)
        if label.startswith(prefix):
            kind = _kind(label.removeprefix(prefix))
            if kind is not None:
                yield Reference(Node(ns, kind, value), label)


def _kind(rest: str) -> str | None:
    """What kind `content.l.0` or `snapshot.overlayfs` means; None for words that are not ours."""
    words = rest.replace("/", ".").split(".")
    if words[0] == "snapshot":
        return snapshot_kind(words[1]) if len(words) > 1 and words[1] else None
    return _NAMED.get(words[0])


def expiry(labels: Mapping[str, str]) -> int | None:
    """When `gc.expire` is (ns since the epoch); None without it, or when it cannot be read."""
    text = value_of(labels, EXPIRE)
    if text is None:
        return None
    try:
        return parse_rfc3339(text)
    except InvalidArgument:
        return None


def expired(labels: Mapping[str, str], now: int) -> bool:
    """Whether `gc.expire` is not after `now` (ns since the epoch). What has no time that can be read never ends."""
    end = expiry(labels)
    return end is not None and end <= now


def mark(
    roots: Iterable[Node],
    references: Callable[[Node], Iterable[Node]],
    breathe: Callable[[], None] | None = None,
) -> set[Node]:
    """Every node reachable from `roots`, the roots included. Cycles and references to nothing are fine.

    `breathe` is called now and then.
    """
    reached: set[Node] = set()
    pending = list(roots)
    steps = 0
    while pending:
        node = pending.pop()
        if node not in reached:
            reached.add(node)
            pending.extend(references(node))
            steps += 1
            if breathe is not None and steps % 512 == 0:
                breathe()
    return reached
