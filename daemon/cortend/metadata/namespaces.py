"""Rows of namespaces."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Mapping

from corten_shared.errors import AlreadyExists, Conflict, DataLoss, InvalidArgument, NotFound
from corten_shared.models.namespace import Namespace
from cortend.metadata.session import Session, dump_labels, load_labels, merge_labels

log = logging.getLogger(__name__)

DEFAULT = "default"
"""The namespace of docker's API; always there."""

_NAME = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*\Z")
_MAX_NAME = 76
_CONTENTS = ("images", "containers", "leases", "content", "snapshots")


def check_namespace(name: str) -> str:
    """`name` itself when it follows containerd's identifier grammar (pkg/identifiers); raises InvalidArgument.

    It becomes part of paths, so everything that names a namespace passes here.
    """
    if len(name) > _MAX_NAME or not _NAME.match(name):
        raise InvalidArgument(
            f"invalid namespace name {name[:80]!r}",
            hint=f"letters and digits, separated by single '.', '_' or '-', at most {_MAX_NAME} characters",
        )
    return name


class Namespaces:
    """core.metadata.NamespaceStore."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, name: str) -> Namespace:
        """Raises NotFound."""
        row = self._session.one("SELECT name, labels, created_at FROM namespaces WHERE name = ?", (name,))
        if row is None:
            raise NotFound(f"No such namespace: {name}", hint="cortenctl namespaces ls", subject=name)
        return _record(row)

    def list(self) -> list[Namespace]:
        """By name."""
        rows = self._session.all("SELECT name, labels, created_at FROM namespaces ORDER BY name")
        return [_record(row) for row in rows]

    def create(self, namespace: Namespace) -> None:
        """Raises AlreadyExists, InvalidArgument."""
        values = (check_namespace(namespace.name), dump_labels(namespace.labels), namespace.created_at)
        try:
            self._session.execute("INSERT INTO namespaces (name, labels, created_at) VALUES (?, ?, ?)", values)
        except sqlite3.IntegrityError as error:
            raise AlreadyExists(f"namespace {namespace.name} already exists", subject=namespace.name) from error

    def ensure(self, name: str) -> None:
        """Create it when missing; raises InvalidArgument."""
        self._session.execute(
            "INSERT INTO namespaces (name, created_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (check_namespace(name), self._session.now()),
        )

    def update(self, name: str, labels: dict[str, str | None]) -> Namespace:
        """Set labels; None removes one."""
        kept = dump_labels(self.get(name).labels)
        self._session.execute("UPDATE namespaces SET labels = ? WHERE name = ?", (merge_labels(kept, labels), name))
        return self.get(name)

    def delete(self, name: str, others: Mapping[str, int] | None = None) -> None:
        """Raises NotFound; Conflict while it holds anything, and for `default`."""
        self.get(name)
        if name == DEFAULT:
            raise Conflict("namespace default cannot be removed", subject=name)
        left = {**self._left(name), **{word: count for word, count in (others or {}).items() if count}}
        if left:
            listed = ", ".join(f"{count} {word}" for word, count in left.items())
            raise Conflict(
                f"namespace {name} is not empty: it has {listed}",
                hint=f"remove them first; `cortenctl -n {name} {next(iter(left))} ls` lists them",
                subject=name,
                details={"left": left},
            )
        self._session.execute("DELETE FROM namespaces WHERE name = ?", (name,))

    def _left(self, name: str) -> dict[str, int]:
        counts = {
            table: self._session.one(f"SELECT count(*) FROM {table} WHERE ns = ?", (name,))[0]  # noqa: S608 - a constant
            for table in _CONTENTS
        }
        return {table: count for table, count in counts.items() if count}


def _record(row: tuple[str, str, int]) -> Namespace:
    name, text, created_at = row
    try:
        labels = load_labels(text)
    except DataLoss as error:  # a namespace that is left out would take what is in it along
        log.error("namespace %s: %s", name, error.message)
        labels = {}
    return Namespace(name=name, labels=labels, created_at=created_at)
