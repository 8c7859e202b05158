"""What SQLite's errors mean to whoever runs the daemon."""

from __future__ import annotations

import sqlite3

from corten_shared.errors import CortenError, DataLoss, Internal, ResourceExhausted, Unavailable

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def explain(error: sqlite3.Error, name: str) -> CortenError:
    """The taxonomy error for `error` of the database file `name` (https://www.sqlite.org/rescode.html)."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the low byte is the primary code
    if code in _DAMAGED:
        return damaged(name, str(error))
    if code == sqlite3.SQLITE_FULL:
        return ResourceExhausted(
            f"no space left on device while writing {name}", hint="free some space and try again", subject=name
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(
            f"{name} is locked by another process", hint="is a second daemon using this data root?", subject=name
        )
    return Internal(f"metadata {name}: {error}", subject=name)


def damaged(name: str, what: str) -> DataLoss:
    """The database is not whole."""
    return DataLoss(
        f"metadata {name} is damaged: {what}",
        hint="restore the file from a backup, or move it away to start with an empty store",
        subject=name,
    )
