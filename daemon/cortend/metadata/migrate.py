"""Bringing a database file to this program's schema: forward only, each step in a transaction of its own."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from corten_shared.errors import Conflict

log = logging.getLogger(__name__)

APPLICATION_ID = 0x636F7274
"""`cort`: marks the file as ours (PRAGMA application_id), so that another program's database is not migrated."""


def steps() -> list[str]:
    """The text of every `migrations/000N_*.sql`, in order: step N takes a file of version N-1 to N."""
    return [path.read_text() for path in sorted(Path(__file__).with_name("migrations").glob("*.sql"))]


def migrate(connection: sqlite3.Connection, name: str) -> None:
    """Run the steps that the file called `name` lacks. Raises Conflict for a newer file, or one of another program."""
    version = _pragma(connection, "user_version")
    scripts = steps()
    if version > len(scripts):
        raise Conflict(
            f"{name} was written by a newer corten (schema {version}; this one knows {len(scripts)})",
            hint="start the newer version; a store is never taken back",
            subject=name,
        )
    if _pragma(connection, "application_id") != APPLICATION_ID and not _is_empty(connection):
        raise Conflict(f"{name} is a database of another program", hint="set another data root", subject=name)
    for number, script in enumerate(scripts[version:], start=version + 1):
        _run(connection, script, number)
        log.info("metadata schema migrated", extra={"fields": {"database": name, "version": number}})


def _run(connection: sqlite3.Connection, script: str, number: int) -> None:
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{script}\n"
            f"PRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {number};\nCOMMIT;"
        )
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _is_empty(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
