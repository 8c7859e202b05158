"""A snapshotter's rows and directories side by side, for the check of the store."""

from __future__ import annotations

from corten_shared.errors import Conflict, NotFound
from corten_shared.models.snapshot import Kind
from cortend.core.check import SnapshotState
from cortend.core.snapshots import SnapshotDriver
from cortend.metadata.db import Database
from cortend.metadata.snapshots import DatabaseSnapshotter

_STATES = (
    "SELECT s.sid, s.ns, s.name, s.kind, s.parent, s.parent IS NOT NULL AND p.sid IS NULL, s.tally FROM snapshots s"
    " LEFT JOIN snapshots p ON p.snapshotter = s.snapshotter AND p.sid = s.parent"
    " WHERE s.snapshotter = ? ORDER BY s.sid"
)


class DatabaseSnapshotInspector:
    """core.check.SnapshotInspector."""

    def __init__(self, database: Database, driver: SnapshotDriver, snapshotter: DatabaseSnapshotter) -> None:
        self.name = driver.name
        self._database = database
        self._driver = driver
        self._snapshotter = snapshotter

    def states(self) -> list[SnapshotState]:
        """Parents before children."""
        with self._database.view() as tx:
            rows = tx.session.all(_STATES, (self.name,))
        states = {
            sid: SnapshotState(sid, ns, name, Kind(kind), parent, bool(orphaned), tally)
            for sid, ns, name, kind, parent, orphaned, tally in rows
        }
        return sorted(states.values(), key=lambda state: (_depth(states, state), state.sid))

    def numbers(self) -> set[int]:
        """As the driver sees them."""
        return set(self._driver.ids())

    def tally(self, sid: int, *, deep: bool = False) -> str:
        """Raises NotFound."""
        return self._driver.tally(sid, deep=deep)

    def make_again(self, sid: int) -> None:
        """Empty; what a container wrote is gone already."""
        with self._database.view() as tx:
            kind = tx.snapshots.kind(self.name, sid)
            parents = tx.snapshots.chain(self.name, sid)[1:]
        if kind is Kind.COMMITTED:
            raise Conflict(f"snapshot {sid} of {self.name} is committed: an empty one would be a lie")
        self._driver.remove(sid)
        self._driver.create(sid, kind, parents)

    def replace(self, ns: str, name: str, other: str) -> None:
        """The directories first: should the row not follow, the tally of the new files differs and a check says so."""
        with self._database.view() as tx:
            old, new = (tx.snapshots.get(self.name, ns, key) for key in (name, other))
        if {old.info.kind, new.info.kind} != {Kind.COMMITTED}:
            raise Conflict(f"snapshot {name} cannot be replaced by {other}: both must be committed", subject=name)
        self._driver.exchange(old.sid, new.sid)
        tally = self._driver.tally(old.sid)
        with self._database.update() as tx:
            tx.session.execute(
                "UPDATE snapshots SET size = ?, inodes = ?, tally = ? WHERE snapshotter = ? AND sid = ?",
                (new.usage.size, new.usage.inodes, tally, self.name, old.sid),
            )
        self._snapshotter.remove(ns, other)

    def adopt(self, ns: str, name: str, parent: str) -> None:
        """Raises NotFound, Conflict when `parent` is not committed."""
        with self._database.update() as tx:
            onto = tx.snapshots.parent(self.name, ns, parent)
            changed = tx.session.changed(
                "UPDATE snapshots SET parent = ? WHERE snapshotter = ? AND ns = ? AND name = ?",
                (onto, self.name, ns, name),
            )
        if not changed:
            raise NotFound(f"No such snapshot: {name}", subject=name)

    def orphans(self) -> list[int]:
        """By number."""
        return sorted(self._snapshotter.orphans())

    def strays(self) -> list[str]:
        """By name."""
        return self._driver.strays()

    def remove_stray(self, name: str) -> None:
        """Missing is fine."""
        self._driver.remove_stray(name)


def _depth(states: dict[int, SnapshotState], state: SnapshotState) -> int:
    depth = 0
    current: SnapshotState | None = state
    while current is not None and current.parent is not None and depth < len(states):
        depth, current = depth + 1, states.get(current.parent)
    return depth
