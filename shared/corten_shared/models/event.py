"""Events: what happened, in the order in which it was committed."""

from __future__ import annotations

from corten_shared.models.base import Record
from corten_shared.times import Timestamp


class Actor(Record):
    """Who asked for something: the client's process, user and command line as the kernel knew them."""

    pid: int
    uid: int
    command: str = ""


class Event(Record):
    """One event of the durable journal.

    `topic` is containerd's style (`/containers/create`, `/tasks/exit`, `/images/delete`);
    `object_id` the object's id or name; `attributes` further facts, all strings. `seq` is 0
    until the journal gives it its place. `actor` is None for what the engine did by itself.
    """

    seq: int = 0
    time: Timestamp
    namespace: str
    topic: str
    object_id: str
    attributes: dict[str, str] = {}
    actor: Actor | None = None
