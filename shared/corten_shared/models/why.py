"""Answers to `why` and `--plan`: what keeps an object, and what would go."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from corten_shared.models.base import Record
from corten_shared.times import Timestamp

Action = Literal[
    "containers.remove", "containers.prune", "images.remove", "images.prune", "volumes.remove", "volumes.prune",
    "content.remove", "snapshots.remove", "leases.remove", "gc",
]  # fmt: skip
"""What can be planned."""


class Link(Record):
    """An object in a chain: `kind` is containers, images, content, snapshots/<snapshotter>, leases or volumes.

    `name` is what people call it, `role` what it is to the one before it (`manifest`, `config`, `layer 2`, `parent`).
    """

    kind: str
    id: str
    name: str = ""
    role: str = ""


class Chain(Record):
    """Who keeps an object: first what is kept for itself, last the object. `expires`: when the first one ends."""

    links: list[Link]
    expires: Timestamp | None = None


class Why(Record):
    """Why an object is there.

    `chains` are the shortest from everything that keeps it, at most some; `more` says how many were left out.
    `users` are containers that use what is kept anyway. `goes_at`: when the collector takes it, as far as that is
    known; absent while something keeps it for good.
    """

    namespace: str
    object: Link
    kept: bool
    chains: list[Chain] = []
    more: int = 0
    users: list[Link] = []
    goes_at: Timestamp | None = None


class PlanRequest(Record):
    """What to plan: `objects` by name where the action is a removal, `filters` as the prunes of docker's API take them.

    `all` of `images.prune` means images with names too, of `volumes.prune` named volumes too.
    """

    action: Action
    objects: list[str] = Field(default=[], max_length=10_000)
    force: bool = False
    volumes: bool = False
    all: bool = False
    snapshotter: str = "default"
    filters: dict[str, list[str]] = {}


class PlanItem(Record):
    """An object that would go, and the bytes that are free on disk then."""

    namespace: str
    kind: str
    id: str
    name: str = ""
    bytes: int = 0


class Plan(Record):
    """Everything that would go, shared parts only where nobody else has them, and counted once."""

    items: list[PlanItem]
    bytes_freed: int
