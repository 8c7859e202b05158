"""Rows of tasks; they go with their container."""

from __future__ import annotations

import sqlite3

from corten_shared.errors import NotFound
from corten_shared.models.task import TaskRecord
from cortend.metadata.containers import no_such_container
from cortend.metadata.session import Session, load_record, readable


class Tasks:
    """core.metadata.TaskStore."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, ns: str, container_id: str) -> TaskRecord:
        """Raises NotFound."""
        found = self.find(ns, container_id)
        if found is None:
            raise _no_such_task(container_id)
        return found

    def find(self, ns: str, container_id: str) -> TaskRecord | None:
        """None when there is none."""
        row = self._session.one("SELECT record FROM tasks WHERE ns = ? AND container_id = ?", (ns, container_id))
        return None if row is None else load_record(TaskRecord, row[0])

    def list(self, ns: str) -> list[TaskRecord]:
        """By container id."""
        rows = self._session.all("SELECT record FROM tasks WHERE ns = ? ORDER BY container_id", (ns,))
        return readable(rows, lambda row: load_record(TaskRecord, row[0]))

    def put(self, ns: str, task: TaskRecord) -> None:
        """Create or replace; raises NotFound when there is no such container."""
        try:
            self._session.execute(
                "INSERT INTO tasks (ns, container_id, record) VALUES (?, ?, ?)"
                " ON CONFLICT (ns, container_id) DO UPDATE SET record = excluded.record",
                (ns, task.container_id, task.model_dump_json()),
            )
        except sqlite3.IntegrityError as error:
            raise no_such_container(task.container_id) from error

    def delete(self, ns: str, container_id: str) -> None:
        """Raises NotFound."""
        if not self._session.changed("DELETE FROM tasks WHERE ns = ? AND container_id = ?", (ns, container_id)):
            raise _no_such_task(container_id)


def _no_such_task(container_id: str) -> NotFound:
    return NotFound(f"No such task: {container_id}", hint="the container was never started", subject=container_id)
