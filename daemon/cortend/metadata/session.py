"""What every store works on: one open transaction's connection, and how labels are kept."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from corten_shared.errors import CortenError, DataLoss, Internal, InvalidArgument

log = logging.getLogger(__name__)

M = TypeVar("M", bound=BaseModel)
R = TypeVar("R")
T = TypeVar("T")

Clock = Callable[[], int]
Value = str | int | None

MAX_LABEL = 4096
"""Bytes of a label's key and value together (containerd's limit)."""


class Session:
    """A transaction that is open; it refuses work after its end and on other threads.

    Another thread's statement would silently become part of this transaction, so this is checked
    and not only written down.
    """

    def __init__(self, connection: sqlite3.Connection, clock: Clock) -> None:
        self._connection: sqlite3.Connection | None = connection
        self._thread = threading.get_ident()
        self.now = clock

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        if self._connection is None or self._thread != threading.get_ident():
            raise Internal("a metadata transaction was used outside of its `with`, or on another thread")
        return self._connection.execute(sql, parameters)

    def one(self, sql: str, parameters: Sequence[Value] = ()) -> Any:
        """The first row, a tuple, or None."""
        return self.execute(sql, parameters).fetchone()

    def all(self, sql: str, parameters: Sequence[Value] = ()) -> list[Any]:
        """Every row."""
        return self.execute(sql, parameters).fetchall()

    def changed(self, sql: str, parameters: Sequence[Value] = ()) -> int:
        """Run a statement that writes; how many rows it changed."""
        return self.execute(sql, parameters).rowcount

    def end(self) -> None:
        """Refuse everything from now on."""
        self._connection = None


def load_labels(text: str) -> dict[str, str]:
    """Labels as they are kept. Raises DataLoss when they cannot be read."""
    if text == "{}":
        return {}
    try:
        labels = json.loads(text)
    except ValueError as error:
        raise torn(f"labels {text[:40]!r}", error) from error
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise torn(f"labels {text[:40]!r}", "they are no texts by name")
    return labels


def load_record(model: type[M], text: str) -> M:
    """A record as it is kept. Raises DataLoss when it cannot be read."""
    try:
        return model.model_validate_json(text)
    except (ValidationError, CortenError) as error:
        raise torn(f"{model.__name__} {text[:40]!r}", str(error).partition("\n")[0]) from error


def readable(rows: Iterable[R], read: Callable[[R], T]) -> list[T]:
    """What `read` makes of the rows; those that are damaged are left out, and said in the log."""
    found: list[T] = []
    for row in rows:
        try:
            found.append(read(row))
        except DataLoss as error:
            log.error("a damaged row is left out: %s", error.message)
    return found


def torn(what: str, why: object) -> DataLoss:
    """A row that cannot be read."""
    return DataLoss(f"the database has damaged {what}: {why}", hint="run: cortenctl system check --repair")


def dump_labels(labels: Mapping[str, str]) -> str:
    """Labels for keeping; raises InvalidArgument for an empty key or a label that is too long."""
    for key, value in labels.items():
        if not key or len(key.encode()) + len(value.encode()) > MAX_LABEL:
            raise InvalidArgument(
                f"invalid label {key[:60]!r}", hint=f"a key is not empty; key and value have at most {MAX_LABEL} bytes"
            )
    return json.dumps(labels, separators=(",", ":")) if labels else "{}"


def merge_labels(text: str, changes: Mapping[str, str | None]) -> str:
    """Kept labels with `changes` applied (None removes); raises as dump_labels."""
    merged: dict[str, str | None] = {**load_labels(text), **changes}
    return dump_labels({key: value for key, value in merged.items() if value is not None})
