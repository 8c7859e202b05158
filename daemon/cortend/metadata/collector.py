"""Garbage collection over the real stores.

    view      mark: which rows does nothing keep?
    update    if there are any: mark again if something was committed since, delete the rows
    after     files and directories without a row, abandoned ingests

Every object in use is kept by an image, a container, a label or a lease at every commit, so a mark within
one transaction never sees it unkept. Files go last: a crash leaves files without rows, never the reverse.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

from corten_shared.errors import NotFound, Unavailable
from cortend.core import gc, trace
from cortend.core.metadata import Collected
from cortend.metadata.content import NamespacedContent
from cortend.metadata.db import Database
from cortend.metadata.graph import Graph
from cortend.metadata.snapshots import DatabaseSnapshotter
from cortend.metadata.transaction import StoreTransaction

INGEST_AGE = 24 * 3600 * 1_000_000_000
"""How long (ns) an ingest that no lease holds can still be resumed after its last write."""


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

    def collect(self) -> Collected:
        """Remove what nothing keeps; `snapshots` and `blobs` count what was freed on disk."""
        with self._lock:
            graph, leases = self._collect_rows()
            trace.point("gc.rows.deleted")
            snapshots = sum(snapshotter.cleanup() for snapshotter in self._snapshotters)
            trace.point("gc.snapshots.freed")
            blobs, size = self._content.free_unseen()
            trace.point("gc.blobs.freed")
            ingests = self._drop_ingests(graph)
        return Collected(blobs, snapshots, leases, ingests, size)

    def _collect_rows(self) -> tuple[Graph, int]:
        seen = self._database.generation  # before the view begins: what is committed later makes us look again
        with self._database.view() as tx:
            graph = Graph(tx.session)
        dead = graph.dead()
        if not dead and not graph.expired:
            return graph, 0
        trace.point("gc.marked")
        with self._database.update() as tx:
            if self._database.generation != seen:
                graph = Graph(tx.session)
                dead = graph.dead()
            self._delete(tx, graph, dead)
        return graph, len(graph.expired)

    def _delete(self, tx: StoreTransaction, graph: Graph, dead: Sequence[gc.Node]) -> None:
        for lease in graph.expired:
            tx.leases.delete(lease.ns, lease.id)
        for node in dead:
            if node.kind == gc.CONTENT:
                tx.blobs.delete(node.ns, node.id)
            else:
                tx.snapshots.delete(node.kind.removeprefix(gc.snapshot_kind("")), node.ns, node.id)

    def _drop_ingests(self, graph: Graph) -> int:
        """Asked of a later state than the graph's, an ingest could only be younger: one begun meanwhile is not old."""
        now = self._database.clock()
        dropped = 0
        for ns, status in list(self._content.all_statuses()):
            if (ns, status.ref) in graph.leased_ingests or now - status.updated_at < self._ingest_age:
                continue
            with suppress(NotFound, Unavailable):  # it was committed, or somebody has resumed it
                self._content.abort(ns, status.ref)
                dropped += 1
        return dropped
