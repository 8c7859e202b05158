"""Further processes in running containers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re

from corten_shared import times
from corten_shared.errors import AlreadyExists, Conflict, CortenError, InvalidArgument, NotFound
from corten_shared.models.task import ExecRecord
from cortend.core.metadata import Metadata
from cortend.core.runtime import IO, Attachment, Handle, TaskKey, TaskRuntime
from cortend.core.workers import Workers
from cortend.linux.process import open_same, pidfd_send_signal
from cortend.services.background import Background
from cortend.services.names import new_id
from cortend.services.observe import ContainerObserver
from cortend.services.oci_spec import SpecBuilder
from cortend.services.requests import ExecRequest
from cortend.services.signals import signal_number
from cortend.services.supervisor import event_attributes
from cortend.services.views import ContainerView

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)

log = logging.getLogger(__name__)

_KEPT_MOST = 512
"""Finished execs kept per container, so that exit codes can be read; the oldest go first."""


class ExecService:
    """Execs from create to exit code.

    Records are kept in memory, as docker keeps them: an exec belongs to the client that made it, and writing
    each down would cost every exec two commits.
    """

    def __init__(
        self,
        *,
        containers: ContainerObserver,
        metadata: Metadata,
        runtime: TaskRuntime,
        specs: SpecBuilder,
        workers: Workers,
        background: Background,
    ) -> None:
        self._containers = containers
        self._metadata = metadata
        self._runtime = runtime
        self._specs = specs
        self._workers = workers
        self._background = background
        self._records: dict[tuple[str, str], ExecRecord] = {}
        self._processes: dict[tuple[str, str], dict[str, object]] = {}
        self._running: dict[tuple[str, str], asyncio.Event] = {}

    async def create(self, ns: str, ref: str, request: ExecRequest) -> str:
        """Describe an exec; returns its id, which is the request's when that has one.

        Raises Conflict when the container does not run or is paused, AlreadyExists when the id is taken.
        """
        if not request.args:
            raise InvalidArgument("No exec command specified")
        view = await self._containers.get(ns, ref)
        self._require_running(view, ref)
        process = await self._workers.run(
            self._specs.process, TaskKey(ns, view.record.id), view.record, args=request.args, env=request.env,
            cwd=request.cwd, user=request.user, tty=request.tty, privileged=request.privileged,
        )  # fmt: skip
        if request.id:
            self._check_id(ns, request.id)
        described = {**request.model_dump(), "id": request.id or new_id()}
        record = ExecRecord(container_id=view.record.id, created_at=times.now(), **described)
        self._records[ns, record.id] = record
        self._processes[ns, record.id] = process
        self._forget_oldest(ns, record.container_id)
        return record.id

    def _check_id(self, ns: str, exec_id: str) -> None:
        if not _ID.fullmatch(exec_id):
            raise InvalidArgument(f"invalid exec id {exec_id[:80]!r}", hint="letters, digits, `_`, `.` and `-`")
        known = self._records.get((ns, exec_id))
        if known is not None and (known.running or (ns, exec_id) in self._processes):
            raise AlreadyExists(f"exec {exec_id} already exists", hint="give another id", subject=exec_id)

    @staticmethod
    def _require_running(view: ContainerView, ref: str) -> None:
        if view.status == "paused":
            raise Conflict(f"container {ref} is paused, unpause the container before exec")
        if not view.running:
            raise Conflict(f"container {view.record.id} is not running", hint=f"start it with: corten start {ref}")

    def _blame_its_end(self, view: ContainerView, error: CortenError) -> None:
        """Raise Conflict for a failure whose reason is that the container ended meanwhile."""
        if view.task is None or view.task.pid is None or not self._runtime.is_alive(view.task.pid):
            raise Conflict(f"container {view.record.id} is not running") from error

    def _forget_oldest(self, ns: str, container_id: str) -> None:
        mine = [key for key, record in self._records.items() if key[0] == ns and record.container_id == container_id]
        for key in mine[:-_KEPT_MOST]:
            if not self._records[key].running:
                del self._records[key]
                self._processes.pop(key, None)

    async def start(self, ns: str, exec_id: str, *, detach: bool) -> Attachment | None:
        """Run the exec; with streams unless `detach`. Raises Conflict when it was started before.

        When it cannot be started its exit code is kept (127, 126) and the runtime's sentence is raised.
        """
        record = await self.inspect(ns, exec_id)
        process = self._processes.pop((ns, exec_id), None)
        if process is None:
            raise Conflict(f"exec {exec_id} has already run", hint="create another one")
        view = await self._containers.get(ns, record.container_id)
        self._require_running(view, record.container_id)
        key = TaskKey(ns, record.container_id)
        io = IO(terminal=record.tty, stdin=record.open_stdin and not detach, stdin_once=True, log_path=None)
        try:
            handle, attachment = await self._runtime.exec(
                key, exec_id, process, io, attach=not detach, runtime=view.record.spec.runtime
            )
        except CortenError as error:
            self._keep(ns, record.model_copy(update={"exit_code": _failure_code(error.message)}))
            self._blame_its_end(view, error)
            raise
        self._keep(ns, record.model_copy(update={"running": True, "pid": handle.process}))
        self._running[ns, exec_id] = asyncio.Event()
        self._background.spawn(self._watch(key, exec_id, handle, view), f"exec {exec_id[:12]}")
        return attachment

    async def _watch(self, key: TaskKey, exec_id: str, handle: Handle, view: ContainerView) -> None:
        try:
            ended = await self._runtime.wait_exec(key, exec_id, handle)
            record = self._records.get((key.ns, exec_id))
            if record is not None:
                self._keep(key.ns, record.model_copy(update={"running": False, "exit_code": ended.code}))
        finally:
            self._running.pop((key.ns, exec_id)).set()
        await self._workers.run(self._emit_end, key, exec_id, ended.code, view)

    def _emit_end(self, key: TaskKey, exec_id: str, code: int, view: ContainerView) -> None:
        facts = {**event_attributes(view.record), "execID": exec_id, "exit_code": str(code)}
        with self._metadata.update() as tx:
            tx.emit(key.ns, "/tasks/exec-exit", key.id, facts)

    def _keep(self, ns: str, record: ExecRecord) -> None:
        self._records[ns, record.id] = record

    async def wait(self, ns: str, exec_id: str) -> None:
        """Return once the exec's end is on record, or at once when it does not run.

        Its output may end first: who reads the exit code right after the last byte has to wait in between.
        """
        if (running := self._running.get((ns, exec_id))) is not None:
            await running.wait()

    async def end(self, ns: str, exec_id: str) -> None:
        """Kill the exec's process, if it runs, and wait for its end."""
        record = self._records.get((ns, exec_id))
        if record is not None and record.running:
            with contextlib.suppress(NotFound):
                await self._runtime.kill(TaskKey(ns, record.container_id), 9, exec_id=exec_id)
            await self.wait(ns, exec_id)

    async def inspect(self, ns: str, exec_id: str) -> ExecRecord:
        """The exec as it is now. Raises NotFound."""
        record = self._records.get((ns, exec_id))
        if record is None:
            raise NotFound(f"No such exec instance: {exec_id[:80]}", subject=exec_id)
        return record

    def of_container(self, ns: str, container_id: str) -> list[str]:
        """Ids of the container's execs that run."""
        return [
            exec_id
            for (owner, exec_id), record in self._records.items()
            if owner == ns and record.container_id == container_id and record.running
        ]

    async def kill(self, ns: str, exec_id: str, signal: str) -> None:
        """Send a signal to the exec's process. Raises NotFound, Conflict when it does not run."""
        number = signal_number(signal)
        record = await self.inspect(ns, exec_id)
        held = open_same(record.pid.pid, record.pid.start) if record.running and record.pid else None
        if held is None:
            raise Conflict(f"exec {exec_id} is not running", subject=exec_id)
        try:
            pidfd_send_signal(held, number)
        except ProcessLookupError:
            raise Conflict(f"exec {exec_id} is not running", subject=exec_id) from None
        finally:
            os.close(held)

    async def delete(self, ns: str, exec_id: str) -> ExecRecord:
        """Forget an exec that does not run; what it was. Raises NotFound, Conflict while it runs."""
        record = await self.inspect(ns, exec_id)
        if record.running:
            raise Conflict(f"exec {exec_id} is running", hint="kill it first", subject=exec_id)
        self._records.pop((ns, exec_id), None)
        self._processes.pop((ns, exec_id), None)
        return record

    def records(self, ns: str, container_id: str) -> list[ExecRecord]:
        """The container's execs, running and ended."""
        return [r for (owner, _), r in self._records.items() if owner == ns and r.container_id == container_id]

    async def resize(self, ns: str, exec_id: str, width: int, height: int) -> None:
        """Set the size of the exec's terminal, in characters."""
        record = await self.inspect(ns, exec_id)
        if not record.running:
            raise Conflict(f"exec {exec_id[:12]} is not running")
        await self._runtime.resize(TaskKey(ns, record.container_id), width, height, exec_id)

    def forget(self, ns: str, container_id: str) -> None:
        """Drop the execs of a container that is gone."""
        for key in [k for k, record in self._records.items() if k[0] == ns and record.container_id == container_id]:
            del self._records[key]
            self._processes.pop(key, None)


def _failure_code(message: str) -> int:
    lowered = message.lower()
    if "permission denied" in lowered:
        return 126
    return 127 if "not found" in lowered or "no such file" in lowered else 126
