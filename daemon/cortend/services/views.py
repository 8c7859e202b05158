"""A container together with what it is doing."""

from __future__ import annotations

from typing import NamedTuple

from corten_shared.models.container import ContainerRecord, Phase
from corten_shared.models.network import Endpoint
from corten_shared.models.task import TaskRecord, TaskStatus
from cortend.core.metadata import Transaction


class ContainerView(NamedTuple):
    """One consistent look at a container: its record, its last task, its place on the network."""

    ns: str
    record: ContainerRecord
    task: TaskRecord | None
    endpoint: Endpoint | None
    restarting: bool = False

    @property
    def running(self) -> bool:
        """Whether its process exists (running or paused)."""
        return self.task is not None and self.task.status in (TaskStatus.RUNNING, TaskStatus.PAUSED)

    @property
    def health(self) -> str:
        """Docker's word: none (without a check), starting, healthy, unhealthy."""
        return (self.task.health if self.task is not None else "") or "none"

    @property
    def status(self) -> str:
        """Docker's word: created, running, paused, restarting, removing, exited."""
        if self.record.phase is Phase.REMOVING:
            return "removing"
        if self.task is None:
            return "created"
        if self.task.status is TaskStatus.STOPPED:
            return "restarting" if self.restarting else ("exited" if self.task.started_at else "created")
        return {TaskStatus.RUNNING: "running", TaskStatus.PAUSED: "paused"}.get(self.task.status, "created")


def view_of(tx: Transaction, ns: str, record: ContainerRecord, restarting: bool = False) -> ContainerView:
    """The view of one container within a transaction."""
    return ContainerView(
        ns, record, tx.tasks.find(ns, record.id), tx.endpoints.find(ns, record.id), restarting
    )


def views_of(tx: Transaction, ns: str, restarting: frozenset[str] = frozenset()) -> list[ContainerView]:
    """Every ready container of a namespace, newest first, in three queries."""
    tasks = {task.container_id: task for task in tx.tasks.list(ns)}
    endpoints = {e.container_id: e for owner, e in tx.endpoints.list() if owner == ns}
    return [
        ContainerView(ns, record, tasks.get(record.id), endpoints.get(record.id), record.id in restarting)
        for record in tx.containers.list(ns)
        if record.phase is not Phase.CREATING
    ]
