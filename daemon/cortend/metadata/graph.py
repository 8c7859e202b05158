"""Reads the database's rows into a core.graph.Graph, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cortend.core import gc
from cortend.core.gc import Node
from cortend.core.graph import LEASED, TARGET, Graph
from cortend.metadata.db import Database
from cortend.metadata.session import Session, load_labels

_CHUNK = 256


class StoreGraphs:
    """core.graph.Graphs over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def graph(self) -> Graph:
        """The present state."""
        with self._database.view() as tx:
            return read_graph(tx.session)


def read_graph(session: Session, breathe: Callable[[], None] | None = None) -> Graph:
    """What the transaction sees; `breathe` is called now and then, for there may be a hundred thousand rows."""
    reader = _Reader(session, breathe or (lambda: None))
    reader.read()
    return reader.graph


class _Reader:
    """One reading of every table."""

    def __init__(self, session: Session, breathe: Callable[[], None]) -> None:
        self.graph = Graph()
        self._session = session
        self._breathe = breathe
        self._now = session.now()

    def read(self) -> None:
        self._read_content()
        self._read_snapshots()
        self._read_images()
        self._read_containers()
        self._read_leases()

    def _rows(self, sql: str) -> Iterator[tuple[Any, ...]]:
        cursor = self._session.execute(sql)
        while rows := cursor.fetchmany(_CHUNK):
            yield from rows
            self._breathe()

    def _read_content(self) -> None:
        for ns, digest, labels in self._rows("SELECT ns, digest, labels FROM content"):
            self._add(Node(ns, gc.CONTENT, digest), labels)

    def _read_snapshots(self) -> None:
        rows = self._rows(
            "SELECT s.ns, s.snapshotter, s.name, p.ns, p.name, s.labels FROM snapshots s"
            " LEFT JOIN snapshots p ON p.snapshotter = s.snapshotter AND p.sid = s.parent"
        )
        for ns, snapshotter, name, parent_ns, parent_name, labels in rows:
            node = Node(ns, gc.snapshot_kind(snapshotter), name)
            self._add(node, labels)
            if parent_name is not None:
                self.graph.hold_parent(node, Node(parent_ns, node.kind, parent_name))

    def _add(self, node: Node, text: str) -> None:
        """A blob or snapshot: kept by what refers to it, or for itself by a label."""
        self.graph.objects.add(node)
        if "gc." not in text:
            return
        labels = load_labels(text)
        self._relate(node, labels)
        end = gc.expiry(labels)
        if gc.value_of(labels, gc.ROOT) is not None:
            self.graph.roots[node] = None
        elif end is not None and end > self._now:
            self.graph.roots[node] = end

    def _relate(self, node: Node, labels: dict[str, str]) -> None:
        self._refer(node, gc.references(node.ns, labels))
        for reference in gc.back_references(node.ns, labels):
            self.graph.hold(reference.target, node, reference.label)

    def _refer(self, node: Node, references: Iterable[gc.Reference]) -> None:
        for reference in references:
            self.graph.hold(node, reference.target, reference.label)

    def _read_images(self) -> None:
        """A name is kept for itself, until its time where it has one."""
        for ns, name, digest, text in self._rows("SELECT ns, name, digest, labels FROM images"):
            node = Node(ns, gc.IMAGE, name)
            labels = load_labels(text)
            self.graph.hold(node, Node(ns, gc.CONTENT, digest), TARGET)
            self._relate(node, labels)
            self._root_or_expired(node, labels)

    def _read_containers(self) -> None:
        rows = self._rows(
            "SELECT ns, id, snapshotter, snapshot_key, image_digest,"
            " CASE WHEN json_valid(record) THEN json_extract(record, '$.labels') END FROM containers"
        )
        for ns, container, snapshotter, key, digest, labels in rows:
            node = Node(ns, gc.CONTAINER, container)
            self.graph.roots[node] = None
            self.graph.hold(node, Node(ns, gc.snapshot_kind(snapshotter), key), TARGET)
            if digest:
                self.graph.hold(node, Node(ns, gc.CONTENT, digest), TARGET)
            if labels and gc.FULL in labels:
                self._refer(node, gc.container_references(ns, load_labels(labels)))

    def _read_leases(self) -> None:
        flat: set[Node] = set()
        for ns, lease, text in self._rows("SELECT ns, id, labels FROM leases"):
            node = Node(ns, gc.LEASE, lease)
            labels = load_labels(text)
            self._refer(node, gc.references(ns, labels))
            self._root_or_expired(node, labels)
            if gc.value_of(labels, gc.FLAT) is not None:
                flat.add(node)
        for ns, lease, kind, name in self._rows("SELECT ns, lease, type, id FROM lease_resources"):
            self._lease(Node(ns, gc.LEASE, lease), Node(ns, kind, name), flat)

    def _lease(self, lease: Node, held: Node, flat: set[Node]) -> None:
        if lease not in flat:
            self.graph.hold(lease, held, LEASED)
        elif lease in self.graph.roots:
            self.graph.flat.setdefault(held, {})[lease] = self.graph.roots[lease]

    def _root_or_expired(self, node: Node, labels: dict[str, str]) -> None:
        end = gc.expiry(labels)
        if end is None or end > self._now:
            self.graph.roots[node] = end
        else:
            self.graph.expired.add(node)
            self.graph.objects.add(node)
