"""Named snapshots: rows in the database over the numbered directories of a driver.

A directory comes before its row and goes after it, so a row has a directory; what a crash leaves is a directory
without a row, which `cleanup` frees. Directories that are being made have no row either: their numbers
are known in this process (`_Numbers`), and `cleanup` leaves them alone. A number is never used twice while
anything of it is left, so a half-removed directory is never taken for a new one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from corten_shared.errors import Conflict, CortenError, NotFound
from corten_shared.models.lease import Resource
from corten_shared.models.snapshot import Kind, Mount, SnapshotInfo, Usage
from cortend.core import gc, trace
from cortend.core.snapshots import SnapshotDriver
from cortend.metadata.db import Database
from cortend.metadata.snapshot_rows import SnapshotRow
from cortend.metadata.transaction import StoreTransaction

log = logging.getLogger(__name__)


class _Numbers:
    """Hands out the numbers of directories, and knows which of them somebody is making or removing now."""

    def __init__(self, last: int) -> None:
        self._lock = threading.Lock()
        self._last = last
        self._busy: set[int] = set()

    @contextmanager
    def new(self) -> Iterator[int]:
        """A number nobody had, busy until the `with` ends."""
        with self._lock:
            self._last += 1
            number = self._last
        with self.hold(number):
            yield number

    @contextmanager
    def hold(self, number: int) -> Iterator[None]:
        """Keep `number` busy."""
        with self._lock:
            self._busy.add(number)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(number)

    def busy(self) -> set[int]:
        """The numbers that are busy now."""
        with self._lock:
            return set(self._busy)


class DatabaseSnapshotter:
    """core.snapshots.Snapshotter over a database and a driver."""

    def __init__(self, database: Database, driver: SnapshotDriver) -> None:
        self.name = driver.name
        self.rebases = driver.rebases
        self._database = database
        self._driver = driver
        used, found = self._recorded(), set(driver.ids())
        self._numbers = _Numbers(max(used | found, default=0))
        self._make_again(used - found)

    @property
    def driver(self) -> SnapshotDriver:
        """What keeps the directories."""
        return self._driver

    def stat(self, ns: str, key: str) -> SnapshotInfo:
        """Raises NotFound."""
        with self._database.view() as tx:
            return tx.snapshots.get(self.name, ns, key).info

    def update(self, ns: str, key: str, labels: dict[str, str | None]) -> SnapshotInfo:
        """Set labels; None removes one."""
        with self._database.update() as tx:
            return tx.snapshots.update(self.name, ns, key, labels).info

    def usage(self, ns: str, key: str) -> Usage:
        """As measured at commit, or now."""
        with self._database.view() as tx:
            row = tx.snapshots.get(self.name, ns, key)
        return row.usage if row.info.kind is Kind.COMMITTED else self._driver.usage(row.sid)

    def sizes(self, ns: str) -> dict[str, int]:
        """Bytes of every committed snapshot."""
        with self._database.view() as tx:
            return tx.snapshots.sizes(self.name, ns)

    def mounts(self, ns: str, key: str) -> list[Mount]:
        """How to mount it."""
        with self._database.view() as tx:
            row = tx.snapshots.get(self.name, ns, key)
            parents = tx.snapshots.chain(self.name, row.parent)
        with self._parent_there(ns, key if row.info.kind is Kind.COMMITTED else row.info.parent):
            return self._driver.mounts(row.sid, row.info.kind, parents)

    @contextmanager
    def _parent_there(self, ns: str, parent: str) -> Iterator[None]:
        """What fails because the parent is being removed says so, and no more than that."""
        try:
            yield
        except (OSError, CortenError):
            with self._database.view() as tx:
                tx.snapshots.parent(self.name, ns, parent)
            raise

    def prepare(
        self, ns: str, key: str, parent: str = "", *, labels: dict[str, str] | None = None, lease: str | None = None
    ) -> list[Mount]:
        """A new active snapshot."""
        return self._create(ns, key, parent, Kind.ACTIVE, labels or {}, lease)

    def view(
        self, ns: str, key: str, parent: str = "", *, labels: dict[str, str] | None = None, lease: str | None = None
    ) -> list[Mount]:
        """A new read-only snapshot."""
        return self._create(ns, key, parent, Kind.VIEW, labels or {}, lease)

    def commit(
        self,
        ns: str,
        name: str,
        key: str,
        *,
        parent: str | None = None,
        labels: dict[str, str] | None = None,
        lease: str | None = None,
    ) -> None:
        """Sync and measure, then turn the row in one transaction; leases that held `key` hold `name`."""
        with self._database.view() as tx:
            row = self._active(tx, ns, key)
            tx.snapshots.check_free(self.name, ns, name)
        if parent not in (None, row.info.parent) and not self.rebases:
            raise Conflict(f"the {self.name} snapshotter cannot give {key} another parent", subject=key)
        self._driver.seal(row.sid)
        trace.point("snapshot.commit.sealed")
        self._driver.sync([row.sid])
        trace.point("snapshot.commit.synced")
        usage, tally = self._driver.usage(row.sid), self._tally(row.sid)
        with self._database.update() as tx:
            row = self._active(tx, ns, key, row.sid)
            onto = row.parent if parent is None else tx.snapshots.parent(self.name, ns, parent)
            tx.snapshots.commit(self.name, row, name, onto, labels or {}, usage, tally)
            tx.leases.rename(ns, gc.snapshot_kind(self.name), key, name)
            self._lease(tx, ns, name, lease)
        trace.point("snapshot.commit.recorded")
        self._driver.shed(row.sid)

    def remove(self, ns: str, key: str) -> None:
        """The row first, so that nobody starts to use it, then the directory."""
        with ExitStack() as stack:
            with self._database.update() as tx:
                sid = tx.snapshots.delete(self.name, ns, key)
                stack.enter_context(self._numbers.hold(sid))
                tx.leases.forget(ns, gc.snapshot_kind(self.name), key)
            trace.point("snapshot.remove.recorded")
            self._free(sid)

    def targets(self, ns: str, key: str) -> list[str]:
        """Where it is mounted."""
        with self._database.view() as tx:
            sid = tx.snapshots.get(self.name, ns, key).sid
        return self._driver.targets(sid)

    def walk(self, ns: str) -> list[SnapshotInfo]:
        """Parents before children."""
        with self._database.view() as tx:
            rows = {row.sid: row for row in tx.snapshots.list(self.name, ns)}
        ordered: dict[int, SnapshotInfo] = {}
        for row in rows.values():
            for ancestor in reversed(list(_line(rows, row, ordered))):
                ordered[ancestor.sid] = ancestor.info
        return list(ordered.values())

    def cleanup(self) -> int:
        """Free directories without a row."""
        return sum(self._free(sid) for sid in self.orphans())

    def orphans(self) -> set[int]:
        """Numbers of directories without a row. The order of the three looks matters.

        A number found on disk that is not busy afterwards was either recorded before it ceased to be busy, so that
        the third look sees its row, or nobody wants it.
        """
        found = set(self._driver.ids())
        busy = self._numbers.busy()
        return found - busy - self._recorded()

    def _tally(self, sid: int) -> str:
        try:
            return self._driver.tally(sid)
        except NotFound:
            return ""  # removed meanwhile, as the transaction will find

    def _recorded(self) -> set[int]:
        with self._database.view() as tx:
            return tx.snapshots.sids(self.name)

    def _make_again(self, missing: set[int]) -> None:
        """Directories that a power cut took: making one is not synced, as its files are not either.

        What was written in an active snapshot is lost then, but it can be used and removed. Committed ones were synced.
        """
        for sid in sorted(missing):
            with self._database.view() as tx:
                kind = tx.snapshots.kind(self.name, sid)
                parents = tx.snapshots.chain(self.name, sid)[1:]
            log.error(
                "snapshot directory is gone",
                extra={"fields": {"snapshotter": self.name, "number": sid, "kind": kind.value}},
            )
            if kind is not Kind.COMMITTED:
                self._driver.create(sid, kind, parents)

    def _create(
        self, ns: str, key: str, parent: str, kind: Kind, labels: dict[str, str], lease: str | None
    ) -> list[Mount]:
        with self._database.view() as tx:
            tx.snapshots.check_free(self.name, ns, key)
            below = tx.snapshots.parent(self.name, ns, parent)
            parents = tx.snapshots.chain(self.name, below)
        with self._numbers.new() as sid:
            with self._parent_there(ns, parent):
                self._driver.create(sid, kind, parents)
            try:
                with self._database.update() as tx:
                    tx.snapshots.create(self.name, sid, ns, key, below, kind, labels)
                    self._lease(tx, ns, key, lease)
            except BaseException:
                self._free(sid)
                raise
            trace.point("snapshot.create.recorded")
        return self._driver.mounts(sid, kind, parents)

    def _free(self, sid: int) -> bool:
        """Remove a directory that no row names. What cannot be removed now is left to the next `cleanup`."""
        try:
            self._driver.remove(sid)
        except (OSError, CortenError) as error:
            log.warning(
                "snapshot directory not removed",
                extra={"fields": {"snapshotter": self.name, "number": sid, "error": str(error)}},
            )
            return False
        return True

    def _active(self, tx: StoreTransaction, ns: str, key: str, sid: int | None = None) -> SnapshotRow:
        """The row of active `key`, and with `sid` only that very snapshot; raises NotFound, Conflict."""
        row = tx.snapshots.get(self.name, ns, key)
        if sid is not None and row.sid != sid:
            raise NotFound(f"snapshot {key} was replaced meanwhile", subject=key)
        if row.info.kind is not Kind.ACTIVE:
            raise Conflict(f"snapshot {key} is {row.info.kind}, and only an active one can be committed", subject=key)
        return row

    def _lease(self, tx: StoreTransaction, ns: str, name: str, lease: str | None) -> None:
        if lease is not None:
            tx.leases.add(ns, lease, Resource(type=gc.snapshot_kind(self.name), id=name))


def _line(rows: dict[int, SnapshotRow], row: SnapshotRow, seen: dict[int, SnapshotInfo]) -> Iterator[SnapshotRow]:
    """`row` and its ancestors, nearest first, up to the first that was `seen`."""
    current: SnapshotRow | None = row
    while current is not None and current.sid not in seen:
        yield current
        current = None if current.parent is None else rows.get(current.parent)
