"""What is written while the collector looks: so that it need not look twice, nor keep writers waiting.

While a barrier stands, triggers on the writer's connection note every row that may hold something: what it names, and
itself. They are temporary (they live in the connection, never in the file) and part of the writer's transactions, so
what is rolled back is not noted. Whatever writes the tables, the notes are complete.

    gc_touched  ns kind id labels        kind and id: as core.gc.Node has them; labels: more that the row may hold
"""

from __future__ import annotations

from collections.abc import Iterator

from cortend.core import gc
from cortend.core.gc import Node
from cortend.metadata.session import Session, load_labels

_NOTES: dict[str, tuple[str, ...]] = {
    "content": ("new.ns, 'content', new.digest, new.labels",),
    "images": ("new.ns, 'content', new.digest, new.labels", "new.ns, 'images', new.name, '{}'"),
    "containers": (
        "new.ns, 'snapshots/' || new.snapshotter, new.snapshot_key, json_extract(new.record, '$.labels')",
        "new.ns, 'content', new.image_digest, '{}'",
        "new.ns, 'containers', new.id, '{}'",
    ),
    "leases": (
        "new.ns, 'leases', new.id, new.labels",
        # a lease that is made to last longer, or to be no longer flat, holds its objects anew
        "ns, type, id, '{}' FROM lease_resources WHERE ns = new.ns AND lease = new.id",
    ),
    "lease_resources": ("new.ns, new.type, new.id, '{}'",),
    "snapshots": (
        "new.ns, 'snapshots/' || new.snapshotter, new.name, new.labels",
        # a parent is known by its number: who has it is looked up now, under the same lock
        "(SELECT ns FROM snapshots WHERE snapshotter = new.snapshotter AND sid = new.parent),"
        " 'snapshots/' || new.snapshotter,"
        " (SELECT name FROM snapshots WHERE snapshotter = new.snapshotter AND sid = new.parent), '{}'",
    ),
}


def raise_barrier(session: Session) -> None:
    """Note everything from now on; in a write transaction. One that stands already is started over."""
    lower_barrier(session)
    session.execute("CREATE TEMP TABLE gc_touched (ns TEXT, kind TEXT, id TEXT, labels TEXT)")
    for table, notes in _NOTES.items():
        body = " ".join(f"INSERT INTO gc_touched SELECT {note};" for note in notes)
        for word in ("INSERT", "UPDATE"):
            session.execute(f"CREATE TEMP TRIGGER gc_{table}_{word} AFTER {word} ON main.{table} BEGIN {body} END")


def lower_barrier(session: Session) -> None:
    """Note no more; fine when none stands."""
    for table in _NOTES:
        for word in ("INSERT", "UPDATE"):
            session.execute(f"DROP TRIGGER IF EXISTS temp.gc_{table}_{word}")
    session.execute("DROP TABLE IF EXISTS temp.gc_touched")


def touched(session: Session) -> Iterator[Node]:
    """What was noted since the last call."""
    rows = session.all("SELECT ns, kind, id, labels FROM temp.gc_touched")
    if rows:
        session.execute("DELETE FROM temp.gc_touched")
    for ns, kind, name, labels in rows:
        if ns is None:
            continue
        yield Node(ns, kind, name)
        if labels and "gc." in labels:
            yield from (reference.target for reference in gc.references(ns, load_labels(labels)))
