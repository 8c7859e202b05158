"""Rows of snapshots: names in namespaces over the numbered directories of a driver."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from corten_shared.errors import AlreadyExists, Conflict, NotFound
from corten_shared.models.snapshot import Kind, SnapshotInfo, Usage
from cortend.metadata.namespaces import Namespaces
from cortend.metadata.session import Session, dump_labels, load_labels, merge_labels, readable

_SELECT = (
    "SELECT s.sid, s.parent, s.name, p.name, s.kind, s.labels, s.size, s.inodes, s.created_at, s.updated_at"
    " FROM snapshots s LEFT JOIN snapshots p ON p.snapshotter = s.snapshotter AND p.sid = s.parent"
    " WHERE s.snapshotter = ? AND s.ns = ?"
)
_CHAIN = (
    "WITH RECURSIVE chain (sid, depth) AS ("
    "  SELECT ?2, 0 UNION ALL"
    "  SELECT s.parent, depth + 1 FROM chain JOIN snapshots s ON s.snapshotter = ?1 AND s.sid = chain.sid"
    "  WHERE s.parent IS NOT NULL"
    ") SELECT sid FROM chain ORDER BY depth"
)

_NAMED = 3


class SnapshotRow(NamedTuple):
    """A snapshot: its number, its parent's number (None: it has none), what others see, and what it takes on disk."""

    sid: int
    parent: int | None
    info: SnapshotInfo
    usage: Usage


class SnapshotRows:
    """Snapshots of every snapshotter, by namespace and name."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, snapshotter: str, ns: str, name: str) -> SnapshotRow:
        """Raises NotFound."""
        row = self._session.one(f"{_SELECT} AND s.name = ?", (snapshotter, ns, name))
        if row is None:
            raise NotFound(f"No such snapshot: {name}", subject=name)
        return _record(row)

    def chain(self, snapshotter: str, sid: int | None) -> list[int]:
        """The numbers of `sid` and its ancestors, nearest first; empty for None."""
        if sid is None:
            return []
        return [row[0] for row in self._session.execute(_CHAIN, (snapshotter, sid))]

    def list(self, snapshotter: str, ns: str) -> list[SnapshotRow]:
        """By number."""
        rows = self._session.all(f"{_SELECT} ORDER BY s.sid", (snapshotter, ns))
        return readable(rows, _record)

    def check_free(self, snapshotter: str, ns: str, name: str) -> None:
        """Raises AlreadyExists when the name is taken."""
        query = "SELECT 1 FROM snapshots WHERE snapshotter = ? AND ns = ? AND name = ?"
        if self._session.one(query, (snapshotter, ns, name)) is not None:
            raise _taken(name)

    def parent(self, snapshotter: str, ns: str, name: str) -> int | None:
        """The number of committed snapshot `name` (None for the empty name); raises NotFound, Conflict."""
        if not name:
            return None
        row = self.get(snapshotter, ns, name)
        if row.info.kind is not Kind.COMMITTED:
            raise Conflict(
                f"snapshot {name} is {row.info.kind}, and only a committed one can be a parent", subject=name
            )
        return row.sid

    def create(
        self, snapshotter: str, sid: int, ns: str, name: str, parent: int | None, kind: Kind, labels: dict[str, str]
    ) -> None:
        """Raises AlreadyExists (the name), NotFound when the parent went away meanwhile."""
        Namespaces(self._session).ensure(ns)
        now = self._session.now()
        try:
            self._session.execute(
                "INSERT INTO snapshots (snapshotter, sid, ns, name, parent, kind, labels, created_at, updated_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (snapshotter, sid, ns, name, parent, kind.value, dump_labels(labels), now, now),
            )
        except sqlite3.IntegrityError as error:
            self.check_free(snapshotter, ns, name)
            raise NotFound(f"the parent of snapshot {name} was removed meanwhile", subject=name) from error

    def commit(
        self,
        snapshotter: str,
        row: SnapshotRow,
        name: str,
        parent: int | None,
        labels: dict[str, str],
        usage: Usage,
        tally: str = "",
    ) -> None:
        """Make `row` the committed snapshot `name`; raises AlreadyExists, NotFound (the row went away)."""
        kept = merge_labels(dump_labels(row.info.labels), {**labels})
        try:
            changed = self._session.changed(
                "UPDATE snapshots SET name = ?, kind = 'committed', parent = ?, labels = ?, size = ?, inodes = ?,"
                " tally = ?, updated_at = ? WHERE snapshotter = ? AND sid = ? AND kind = 'active'",
                (name, parent, kept, usage.size, usage.inodes, tally, self._session.now(), snapshotter, row.sid),
            )
        except sqlite3.IntegrityError as error:
            raise _taken(name) from error
        if not changed:
            raise NotFound(f"No such snapshot: {row.info.name}", subject=row.info.name)

    def sizes(self, snapshotter: str, ns: str) -> dict[str, int]:
        """Bytes of every committed snapshot, by name."""
        query = "SELECT name, size FROM snapshots WHERE snapshotter = ? AND ns = ? AND kind = 'committed'"
        return dict(self._session.all(query, (snapshotter, ns)))

    def update(self, snapshotter: str, ns: str, name: str, labels: dict[str, str | None]) -> SnapshotRow:
        """Set labels; None removes one."""
        row = self.get(snapshotter, ns, name)
        self._session.execute(
            "UPDATE snapshots SET labels = ?, updated_at = ? WHERE snapshotter = ? AND sid = ?",
            (merge_labels(dump_labels(row.info.labels), labels), self._session.now(), snapshotter, row.sid),
        )
        return self.get(snapshotter, ns, name)

    def delete(self, snapshotter: str, ns: str, name: str) -> int:
        """Its number; raises NotFound, Conflict when it is a parent."""
        row = self.get(snapshotter, ns, name)
        try:
            self._session.execute("DELETE FROM snapshots WHERE snapshotter = ? AND sid = ?", (snapshotter, row.sid))
        except sqlite3.IntegrityError as error:
            raise Conflict(
                f"snapshot {name} is the parent of {self._children(snapshotter, row.sid)}",
                hint="remove the snapshots made on it first",
                subject=name,
            ) from error
        return row.sid

    def _children(self, snapshotter: str, sid: int) -> str:
        """The first names of what was made on `sid`, and how many more there are."""
        query = "SELECT name FROM snapshots WHERE snapshotter = ? AND parent = ? ORDER BY sid"
        names = [name for (name,) in self._session.execute(query, (snapshotter, sid))]
        rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return ", ".join(names[:_NAMED]) + rest

    def kind(self, snapshotter: str, sid: int) -> Kind:
        """What number `sid`, which there is, can be used for."""
        query = "SELECT kind FROM snapshots WHERE snapshotter = ? AND sid = ?"
        return Kind(self._session.one(query, (snapshotter, sid))[0])

    def sids(self, snapshotter: str) -> set[int]:
        """Every number that a row names."""
        return {
            sid for (sid,) in self._session.execute("SELECT sid FROM snapshots WHERE snapshotter = ?", (snapshotter,))
        }


def _taken(name: str) -> AlreadyExists:
    return AlreadyExists(f"snapshot {name} already exists", subject=name)


def _record(row: tuple[int, int | None, str, str | None, str, str, int, int, int, int]) -> SnapshotRow:
    sid, parent, name, parent_name, kind, labels, size, inodes, created_at, updated_at = row
    info = SnapshotInfo(
        name=name,
        parent=parent_name or "",
        kind=Kind(kind),
        labels=load_labels(labels),
        created_at=created_at,
        updated_at=updated_at,
    )
    return SnapshotRow(sid, parent, info, Usage(size=size, inodes=inodes))
