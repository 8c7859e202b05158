"""Rows of events: a journal bounded in number and age, whose sequence numbers only grow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from corten_shared.models.event import Actor, Event
from cortend.core.actor import PEER
from cortend.metadata.session import Session, Value, load_labels, readable

_PRUNE_EVERY = 256
_COMMAND = 512
"""Bytes kept of a client's command line."""
_SECRET = re.compile(r"((?:^|\s)(?:-e|--env|-p|--password|-u|--user|--build-arg)[ =]\S*?[:=])\S+")
"""Values on a command line that may be secrets: `-e KEY=value`, `-u name:password`."""
_FOREVER = (1 << 63) - 1


class JournalLimits(NamedTuple):
    """How many events are kept, and for how long (ns). Both may be exceeded by what 256 events later pruning leaves."""

    events: int = 10_000
    age: int = 7 * 86_400 * 1_000_000_000


class Journal:
    """core.metadata.EventStore, and the writing side of it."""

    def __init__(self, session: Session, limits: JournalLimits) -> None:
        self._session = session
        self._limits = limits

    def list(self, *, since: int = 0, until: int | None = None, after_seq: int = 0) -> list[Event]:
        """In the order of their numbers, which is that of their commits."""
        until = _FOREVER if until is None else until
        return list(self._events(*(max(-_FOREVER, min(bound, _FOREVER)) for bound in (since, until, after_seq))))

    def append(self, ns: str, topic: str, object_id: str, attributes: dict[str, str]) -> Event:
        """Write an event; every 256th also drops what is too old or too much."""
        event = Event(
            time=self._session.now(), namespace=ns, topic=topic, object_id=object_id, attributes=attributes,
            actor=current_actor(),
        )  # fmt: skip
        actor = event.actor.model_dump_json() if event.actor else ""
        values: tuple[Value, ...] = (event.time, ns, topic, object_id, json.dumps(attributes), actor)
        seq = self._session.execute(
            "INSERT INTO events (time, ns, topic, object_id, attributes, actor) VALUES (?, ?, ?, ?, ?, ?)", values
        ).lastrowid
        assert seq is not None
        if seq % _PRUNE_EVERY == 0:
            self._prune(seq)
        return event.model_copy(update={"seq": seq})

    def _prune(self, seq: int) -> None:
        self._session.execute(
            "DELETE FROM events WHERE seq <= ? OR time < ?",
            (seq - self._limits.events, self._session.now() - self._limits.age),
        )

    def _events(self, since: int, until: int, after_seq: int) -> Iterator[Event]:
        rows = self._session.execute(
            "SELECT seq, time, ns, topic, object_id, attributes, actor FROM events"
            " WHERE seq > ? AND time >= ? AND time < ? ORDER BY seq",
            (after_seq, since, until),
        )
        yield from readable(rows, _record)


def _record(row: tuple[int, int, str, str, str, str, str]) -> Event:
    seq, time, ns, topic, object_id, attributes, actor = row
    return Event(
        seq=seq,
        time=time,
        namespace=ns,
        topic=topic,
        object_id=object_id,
        attributes=load_labels(attributes),
        actor=Actor.model_validate_json(actor) if actor else None,
    )


def current_actor() -> Actor | None:
    """The client whose request is served; its command line as long as its process lives."""
    peer = PEER.get()
    if peer is None:
        return None
    try:
        with open(f"/proc/{peer.pid}/cmdline", "rb") as file:
            words = file.read(_COMMAND).split(b"\0")
    except OSError:
        words = []
    command = " ".join(word.decode("utf-8", "replace") for word in words if word)
    shown = "".join(char if char.isprintable() else "?" for char in command)
    return Actor(pid=peer.pid, uid=peer.uid, command=_SECRET.sub(r"\1…", shown))
