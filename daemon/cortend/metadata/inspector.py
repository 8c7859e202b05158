"""The database looked at row by row, for the check of the store: what the stores would refuse to read is shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from corten_shared.errors import CortenError
from corten_shared.models.container import ContainerRecord
from corten_shared.models.network import Endpoint
from corten_shared.models.oci import Descriptor
from corten_shared.models.task import TaskRecord
from cortend.core.check import BlobRow, DanglingRow, TornRow
from cortend.metadata.db import Database
from cortend.metadata.session import Session

Reader = Callable[[str], object]


class _Column(NamedTuple):
    """A column of JSON: its table, the columns that name a row (the last one is shown), and who can read it."""

    table: str
    key: tuple[str, ...]
    column: str
    read: Reader


def _labels(text: str) -> object:
    value = json.loads(text)
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError("not an object of strings")
    return value


def _model(model: type[BaseModel]) -> Reader:
    return model.model_validate_json


_COLUMNS = (
    _Column("namespaces", ("name",), "labels", _labels),
    _Column("images", ("ns", "name"), "labels", _labels),
    _Column("images", ("ns", "name"), "target", _model(Descriptor)),
    _Column("content", ("ns", "digest"), "labels", _labels),
    _Column("snapshots", ("snapshotter", "sid", "ns", "name"), "labels", _labels),
    _Column("leases", ("ns", "id"), "labels", _labels),
    _Column("containers", ("ns", "id"), "record", _model(ContainerRecord)),
    _Column("tasks", ("ns", "container_id"), "record", _model(TaskRecord)),
    _Column("endpoints", ("ns", "container_id"), "record", _model(Endpoint)),
    _Column("events", ("ns", "seq"), "attributes", _labels),
)
_OWNED = (
    ("tasks", "container_id", "containers", "t.ns = o.ns AND t.container_id = o.id"),
    ("lease_resources", "lease", "leases", "t.ns = o.ns AND t.lease = o.id"),
    *((table, name, "namespaces", "t.ns = o.name") for table, name in (
        ("images", "name"), ("containers", "id"), ("leases", "id"), ("content", "digest"), ("snapshots", "name"),
    )),
)  # fmt: skip


class DatabaseInspector:
    """core.check.StoreInspector."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def integrity(self) -> list[str]:
        """At most a hundred lines."""
        with self._database.view() as tx:
            found = [str(row[0]) for row in tx.session.all("PRAGMA integrity_check(100)")]
        return [] if found == ["ok"] else found

    def rebuild_indexes(self) -> None:
        """REINDEX."""
        with self._database.update() as tx:
            tx.session.execute("REINDEX")

    def count(self) -> int:
        """Of the tables that a check reads."""
        with self._database.view() as tx:
            tables = {column.table for column in _COLUMNS}
            counts = [tx.session.one(f"SELECT count(*) FROM {table}")[0] for table in tables]  # noqa: S608 - constants
        return sum(counts)

    def torn(self) -> list[TornRow]:
        """Column by column."""
        with self._database.view() as tx:
            return [row for column in _COLUMNS for row in _torn(tx.session, column)]

    def dangling(self) -> list[DanglingRow]:
        """Table by table."""
        found: list[DanglingRow] = []
        with self._database.view() as tx:
            for table, name, owner, on in _OWNED:
                rows = tx.session.all(
                    f"SELECT DISTINCT t.ns, t.{name} FROM {table} t WHERE NOT EXISTS"  # noqa: S608 - constants
                    f" (SELECT 1 FROM {owner} o WHERE {on})"
                )
                found += [DanglingRow(table, ns, str(value), owner) for ns, value in rows]
        return found

    def write(self, row: TornRow, text: str) -> None:
        """One row."""
        where, values = _where(row)
        with self._database.update() as tx:
            tx.session.execute(f"UPDATE {row.table} SET {row.column} = ? WHERE {where}", (text, *values))  # noqa: S608

    def drop(self, row: TornRow | DanglingRow) -> None:
        """A row in no namespace that there is has the namespace made instead: it may be anybody's."""
        with self._database.update() as tx:
            if isinstance(row, TornRow):
                where, values = _where(row)
                tx.session.execute(f"DELETE FROM {row.table} WHERE {where}", values)  # noqa: S608
            elif row.wanted == "namespaces":
                tx.session.execute(
                    "INSERT INTO namespaces (name, created_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
                    (row.ns, tx.session.now()),
                )
            else:
                name = next(name for table, name, _, _ in _OWNED if table == row.table)
                tx.session.execute(
                    f"DELETE FROM {row.table} WHERE ns = ? AND {name} = ?",  # noqa: S608 - constants
                    (row.ns, row.name),
                )

    def blobs(self) -> list[BlobRow]:
        """By digest."""
        with self._database.view() as tx:
            rows = tx.session.all("SELECT ns, digest, size FROM content ORDER BY digest, ns")
        return [BlobRow(*row) for row in rows]

    def set_size(self, ns: str, digest: str, size: int) -> None:
        """One row."""
        with self._database.update() as tx:
            tx.session.execute("UPDATE content SET size = ? WHERE ns = ? AND digest = ?", (size, ns, digest))

    def drop_blob(self, digest: str) -> None:
        """Every namespace's row."""
        with self._database.update() as tx:
            tx.session.execute("DELETE FROM content WHERE digest = ?", (digest,))

    def targets(self) -> list[tuple[str, str, str, str]]:
        """Rows whose target cannot be read are left to `torn`."""
        with self._database.view() as tx:
            rows = tx.session.all(
                "SELECT ns, name, digest, json_extract(target, '$.digest') FROM images WHERE json_valid(target)"
            )
        return [(ns, name, digest, target) for ns, name, digest, target in rows if target and target != digest]

    def set_target(self, ns: str, name: str, digest: str) -> None:
        """One row."""
        with self._database.update() as tx:
            tx.session.execute("UPDATE images SET digest = ? WHERE ns = ? AND name = ?", (digest, ns, name))


def _torn(session: Session, column: _Column) -> Iterator[TornRow]:
    cursor = session.execute(f"SELECT * FROM {column.table}")  # noqa: S608 - a constant
    names = [description[0] for description in cursor.description]
    for row in cursor:
        facts = dict(zip(names, row, strict=True))
        text = facts.pop(column.column)
        try:
            column.read(text)
        except (ValueError, ValidationError, CortenError, RecursionError) as error:
            name = str(facts[column.key[-1]])
            why = str(error).partition("\n")[0][:120]
            yield TornRow(column.table, str(facts.get("ns") or name), name, column.column, why, facts)


def _where(row: TornRow) -> tuple[str, tuple[str | int | None, ...]]:
    """By the columns that name the row; none of them is ever NULL."""
    key = next(column.key for column in _COLUMNS if (column.table, column.column) == (row.table, row.column))
    return " AND ".join(f"{name} = ?" for name in key), tuple(row.facts[name] for name in key)
