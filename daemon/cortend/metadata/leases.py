"""Rows of leases and of the objects they hold."""

from __future__ import annotations

import sqlite3

from corten_shared.errors import AlreadyExists, InvalidArgument, NotFound
from corten_shared.models.lease import Lease, Resource
from corten_shared.times import parse_rfc3339
from cortend.core import gc
from cortend.metadata.namespaces import Namespaces
from cortend.metadata.session import Session, dump_labels, load_labels, readable

_MAX_ID = 255


class Leases:
    """core.metadata.LeaseStore, and what the content and snapshot stores need of it."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, ns: str, lease_id: str) -> Lease:
        """Raises NotFound."""
        row = self._session.one(
            "SELECT id, labels, created_at FROM leases WHERE ns = ? AND id = ?", (ns, lease_id)
        )
        if row is None:
            raise _missing(lease_id)
        return _record(row)

    def resources(self, ns: str, lease_id: str) -> list[Resource]:
        """By type and id; raises NotFound for the lease."""
        self.get(ns, lease_id)
        rows = self._session.all(
            "SELECT type, id FROM lease_resources WHERE ns = ? AND lease = ? ORDER BY type, id", (ns, lease_id)
        )
        return [Resource(type=kind, id=object_id) for kind, object_id in rows]

    def list(self, ns: str) -> list[Lease]:
        """By id."""
        rows = self._session.all("SELECT id, labels, created_at FROM leases WHERE ns = ? ORDER BY id", (ns,))
        return readable(rows, _record)

    def create(self, ns: str, lease: Lease) -> None:
        """Raises AlreadyExists; InvalidArgument for a malformed id or `gc.expire`."""
        if not 0 < len(lease.id) <= _MAX_ID:
            raise InvalidArgument(f"invalid lease id {lease.id[:60]!r}", hint=f"1 to {_MAX_ID} characters")
        if (end := gc.value_of(lease.labels, gc.EXPIRE)) is not None:
            parse_rfc3339(end)
        Namespaces(self._session).ensure(ns)
        try:
            self._session.execute(
                "INSERT INTO leases (ns, id, labels, created_at) VALUES (?, ?, ?, ?)",
                (ns, lease.id, dump_labels(lease.labels), lease.created_at),
            )
        except sqlite3.IntegrityError as error:
            raise AlreadyExists(f"lease {lease.id} already exists", subject=lease.id) from error

    def delete(self, ns: str, lease_id: str) -> None:
        """With what it says it holds; raises NotFound."""
        if not self._session.changed("DELETE FROM leases WHERE ns = ? AND id = ?", (ns, lease_id)):
            raise _missing(lease_id)

    def add(self, ns: str, lease_id: str, resource: Resource) -> None:
        """Idempotent; raises NotFound for the lease, also for one whose time is over: it would hold nothing."""
        if gc.expired(self.get(ns, lease_id).labels, self._session.now()):
            raise _missing(lease_id)
        self._session.execute(
            "INSERT INTO lease_resources (ns, lease, type, id) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (ns, lease_id, gc.resource_kind(resource.type), resource.id),
        )

    def remove(self, ns: str, lease_id: str, resource: Resource) -> None:
        """Raises NotFound for the lease; a resource it does not hold is fine."""
        self.get(ns, lease_id)
        self._session.execute(
            "DELETE FROM lease_resources WHERE ns = ? AND lease = ? AND type = ? AND id = ?",
            (ns, lease_id, gc.resource_kind(resource.type), resource.id),
        )

    def rename(self, ns: str, kind: str, old: str, new: str) -> None:
        """An object has a new name: every lease that held it holds it under that one."""
        self._session.execute(
            "UPDATE OR REPLACE lease_resources SET id = ? WHERE ns = ? AND type = ? AND id = ?", (new, ns, kind, old)
        )

    def forget(self, ns: str, kind: str, object_id: str) -> None:
        """An object is gone: no lease holds it (a later one of its name is another object)."""
        self._session.execute(
            "DELETE FROM lease_resources WHERE ns = ? AND type = ? AND id = ?", (ns, kind, object_id)
        )


def _missing(lease_id: str) -> NotFound:
    return NotFound(f"No such lease: {lease_id}", hint="it was deleted, or it expired", subject=lease_id)


def _record(row: tuple[str, str, int]) -> Lease:
    lease_id, labels, created_at = row
    return Lease(id=lease_id, labels=load_labels(labels), created_at=created_at)
