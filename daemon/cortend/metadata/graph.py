"""What holds what: the collector's picture of the database in one transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from cortend.core import gc
from cortend.core.gc import Node
from cortend.metadata.session import Session, load_labels


class ExpiredLease(NamedTuple):
    """A lease whose time is over."""

    ns: str
    id: str


class Graph:
    """Every collectable object, what it refers to, and the roots. `leased_ingests` are (namespace, ref)."""

    def __init__(self, session: Session) -> None:
        self._objects: set[Node] = set()
        self.expired: list[ExpiredLease] = []
        self.leased_ingests: set[tuple[str, str]] = set()
        self._edges: defaultdict[Node, list[Node]] = defaultdict(list)
        self._parents: dict[Node, Node] = {}
        self._roots: list[Node] = []
        self._flat: list[Node] = []
        self._load_content(session)
        self._load_snapshots(session)
        self._load_images(session)
        self._load_containers(session)
        self._load_leases(session)

    def dead(self) -> list[Node]:
        """What nothing keeps; children before their parents."""
        alive = gc.mark(self._roots, lambda node: self._edges.get(node, ()))
        alive |= gc.mark(self._flat, self._parent_of)
        return sorted(self._objects - alive, key=self._depth, reverse=True)

    def _parent_of(self, node: Node) -> Iterable[Node]:
        """A snapshot cannot be without its parent, so even a flat lease holds that."""
        parent = self._parents.get(node)
        return () if parent is None else (parent,)

    def _depth(self, node: Node) -> int:
        depth = 0
        while (parent := self._parents.get(node)) is not None:
            depth, node = depth + 1, parent
        return depth

    def _load_content(self, session: Session) -> None:
        for ns, digest, labels in session.execute("SELECT ns, digest, labels FROM content"):
            self._add(Node(ns, gc.CONTENT, digest), labels)

    def _load_snapshots(self, session: Session) -> None:
        rows = session.execute(
            "SELECT s.ns, s.snapshotter, s.name, p.ns, p.name, s.labels FROM snapshots s"
            " LEFT JOIN snapshots p ON p.snapshotter = s.snapshotter AND p.sid = s.parent"
        )
        for ns, snapshotter, name, parent_ns, parent_name, labels in rows:
            node = Node(ns, gc.snapshot_kind(snapshotter), name)
            self._add(node, labels)
            if parent_name is not None:
                parent = Node(parent_ns, node.kind, parent_name)
                self._parents[node] = parent
                self._edges[node].append(parent)

    def _load_images(self, session: Session) -> None:
        for ns, digest, labels in session.execute("SELECT ns, digest, labels FROM images"):
            self._roots.append(Node(ns, gc.CONTENT, digest))
            self._roots.extend(gc.references(ns, load_labels(labels)))

    def _load_containers(self, session: Session) -> None:
        """Labels of containers hold nothing: they come from images and users, who mean other things by them."""
        rows = session.execute("SELECT ns, snapshotter, snapshot_key, image_digest FROM containers")
        for ns, snapshotter, key, digest in rows:
            self._roots.append(Node(ns, gc.snapshot_kind(snapshotter), key))
            self._roots.append(Node(ns, gc.CONTENT, digest))

    def _load_leases(self, session: Session) -> None:
        now = session.now()
        live: dict[tuple[str, str], bool] = {}
        for ns, lease, text in session.execute("SELECT ns, id, labels FROM leases"):
            labels = load_labels(text)
            if gc.expired(labels, now):
                self.expired.append(ExpiredLease(ns, lease))
            else:
                live[ns, lease] = gc.FLAT in labels
                self._roots.extend(gc.references(ns, labels))
        for ns, lease, kind, object_id in session.execute("SELECT ns, lease, type, id FROM lease_resources"):
            if (ns, lease) in live:
                self._hold(Node(ns, kind, object_id), live[ns, lease])

    def _hold(self, node: Node, flat: bool) -> None:
        if node.kind == gc.INGEST:
            self.leased_ingests.add((node.ns, node.id))
        else:
            (self._flat if flat else self._roots).append(node)

    def _add(self, node: Node, text: str) -> None:
        self._objects.add(node)
        if text == "{}":
            return
        labels = load_labels(text)
        self._edges[node].extend(gc.references(node.ns, labels))
        if gc.ROOT in labels:
            self._roots.append(node)
