"""Health checks: a command that is run in a container now and then, and what its exit codes make of the container.

`health_check` has the rules. A check that takes longer than its timeout is killed and counts as a failure with exit
code -1; a container that has ended is `unhealthy`, as docker's are.

A status is kept with the task, so it outlives the daemon; the last probes are in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from corten_shared import times
from corten_shared.errors import Conflict, CortenError, NotFound
from corten_shared.models.container import ContainerRecord
from corten_shared.models.task import Health, HealthProbe, TaskRecord
from cortend.core.metadata import Metadata
from cortend.core.runtime import Attachment, TaskKey
from cortend.core.workers import Workers
from cortend.services.background import Background
from cortend.services.exec import ExecService
from cortend.services.health_check import OUTPUT, STARTING, UNHEALTHY, Check, Tally, check_of
from cortend.services.requests import ExecRequest
from cortend.services.supervisor import event_attributes

log = logging.getLogger(__name__)

class HealthMonitor:
    """Probes running containers; a follower of the supervisor's tasks. One per daemon, on its event loop."""

    def __init__(
        self,
        *,
        metadata: Metadata,
        execs: ExecService,
        workers: Workers,
        remedies: Mapping[str, Callable[[TaskKey], Coroutine[Any, Any, None]]],
    ) -> None:
        self._metadata = metadata
        self._execs = execs
        self._workers = workers
        self._remedies = remedies
        self._tallies: dict[TaskKey, Tally] = {}
        self._probing: dict[TaskKey, asyncio.Task[None]] = {}
        self._background = Background()

    def add(self, key: TaskKey, record: ContainerRecord) -> None:
        """The container runs."""
        check = check_of(record.spec)
        if check is None:
            return
        tally = self._tallies[key] = Tally()
        self._probing[key] = self._background.spawn(
            self._watch(key, record, check, tally), f"health of {key.ns}/{key.id[:12]}"
        )

    async def discard(self, key: TaskKey) -> None:
        """The container has ended."""
        probing = self._probing.pop(key, None)
        if probing is not None:
            probing.cancel()
            self._tallies[key].status = UNHEALTHY

    def forget(self, key: TaskKey) -> None:
        """The container is gone."""
        self._tallies.pop(key, None)

    def of(self, key: TaskKey, record: ContainerRecord, task: TaskRecord | None) -> Health | None:
        """A container's health as inspect shows it; None without a check, or when it never ran."""
        if task is None or not task.health or check_of(record.spec) is None:
            return None
        tally = self._tallies.get(key)
        if tally is None:
            return Health(status=task.health)
        return Health(status=task.health, failing_streak=tally.streak, log=list(tally.probes))

    async def close(self) -> None:
        """Stop probing."""
        await self._background.cancel()

    async def _watch(self, key: TaskKey, record: ContainerRecord, check: Check, tally: Tally) -> None:
        task = await self._workers.run(self._task, key)
        tally.status = task.health or STARTING
        while True:
            await asyncio.sleep(tally.pause(check, times.now() - task.started_at) / 1e9)
            probe = await self._probe(key, check)
            if probe is not None and tally.count(probe, check, task.started_at):
                await self._changed(key, record, check, tally.status)

    def _task(self, key: TaskKey) -> TaskRecord:
        with self._metadata.view() as tx:
            return tx.tasks.get(key.ns, key.id)

    async def _changed(self, key: TaskKey, record: ContainerRecord, check: Check, status: str) -> None:
        await self._workers.run(self._record, key, record, status)
        remedy = self._remedies.get(check.on_failure)
        if status == UNHEALTHY and remedy is not None:
            log.warning("container %s is unhealthy: %s", record.name, check.on_failure)
            # Beside this task, which the container's end cancels.
            self._background.spawn(remedy(key), f"{check.on_failure} unhealthy {key.ns}/{key.id[:12]}")

    def _record(self, key: TaskKey, record: ContainerRecord, status: str) -> None:
        with contextlib.suppress(NotFound), self._metadata.update() as tx:
            task = tx.tasks.get(key.ns, key.id)
            tx.tasks.put(key.ns, task.model_copy(update={"health": status}))
            attributes = {**event_attributes(record), "action": f"health_status: {status}"}
            tx.emit(key.ns, "/containers/health", key.id, attributes)

    # -- one probe --------------------------------------------------------------------------------------------------

    async def _probe(self, key: TaskKey, check: Check) -> HealthProbe | None:
        """Run the check; None when the container is paused or has ended, which says nothing about its health."""
        start = times.now()
        output = bytearray()
        exec_id = ""
        try:
            exec_id = await self._execs.create(key.ns, key.id, ExecRequest(args=check.args))
            async with asyncio.timeout(check.timeout / 1e9):
                await self._run(key, exec_id, output)
            code = (await self._execs.inspect(key.ns, exec_id)).exit_code
        except TimeoutError:
            await self._execs.end(key.ns, exec_id)
            text = f"Health check exceeded timeout ({_duration(check.timeout)})"
            return HealthProbe(start=start, end=times.now(), exit_code=-1, output=_joined(output, text))
        except (Conflict, NotFound):
            return None
        except CortenError as error:
            return HealthProbe(start=start, end=times.now(), exit_code=-1, output=error.message[:OUTPUT])
        text = bytes(output[:OUTPUT]).decode("utf-8", "replace") + ("..." if len(output) > OUTPUT else "")
        return HealthProbe(start=start, end=times.now(), exit_code=-1 if code is None else code, output=text)

    async def _run(self, key: TaskKey, exec_id: str, output: bytearray) -> None:
        attachment: Attachment | None = await self._execs.start(key.ns, exec_id, detach=False)
        assert attachment is not None
        try:
            async for chunk in attachment:
                if len(output) <= OUTPUT:
                    output += chunk.data[: OUTPUT + 1 - len(output)]
            await self._execs.wait(key.ns, exec_id)
        finally:
            await attachment.close()


def _joined(output: bytearray, text: str) -> str:
    said = bytes(output[:OUTPUT]).decode("utf-8", "replace")
    return f"{text}: {said}" if said else text


def _duration(ns: int) -> str:
    """As Go writes a duration of whole milliseconds: `1.5s`, `1m30s`, `300ms`."""
    if ns < 1_000_000_000:
        return f"{ns / 1e6:g}ms"
    minutes, seconds = divmod(ns / 1e9, 60)
    hours, minutes = divmod(int(minutes), 60)
    head = (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "")
    return f"{head}{seconds:g}s"
