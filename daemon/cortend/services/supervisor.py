"""Watching running tasks: their exit is recorded, told, cleaned up after, and answered by the restart policy.

One watcher per running task awaits conmon's end. What is recorded first is what a user can see
(exit code, event, removal of a `--rm` container), in one transaction; those who wait are told
next; the teardown of mounts and network comes last.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from corten_shared import times
from corten_shared.errors import CortenError, NotFound, ResourceExhausted
from corten_shared.models.container import ContainerRecord, RestartPolicy
from corten_shared.models.postmortem import Postmortem
from corten_shared.models.task import TaskRecord, TaskStatus
from cortend.core.metadata import Metadata, Transaction
from cortend.core.runtime import Exit, Handle, TaskKey, TaskRuntime
from cortend.core.workers import Workers
from cortend.services.background import Background
from cortend.services.container_logs import ContainerLogs
from cortend.services.health_check import STARTING, UNHEALTHY, check_of
from cortend.services.launch import Launcher
from cortend.services.locks import Locks
from cortend.services.postmortem import postmortem_of
from cortend.services.requests import WaitResult
from cortend.services.settings import ContainerSettings
from cortend.services.streams import PendingAttachments
from cortend.services.waiters import Waiters

log = logging.getLogger(__name__)

_BACKOFF_FIRST = 0.1
_BACKOFF_MOST = 60.0
_RECORD_AGAIN = 1.0
"""Seconds until an exit is recorded that a full disk kept from it."""
_HEALTHY_NS = 10_000_000_000
"""docker's figures: restarts begin at 100 ms and double up to a minute; a run of 10 s starts over."""


class Reaper(Protocol):
    """What removes a container whose rows are gone (services.containers)."""

    async def release(self, key: TaskKey, record: ContainerRecord) -> None:
        """Remove the anonymous volumes of a container that has no rows any more."""
        ...

    async def dispose(self, key: TaskKey, record: ContainerRecord) -> None:
        """Free the snapshot and files of a container that has no rows any more."""
        ...


class Follower(Protocol):
    """Does something for containers while they run."""

    def add(self, key: TaskKey, record: ContainerRecord) -> None:
        """It runs, or is found running when the daemon starts."""
        ...

    async def discard(self, key: TaskKey) -> None:
        """It has ended. Idempotent."""
        ...

    def forget(self, key: TaskKey) -> None:
        """It was removed."""
        ...


class Supervisor:
    """Starts and watches tasks. One per daemon, on its event loop."""

    def __init__(
        self,
        *,
        settings: ContainerSettings,
        metadata: Metadata,
        runtime: TaskRuntime,
        launcher: Launcher,
        logs: ContainerLogs,
        workers: Workers,
        boot_id: str,
    ) -> None:
        self.locks = Locks()
        self.waiters = Waiters()
        self.pending = PendingAttachments()
        self.background = Background()
        self.reaper: Reaper | None = None
        self._settings = settings
        self._metadata = metadata
        self._runtime = runtime
        self._launcher = launcher
        self._logs = logs
        self.followers: list[Follower] = [logs]
        self._workers = workers
        self._boot_id = boot_id
        self._stopping: set[TaskKey] = set()
        self._restarts: dict[TaskKey, asyncio.Task[None]] = {}
        self._delays: dict[TaskKey, float] = {}
        self._closing = False

    # -- start ------------------------------------------------------------------------------------------------------

    async def start(self, key: TaskKey, record: ContainerRecord, *, restarts: int = 0) -> None:
        """Create and start the container's process and watch it. The caller holds the container's lock.

        The row that says so is written after the process was let run: a crash before it leaves a bundle that no
        row calls running, which recovery clears; nobody was told yet that it runs.
        """
        self._stopping.discard(key)
        try:
            await self._logs.before_start(record)
            handle, _ = await self._launcher.create(key, record)
        except CortenError as error:
            self.pending.end(key)
            await self._workers.run(self._record_failure, key, record, error.message)
            raise
        try:
            await self.pending.bind(key, self._runtime)
            started_at = times.now()
            await self._runtime.start(key)
            await self._workers.run(self._record_start, key, record, handle, started_at, restarts)
        except BaseException as error:
            self.pending.end(key)
            await asyncio.shield(self._launcher.tear_down(key, record.spec.runtime))
            await asyncio.shield(self._workers.run(self._record_failure, key, record, str(error)))
            raise
        self.watch(key, record, handle)

    def _record_start(
        self, key: TaskKey, record: ContainerRecord, handle: Handle, started_at: int, restarts: int
    ) -> None:
        task = TaskRecord(
            container_id=key.id,
            status=TaskStatus.RUNNING,
            runtime=self._runtime.resolve(record.spec.runtime).name,
            pid=handle.process,
            monitor=handle.monitor,
            started_at=started_at,
            restart_count=restarts,
            boot_id=self._boot_id,
            health=STARTING if check_of(record.spec) else "",
        )
        with self._metadata.update() as tx:
            tx.tasks.put(key.ns, task)
            tx.emit(key.ns, "/tasks/start", key.id, event_attributes(record))

    def _record_failure(self, key: TaskKey, record: ContainerRecord, error: str) -> None:
        """Keep why a start failed, as docker does: exit code 127 or 126 by the runtime's words, else 128."""
        with self._metadata.update() as tx:
            before = tx.tasks.find(key.ns, key.id)
            tx.tasks.put(
                key.ns,
                TaskRecord(
                    container_id=key.id,
                    status=TaskStatus.STOPPED,
                    exit_code=_start_failure_code(error),
                    error=error,
                    started_at=before.started_at if before and before.status is TaskStatus.STOPPED else 0,
                    finished_at=times.now(),
                    boot_id=self._boot_id,
                ),
            )

    # -- exit -------------------------------------------------------------------------------------------------------

    def watch(self, key: TaskKey, record: ContainerRecord, handle: Handle) -> None:
        """Await the task's end in the background; its followers are told of it now and then."""
        for follower in self.followers:
            follower.add(key, record)
        self.background.spawn(self._watch(key, record.spec.runtime, handle), f"watch {key.ns}/{key.id[:12]}")

    async def _watch(self, key: TaskKey, runtime: str, handle: Handle) -> None:
        ended = await self._runtime.wait(key, handle)
        while True:
            if await self._finished(key, runtime, ended):
                return
            await asyncio.sleep(_RECORD_AGAIN)

    async def _finished(self, key: TaskKey, runtime: str, ended: Exit) -> bool:
        """Record the exit, unless the daemon stops; False when the disk is full, and it has to be tried again."""
        async with self.locks.hold(key):
            if self._closing:
                return True
            try:
                await self.finish(key, runtime, ended)
            except ResourceExhausted as error:
                log.error("the exit of %s/%s waits for space: %s", key.ns, key.id[:12], error.message)
                return False
        return True

    async def finish(self, key: TaskKey, runtime: str, ended: Exit) -> None:
        """Record an exit and do what follows from it. The caller holds the container's lock."""
        try:
            record, task, removed = await self._workers.run(self._record_exit, key, ended)
        except NotFound:  # removed by force meanwhile; that path cleans up
            return
        result = WaitResult(ended.code, task.error)
        if removed:
            if self.reaper is not None:
                await self.reaper.release(key, record)
            self.waiters.removed(key, result)
        else:
            self.waiters.exited(key, result)
        for follower in self.followers:
            await follower.discard(key)
        await self._launcher.tear_down(key, runtime)
        if removed:
            self.forget(key)
            if self.reaper is not None:
                await self.reaper.dispose(key, record)
            return
        if not task.stop_requested and wants_restart(record.spec.restart, task):
            self._schedule_restart(key, task)
        else:
            self._delays.pop(key, None)

    def _record_exit(self, key: TaskKey, ended: Exit) -> tuple[ContainerRecord, TaskRecord, bool]:
        with self._metadata.update() as tx:
            record = tx.containers.get(key.ns, key.id)
            task = tx.tasks.get(key.ns, key.id)
            task = task.model_copy(
                update={
                    "status": TaskStatus.STOPPED,
                    "exit_code": ended.code,
                    "oom_killed": ended.oom_killed,
                    "finished_at": ended.finished_at,
                    "error": "its monitor (conmon) died; the exit code is unknown" if ended.lost else "",
                    "stop_requested": key in self._stopping,
                    "health": UNHEALTHY if task.health else "",
                }
            )
            attributes = event_attributes(record)
            if ended.oom_killed:
                tx.emit(key.ns, "/tasks/oom", key.id, attributes)
            duration = max(0, ended.finished_at - task.started_at) // 1_000_000_000
            facts = {**attributes, "exit_code": str(ended.code), "exec_duration": str(duration)}
            tx.emit(key.ns, "/tasks/exit", key.id, facts)
            if record.spec.auto_remove:
                delete_rows(tx, key, record, postmortem_of(self._settings, key, record, task))
                return record, task, True
            tx.tasks.put(key.ns, task)
            return record, task, False

    # -- stop and restart -------------------------------------------------------------------------------------------

    def stop_requested(self, key: TaskKey) -> None:
        """Somebody asked for this end: no policy starts it again, and a waiting restart is called off."""
        self._stopping.add(key)
        self.cancel_restart(key)

    def cancel_restart(self, key: TaskKey) -> bool:
        """Call off a waiting restart; whether there was one."""
        restart = self._restarts.pop(key, None)
        self._delays.pop(key, None)
        if restart is None:
            return False
        restart.cancel()
        return True

    def restarting(self) -> frozenset[str]:
        """Ids of containers that wait for their next start."""
        return frozenset(key.id for key in self._restarts)

    def forget(self, key: TaskKey) -> None:
        """Drop what is remembered of a container that is gone."""
        self.cancel_restart(key)
        self._stopping.discard(key)
        self.pending.end(key)
        for follower in self.followers:
            follower.forget(key)

    def _schedule_restart(self, key: TaskKey, task: TaskRecord) -> None:
        healthy = task.finished_at - task.started_at >= _HEALTHY_NS
        delay = _BACKOFF_FIRST if healthy else min(_BACKOFF_MOST, self._delays.get(key, _BACKOFF_FIRST / 2) * 2)
        self._delays[key] = delay
        self._restarts[key] = self.background.spawn(
            self._restart_later(key, delay, task.restart_count + 1), f"restart {key.ns}/{key.id[:12]}"
        )

    async def _restart_later(self, key: TaskKey, delay: float, count: int) -> None:
        await asyncio.sleep(delay)
        async with self.locks.hold(key):
            if self._restarts.pop(key, None) is None:
                return
            record = await self._workers.run(self._ready, key)
            if record is None:
                return
            try:
                await self.start(key, record, restarts=count)
            except CortenError as error:
                log.warning("restart of %s failed: %s", record.name, error.message)
                self._schedule_restart(
                    key, TaskRecord(container_id=key.id, status=TaskStatus.STOPPED, restart_count=count)
                )

    def _ready(self, key: TaskKey) -> ContainerRecord | None:
        with self._metadata.view() as tx:
            try:
                return tx.containers.get(key.ns, key.id)
            except NotFound:
                return None

    async def close(self) -> None:
        """Stop watching; containers go on."""
        self._closing = True
        for restart in self._restarts.values():
            restart.cancel()
        await self.background.cancel()


def wants_restart(policy: RestartPolicy, task: TaskRecord) -> bool:
    """Whether a policy starts a task again that ended by itself (pure)."""
    match policy.name:
        case "always" | "unless-stopped":
            return True
        case "on-failure":
            return task.exit_code != 0 and (not policy.max_retries or task.restart_count < policy.max_retries)
        case _:
            return False


def event_attributes(record: ContainerRecord) -> dict[str, str]:
    """What every event of a container carries: its labels, image and name (docker's attributes)."""
    return {**record.labels, "image": record.image, "name": record.name}


def delete_rows(tx: Transaction, key: TaskKey, record: ContainerRecord, postmortem: Postmortem) -> None:
    """Delete a container's rows and say so; its endpoint stays until its network is taken down."""
    tx.containers.delete(key.ns, key.id)
    tx.postmortems.put(key.ns, postmortem)
    tx.emit(key.ns, "/containers/delete", key.id, event_attributes(record))


def _start_failure_code(error: str) -> int:
    lowered = error.lower()
    if "executable file not found" in lowered or "no such file or directory" in lowered:
        return 127
    return 126 if "permission denied" in lowered else 128
