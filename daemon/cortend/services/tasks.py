"""Forgetting a task while keeping its container."""

from __future__ import annotations

import contextlib

from corten_shared.errors import Conflict, NotFound
from corten_shared.models.task import TaskStatus
from cortend.core.metadata import Metadata
from cortend.core.workers import Workers
from cortend.services.containers import ContainerService


class TaskService:
    """What the native API does with a task that containers' own use cases do not."""

    def __init__(self, *, metadata: Metadata, workers: Workers, containers: ContainerService) -> None:
        self._metadata = metadata
        self._workers = workers
        self._containers = containers

    async def delete(self, ns: str, ref: str, *, force: bool = False) -> None:
        """Delete the record of the container's last task; `force` kills it first.

        Raises NotFound (container, or it has no task), Conflict while the task runs.
        """
        if force:
            with contextlib.suppress(Conflict):  # it does not run
                await self._containers.kill(ns, ref, "SIGKILL")
        await self._workers.run(self._delete, ns, ref)

    def _delete(self, ns: str, ref: str) -> None:
        with self._metadata.update() as tx:
            container = tx.containers.find(ns, ref)
            task = tx.tasks.find(ns, container.id)
            if task is None:
                raise NotFound(f"container {container.name} has no task", subject=container.id)
            if task.status is not TaskStatus.STOPPED:
                raise Conflict(
                    f"the task of container {container.name} is {task.status}",
                    hint="kill it first, or delete it with force",
                    subject=container.id,
                )
            tx.tasks.delete(ns, container.id)
            tx.emit(ns, "/tasks/delete", container.id)
