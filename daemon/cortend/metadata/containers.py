"""Rows of containers: the record as JSON, beside it what is searched for."""

from __future__ import annotations

import sqlite3
from functools import lru_cache

from corten_shared.errors import AlreadyExists, InvalidArgument, NotFound
from corten_shared.models.container import ContainerRecord
from cortend.metadata.namespaces import Namespaces
from cortend.metadata.session import Session, Value, load_record, readable

_SELECT = "SELECT record FROM containers WHERE ns = ?"
_INSERT = (
    "INSERT INTO containers (name, image_digest, snapshotter, snapshot_key, created_at, record, ns, id)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE = (
    "UPDATE containers SET name = ?, image_digest = ?, snapshotter = ?, snapshot_key = ?, created_at = ?, record = ?"
    " WHERE ns = ? AND id = ?"
)
_AFTER_ANY_ID = "\U0010ffff"


class Containers:
    """core.metadata.ContainerStore."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, ns: str, container_id: str) -> ContainerRecord:
        """Raises NotFound."""
        row = self._session.one(f"{_SELECT} AND id = ?", (ns, container_id))
        if row is None:
            raise no_such_container(container_id)
        return _record(row)

    def find(self, ns: str, reference: str) -> ContainerRecord:
        """By whole id, then name, then unique prefix of the id."""
        if not reference:
            raise no_such_container(reference)
        row = self._session.one(f"{_SELECT} AND id = ?", (ns, reference)) or self._session.one(
            f"{_SELECT} AND name = ? AND name <> ''", (ns, reference.removeprefix("/"))
        )
        return _record(row) if row is not None else self._by_prefix(ns, reference)

    def list(self, ns: str) -> list[ContainerRecord]:
        """Newest first."""
        rows = self._session.all(f"{_SELECT} ORDER BY created_at DESC, number DESC", (ns,))
        return readable(rows, _record)

    def ids(self, ns: str) -> set[str]:
        """Whether their records can be read or not."""
        return {row[0] for row in self._session.execute("SELECT id FROM containers WHERE ns = ?", (ns,))}

    def create(self, ns: str, container: ContainerRecord) -> None:
        """Raises AlreadyExists."""
        Namespaces(self._session).ensure(ns)
        self._write(_INSERT, ns, container)

    def put(self, ns: str, container: ContainerRecord) -> None:
        """Replace by id; raises NotFound, AlreadyExists (the new name)."""
        if not self._write(_UPDATE, ns, container):
            raise no_such_container(container.id)

    def delete(self, ns: str, container_id: str) -> None:
        """With its task; raises NotFound."""
        if not self._session.changed("DELETE FROM containers WHERE ns = ? AND id = ?", (ns, container_id)):
            raise no_such_container(container_id)

    def _by_prefix(self, ns: str, prefix: str) -> ContainerRecord:
        rows = self._session.all(
            f"{_SELECT} AND id > ? AND id < ? LIMIT 2", (ns, prefix, prefix + _AFTER_ANY_ID)
        )
        if len(rows) > 1:
            raise InvalidArgument(
                f"multiple IDs found with provided prefix: {prefix}", hint="give more digits", subject=prefix
            )
        if not rows:
            raise no_such_container(prefix)
        return _record(rows[0])

    def _write(self, sql: str, ns: str, container: ContainerRecord) -> int:
        try:
            return self._session.changed(sql, _values(ns, container))
        except sqlite3.IntegrityError as error:
            raise self._taken(ns, container) from error

    def _taken(self, ns: str, container: ContainerRecord) -> AlreadyExists:
        row = self._session.one(
            "SELECT id FROM containers WHERE ns = ? AND name = ? AND name <> ''", (ns, container.name)
        )
        if row is None or row[0] == container.id:
            return AlreadyExists(f"container {container.id} already exists", subject=container.id)
        return AlreadyExists(
            f'Conflict. The container name "/{container.name}" is already in use by container "{row[0]}".'
            " You have to remove (or rename) that container to be able to reuse that name.",
            subject=container.name,
            details={"container_id": row[0]},
        )


def no_such_container(reference: str) -> NotFound:
    """Docker's words for a container that is not there."""
    return NotFound(f"No such container: {reference}", subject=reference)


def _values(ns: str, container: ContainerRecord) -> tuple[Value, ...]:
    return (
        container.name,
        container.image_digest,
        container.snapshotter,
        container.snapshot_key,
        container.created_at,
        container.model_dump_json(),
        ns,
        container.id,
    )


def _record(row: tuple[str]) -> ContainerRecord:
    return _parse(row[0])


@lru_cache(maxsize=1024)
def _parse(text: str) -> ContainerRecord:
    """Parsing is what a listing costs. A record never changes (a change makes another text), so it can be shared."""
    return load_record(ContainerRecord, text)
