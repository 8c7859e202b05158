"""Garbage collection over the real stores, with short pauses for everybody else.

    view      mark: which rows does nothing keep? (No writer waits for this.)
    update    if there are any: raise a barrier, which notes what is written from now on, and mark again
              if something was written since the view
    updates   delete rows, a few at a time; before each few, what was noted is spared, with all it reaches
    after     files and directories without a row, abandoned ingests

Every object in use is kept by an image, a container, a label or a lease at every commit, so a mark within
one transaction never sees it unkept. Files go last: a crash leaves files without rows, never the reverse.

One deleting transaction works for `BATCH` seconds at most; then the writers that wait have as long to themselves.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from corten_shared.errors import Conflict, NotFound, Unavailable
from cortend.core import gc, trace
from cortend.core.gc import Node
from cortend.core.graph import Graph
from cortend.core.metadata import Collected
from cortend.metadata.barrier import lower_barrier, raise_barrier, touched
from cortend.metadata.content import NamespacedContent
from cortend.metadata.db import Database
from cortend.metadata.graph import read_graph
from cortend.metadata.snapshots import DatabaseSnapshotter
from cortend.metadata.transaction import StoreTransaction

log = logging.getLogger(__name__)

INGEST_AGE = 24 * 3600 * 1_000_000_000
"""How long (ns) an ingest that no lease holds can still be resumed after its last write."""
BATCH = 0.01
"""Seconds that one transaction of deletions works before it is committed."""
_BREATH = 0.0002
"""Seconds for other threads after a piece of marking: the interpreter runs one thread at a time."""


class StoreCollector:
    """core.metadata.Collector; one collection at a time."""

    def __init__(
        self,
        database: Database,
        content: NamespacedContent,
        snapshotters: Sequence[DatabaseSnapshotter],
        *,
        ingest_age: int = INGEST_AGE,
    ) -> None:
        self._database = database
        self._content = content
        self._snapshotters = snapshotters
        self._ingest_age = ingest_age
        self._lock = threading.Lock()
        self.locked = 0.0
        self.next_end: int | None = None

    def watch(self, written: Callable[[], None]) -> None:
        """Have `written` called after every commit."""
        self._database.watcher = written

    def collect(self) -> Collected:
        """Remove what nothing keeps; `snapshots` and `blobs` count what was freed on disk."""
        with self._lock:
            graph, rows = self._collect_rows()
            trace.point("gc.rows.deleted")
            snapshots = sum(snapshotter.cleanup() for snapshotter in self._snapshotters)
            trace.point("gc.snapshots.freed")
            blobs, size = self._content.free_unseen()
            trace.point("gc.blobs.freed")
            ingests = self._drop_ingests(graph)
        self.locked = rows.locked
        self.next_end = min((end for end in graph.ends() if end > self._database.clock()), default=None)
        return Collected(blobs, snapshots, rows.leases, ingests, size + rows.bytes, rows.images)

    def _collect_rows(self) -> tuple[Graph, _Rows]:
        rows = _Rows()
        seen = self._database.generation  # before the view begins: what is committed later makes us look again
        graph = self._look()
        alive = graph.alive(breathe=_breathe)
        if graph.objects <= alive:
            return graph, rows
        trace.point("gc.marked")
        with self._database.update() as tx:
            raise_barrier(tx.session)
            unchanged = self._database.generation == seen
        try:
            if not unchanged:
                graph = self._look()
                alive = graph.alive(breathe=_breathe)
            self._delete_all(graph, alive, rows)
        finally:
            with self._database.update() as tx:
                lower_barrier(tx.session)
        return graph, rows

    def _look(self) -> Graph:
        with self._database.view() as tx:
            return read_graph(tx.session, _breathe)

    def _delete_all(self, graph: Graph, alive: set[Node], rows: _Rows) -> None:
        dead = deque(graph.in_order(graph.objects - alive))
        while dead:
            with self._database.update() as tx:
                begun = time.monotonic()
                graph.spared(touched(tx.session), alive)
                while dead and time.monotonic() - begun < BATCH:
                    node = dead.popleft()
                    if node not in alive:
                        rows.delete(tx, node)
            held = time.monotonic() - begun
            rows.locked += held
            if dead:
                trace.point("gc.batch.deleted")
                time.sleep(held)

    def _drop_ingests(self, graph: Graph) -> int:
        """Asked of a later state than the graph's, an ingest could only be younger: one begun meanwhile is not old."""
        now = self._database.clock()
        leased = _leased_ingests(graph)
        dropped = 0
        for ns, status in list(self._content.all_statuses()):
            if (ns, status.ref) in leased or now - status.updated_at < self._ingest_age:
                continue
            with suppress(NotFound, Unavailable):  # it was committed, or somebody has resumed it
                self._content.abort(ns, status.ref)
                dropped += 1
        return dropped


class _Rows:
    """Deletes rows and counts them; `bytes` are those of snapshots, `locked` seconds that others may have waited."""

    def __init__(self) -> None:
        self.leases = self.images = self.bytes = 0
        self.locked = 0.0

    def delete(self, tx: StoreTransaction, node: Node) -> None:
        """One row; fine when it is gone already."""
        try:
            self._delete(tx, node)
        except NotFound:
            pass
        except Conflict as error:  # cannot be; but one snapshot must not keep all the rest
            log.error("garbage collection left something", extra={"fields": {"object": node, "error": error.message}})

    def _delete(self, tx: StoreTransaction, node: Node) -> None:
        if node.kind == gc.LEASE:
            tx.leases.delete(node.ns, node.id)
            self.leases += 1
        elif node.kind == gc.IMAGE:
            tx.images.delete(node.ns, node.id)
            tx.emit(node.ns, "/images/delete", node.id, {"action": "delete", "name": node.id})
            self.images += 1
        elif node.kind == gc.CONTENT:
            tx.blobs.delete(node.ns, node.id)
        else:
            snapshotter = node.kind.removeprefix(gc.SNAPSHOT)
            size = tx.snapshots.get(snapshotter, node.ns, node.id).usage.size
            tx.snapshots.delete(snapshotter, node.ns, node.id)
            self.bytes += size


def _leased_ingests(graph: Graph) -> set[tuple[str, str]]:
    """(namespace, ref) of the ingests that leases hold."""
    held: Iterable[Node] = (held for root in graph.roots for held in graph.edges.get(root, ()))
    return {(node.ns, node.id) for node in (*held, *graph.flat) if node.kind == gc.INGEST}


def _breathe() -> None:
    time.sleep(_BREATH)

