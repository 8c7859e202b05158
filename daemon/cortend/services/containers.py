"""Containers from create to remove.

Every operation that changes a container's state holds its lock, except `stop` and `kill`, which
only send signals: the watcher that records the exit needs the lock meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from corten_shared import times
from corten_shared.errors import AlreadyExists, Conflict, CortenError, InvalidArgument, NotFound, NotModified
from corten_shared.models.container import ContainerRecord, ContainerSpec, Resources, RestartPolicy
from corten_shared.models.oci import RunConfig
from corten_shared.models.task import TaskRecord, TaskStatus
from cortend.core.gc import FULL, ROOT
from cortend.core.metadata import Metadata
from cortend.core.runtime import TaskKey, TaskRuntime
from cortend.core.snapshots import Snapshotter
from cortend.core.workers import Workers
from cortend.services import checks
from cortend.services.container_logs import ContainerLogs
from cortend.services.images import ImageService
from cortend.services.merge import anonymous_volumes, labels_of, merge
from cortend.services.names import check_name, new_id, random_name
from cortend.services.observe import ContainerObserver
from cortend.services.oci_spec import SpecBuilder
from cortend.services.postmortem import postmortem_of
from cortend.services.requests import Created, CreateRequest, WaitCondition, WaitResult
from cortend.services.settings import ContainerSettings
from cortend.services.signals import signal_number
from cortend.services.supervisor import Supervisor, delete_rows, event_attributes
from cortend.services.views import ContainerView
from cortend.services.volumes import VolumeService

log = logging.getLogger(__name__)

_KILL_PATIENCE = 10.0
"""Seconds until a killed container must have been seen to end (docker's figure)."""


class ContainerService(ContainerObserver):
    """The use cases of containers that change something."""

    def __init__(
        self,
        *,
        settings: ContainerSettings,
        metadata: Metadata,
        snapshotters: Mapping[str, Snapshotter],
        images: ImageService,
        volumes: VolumeService,
        runtime: TaskRuntime,
        supervisor: Supervisor,
        logs: ContainerLogs,
        specs: SpecBuilder,
        workers: Workers,
        request_gc: Callable[[], None],
    ) -> None:
        super().__init__(
            settings=settings, metadata=metadata, runtime=runtime, supervisor=supervisor, workers=workers
        )
        self._snapshotters = snapshotters
        self._images = images
        self._volumes = volumes
        self._logs = logs
        self._specs = specs
        self._request_gc = request_gc
        supervisor.reaper = self

    def configure(self, *, stop_timeout: int) -> None:
        """Use another default time-out of `stop`, in seconds."""
        self._settings = replace(self._settings, stop_timeout=stop_timeout)

    # -- create -----------------------------------------------------------------------------------------------------

    async def create(self, ns: str, request: CreateRequest) -> Created:
        """Make a container: its snapshot, volumes and record. Nothing is left behind when it fails.

        Raises NotFound (image), AlreadyExists (name), InvalidArgument (whatever cannot be run as asked).
        """
        name = check_name(request.name) if request.name else ""
        if request.spec.rootfs:
            return await self._create_on_rootfs(ns, name, request)
        image = await self._images.for_container(ns, request.image, request.platform)
        spec = merge(request.spec, image.config.config)
        spec = spec.model_copy(update={"log": self._logs.checked(spec.log)})
        warnings = checks.check(spec, self._runtime)
        container_id = new_id()
        key = TaskKey(ns, container_id)
        snapshotter = request.snapshotter or self._settings.snapshotter
        record = ContainerRecord(
            id=container_id,
            name=name,
            image=request.image,
            image_name=image.name,
            image_id=image.config_digest,
            image_digest=image.manifest_digest,
            snapshotter=snapshotter,
            snapshot_key=container_id,
            labels=labels_of(request.labels, image.config.config),
            spec=spec,
            extensions=request.extensions,
            created_at=times.now(),
            updated_at=times.now(),
        )
        parent = await self._images.ensure_unpacked(ns, image, snapshotter)
        return Created(await self._workers.run(self._store_new, key, record, parent), warnings)

    async def _create_on_rootfs(self, ns: str, name: str, request: CreateRequest) -> Created:
        """A container on a directory of the host. It has an empty snapshot all the same, like any other."""
        spec = merge(request.spec, RunConfig())
        warnings = checks.check(spec, self._runtime)
        container_id = new_id()
        record = ContainerRecord(
            id=container_id,
            name=name,
            image=request.image,
            snapshotter=request.snapshotter or self._settings.snapshotter,
            snapshot_key=container_id,
            labels=request.labels,
            spec=spec,
            extensions=request.extensions,
            created_at=times.now(),
            updated_at=times.now(),
        )
        key = TaskKey(ns, container_id)
        return Created(await self._workers.run(self._store_new, key, record, ""), warnings)

    def _store_new(self, key: TaskKey, record: ContainerRecord, parent: str) -> ContainerRecord:
        snapshotter = self._snapshotters.get(record.snapshotter)
        if snapshotter is None:
            known = ", ".join(sorted(self._snapshotters))
            raise NotFound(f"No such snapshotter: {record.snapshotter[:80]}", hint=f"there are: {known}")
        with contextlib.ExitStack() as undo:
            undo.callback(self._drop_files, key)
            wanted = [*record.spec.mounts, *anonymous_volumes(record.spec)]
            mounts = self._volumes.resolve(key.ns, wanted, key.id)
            record = record.model_copy(update={"spec": record.spec.model_copy(update={"mounts": mounts})})
            undo.callback(self._volumes.remove_anonymous, key.ns, record.spec.mounts)
            self._settings.logs(*key).mkdir(mode=0o700, parents=True)
            # The row first: from here on the record keeps the snapshot from the collector.
            record = self._insert(key, record)
            undo.callback(self._drop_rows, key)
            snapshotter.prepare(key.ns, record.snapshot_key, parent)
            undo.pop_all()
        return record

    def _insert(self, key: TaskKey, record: ContainerRecord) -> ContainerRecord:
        for attempt in range(8):
            named = record if record.name else record.model_copy(update={"name": random_name()})
            try:
                with self._metadata.update() as tx:
                    tx.namespaces.ensure(key.ns)
                    tx.containers.create(key.ns, named)
                    tx.emit(key.ns, "/containers/create", key.id, event_attributes(named))
                return named
            except AlreadyExists:
                if record.name or attempt == 7:
                    raise
        raise AssertionError("unreachable")

    def _drop_rows(self, key: TaskKey) -> None:
        with contextlib.suppress(NotFound), self._metadata.update() as tx:
            tx.containers.delete(key.ns, key.id)

    def _drop_files(self, key: TaskKey) -> None:
        shutil.rmtree(self._settings.directory(*key), ignore_errors=True)

    # -- run --------------------------------------------------------------------------------------------------------

    async def start(self, ns: str, ref: str) -> None:
        """Start a container that does not run. Raises NotModified when it runs."""
        key = TaskKey(ns, (await self.get(ns, ref)).record.id)
        async with self._supervisor.locks.hold(key):
            view = await self.get(ns, key.id)
            if view.task is not None and view.task.status is TaskStatus.PAUSED:
                raise Conflict("cannot start a paused container, try unpause instead")
            if view.running:
                raise NotModified(f"container {ref} is already running")
            self._supervisor.cancel_restart(key)
            try:
                await self._supervisor.start(key, view.record)
            except CortenError:
                if view.record.spec.auto_remove:
                    await self._remove_locked(key, view.record, WaitResult(127), volumes=True)
                raise

    async def stop(self, ns: str, ref: str, *, timeout: int | None = None, signal: str | None = None) -> None:
        """Ask the process to end, and kill it after `timeout` seconds (negative: wait without end).

        Raises NotModified when it does not run.
        """
        view = await self.get(ns, ref)
        key = TaskKey(ns, view.record.id)
        called_off = self._supervisor.cancel_restart(key)
        if not view.running:
            if called_off:
                return
            raise NotModified(f"container {ref} is not running")
        spec = view.record.spec
        number = signal_number(signal or spec.stop_signal or "SIGTERM")
        patience = timeout if timeout is not None else spec.stop_timeout
        patience = self._settings.stop_timeout if patience is None else patience
        self._supervisor.stop_requested(key)
        if not await self._end(key, number, None if patience < 0 else float(patience)):
            await self._end_surely(key)
        await self._emit(key, "/tasks/stop", view.record)

    async def _end(self, key: TaskKey, signal: int, patience: float | None) -> bool:
        """Send `signal` and wait for the end; whether it came in time."""
        ended = self._supervisor.waiters.next_exit(key)
        view = await self.get(key.ns, key.id)
        if not view.running:
            return True
        with contextlib.suppress(NotFound):
            await self._runtime.kill(key, signal)
            if view.task is not None and view.task.status is TaskStatus.PAUSED:
                await self._runtime.resume(key)
        done, _ = await asyncio.wait([ended], timeout=patience)
        ended.cancel()
        return bool(done)

    async def _end_surely(self, key: TaskKey) -> None:
        if not await self._end(key, 9, _KILL_PATIENCE):
            raise CortenError(
                f"container {key.id[:12]} does not end although it was killed",
                hint="a process in it may hang in the kernel; see its processes with `corten top`",
            )

    async def restart(self, ns: str, ref: str, *, timeout: int | None = None, signal: str | None = None) -> None:
        """Stop (if it runs) and start."""
        view = await self.get(ns, ref)
        key = TaskKey(ns, view.record.id)
        if view.record.spec.auto_remove and view.running:
            await self._keep_over_restart(key, view.record, timeout, signal)
        else:
            with contextlib.suppress(NotModified):
                await self.stop(ns, key.id, timeout=timeout, signal=signal)
        with contextlib.suppress(NotModified):
            await self.start(ns, key.id)
        await self._emit(key, "/tasks/restart", view.record)

    async def _keep_over_restart(
        self, key: TaskKey, record: ContainerRecord, timeout: int | None, signal: str | None
    ) -> None:
        """Stop a `--rm` container without its being removed."""
        kept = record.model_copy(update={"spec": record.spec.model_copy(update={"auto_remove": False})})
        await self._put(key, kept)
        try:
            await self.stop(key.ns, key.id, timeout=timeout, signal=signal)
        finally:
            await self._put(key, record)

    async def _put(self, key: TaskKey, record: ContainerRecord) -> None:
        def write() -> None:
            with self._metadata.update() as tx:
                tx.containers.put(key.ns, record)

        await self._workers.run(write)

    async def kill(self, ns: str, ref: str, signal: str = "SIGKILL", *, all: bool = False) -> None:
        """Send a signal to the container's init, or to every process. Raises Conflict when it does not run."""
        view = await self.get(ns, ref)
        key = TaskKey(ns, view.record.id)
        number = signal_number(signal or "SIGKILL")
        if not view.running:
            raise Conflict(f"cannot kill container: {ref}: container {view.record.id} is not running")
        if number in (9, 15):
            self._supervisor.stop_requested(key)
        await self._send(key, number, view, all=all)
        if number == 9:
            ended = self._supervisor.waiters.next_exit(key)
            if (await self.get(ns, key.id)).running:
                await asyncio.wait([ended], timeout=_KILL_PATIENCE)

    async def _send(self, key: TaskKey, number: int, view: ContainerView, *, all: bool = False) -> None:
        try:
            await self._runtime.kill(key, number, all=all)
            if number == 9 and view.task is not None and view.task.status is TaskStatus.PAUSED:
                await self._runtime.resume(key)
        except NotFound:
            raise Conflict(
                f"cannot kill container: {view.record.name}: container {key.id} is not running"
            ) from None
        with contextlib.suppress(NotFound):
            await self._emit(key, "/tasks/kill", view.record, signal=str(number))

    async def pause(self, ns: str, ref: str) -> None:
        """Freeze every process. Raises Conflict when it does not run or is paused."""
        await self._freeze(ns, ref, TaskStatus.PAUSED)

    async def unpause(self, ns: str, ref: str) -> None:
        """Thaw. Raises Conflict when it is not paused."""
        await self._freeze(ns, ref, TaskStatus.RUNNING)

    async def _freeze(self, ns: str, ref: str, wanted: TaskStatus) -> None:
        key = TaskKey(ns, (await self.get(ns, ref)).record.id)
        async with self._supervisor.locks.hold(key):
            view = await self.get(ns, key.id)
            pausing = wanted is TaskStatus.PAUSED
            if view.task is None or not view.running:
                raise Conflict(f"container {key.id} is not running")
            if view.task.status is wanted:
                raise Conflict(f"container {ref} is {'already' if pausing else 'not'} paused")
            await self.freeze(view, wanted)

    async def freeze(self, view: ContainerView, wanted: TaskStatus, *, held: bool = False) -> None:
        """Pause or resume a container that is not so yet. The caller holds its lock.

        `held`: it will be resumed soon; a daemon that is killed before does it when it starts again.
        """
        key, pausing = TaskKey(view.ns, view.record.id), wanted is TaskStatus.PAUSED
        if view.task is None:
            raise Conflict(f"container {key.id} is not running")
        task = view.task.model_copy(update={"status": wanted, "held": held})
        topic = "/tasks/paused" if pausing else "/tasks/resumed"
        if held:  # first the row: frozen without it, the container would stay so
            await self._workers.run(self._put_task, key, task, topic, view.record)
        await (self._runtime.pause(key) if pausing else self._runtime.resume(key))
        if not held:
            await self._workers.run(self._put_task, key, task, topic, view.record)

    def _put_task(self, key: TaskKey, task: TaskRecord, topic: str, record: ContainerRecord) -> None:
        with self._metadata.update() as tx:
            tx.tasks.put(key.ns, task)
            tx.emit(key.ns, topic, key.id, event_attributes(record))

    async def waiter(self, ns: str, ref: str, condition: WaitCondition = "not-running") -> Awaitable[WaitResult]:
        """Register a wait and return what to await. Raises NotFound, InvalidArgument."""
        view = await self.get(ns, ref)
        key = TaskKey(ns, view.record.id)
        match condition:
            case "next-exit":
                return self._supervisor.waiters.next_exit(key)
            case "removed":
                return self._supervisor.waiters.removal(key)
            case "not-running":
                return await self._not_running(key)
            case _:
                raise InvalidArgument(f'invalid condition: "{condition}"')

    async def _not_running(self, key: TaskKey) -> Awaitable[WaitResult]:
        ended = self._supervisor.waiters.next_exit(key)
        view = await self.get(key.ns, key.id)  # looked at after registering: an exit in between is not missed
        if not view.running and not ended.done():
            code = view.task.exit_code if view.task is not None else 0
            ended.set_result(WaitResult(code or 0, view.task.error if view.task is not None else ""))
        return ended

    # -- change -----------------------------------------------------------------------------------------------------

    async def rename(self, ns: str, ref: str, name: str) -> None:
        """Give the container another name. Raises AlreadyExists, InvalidArgument."""
        wanted = check_name(name)
        key = TaskKey(ns, (await self.get(ns, ref)).record.id)

        def write() -> None:
            with self._metadata.update() as tx:
                record = tx.containers.get(ns, key.id)
                if record.name == wanted:
                    raise InvalidArgument("Renaming a container with the same name as its current name")
                renamed = record.model_copy(update={"name": wanted, "updated_at": times.now()})
                tx.containers.put(ns, renamed)
                attributes = {**event_attributes(renamed), "oldName": f"/{record.name}"}
                tx.emit(ns, "/containers/rename", key.id, attributes)

        async with self._supervisor.locks.hold(key):
            await self._workers.run(write)

    async def update(
        self, ns: str, ref: str, resources: Resources | None = None, restart: RestartPolicy | None = None
    ) -> list[str]:
        """Change limits (also of a running container) and the restart policy; returns warnings."""
        key = TaskKey(ns, (await self.get(ns, ref)).record.id)
        async with self._supervisor.locks.hold(key):
            view = await self.get(ns, key.id)
            spec = view.record.spec
            changes = {"resources": resources, "restart": restart}
            changed: ContainerSpec = spec.model_copy(update={k: v for k, v in changes.items() if v is not None})
            if restart is not None and restart.name != "no" and spec.auto_remove:
                raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
            warnings = checks.check(changed, self._runtime)
            if resources is not None and view.running:
                await self._runtime.update(key, self._specs.resources(resources))
            await self._put(key, view.record.model_copy(update={"spec": changed, "updated_at": times.now()}))
        await self._emit(key, "/containers/update", view.record)
        return warnings

    # -- remove -----------------------------------------------------------------------------------------------------

    async def remove(
        self, ns: str, ref: str, *, force: bool = False, volumes: bool = False, keep_snapshot: bool = False
    ) -> None:
        """Remove a container; with `force` a running one is killed, with `volumes` its anonymous volumes go too.

        With `keep_snapshot` its snapshot stays, labelled `containerd.io/gc.root`.

        Raises Conflict when it runs (without `force`). It is gone when this returns; its disk space is freed
        in the background.
        """
        view = await self.get(ns, ref)
        key = TaskKey(ns, view.record.id)
        if view.running:
            self.refuse_running(view, ref, force)
            self._supervisor.stop_requested(key)
            await self._end_surely(key)
        async with self._supervisor.locks.hold(key):
            try:
                view = await self.get(ns, key.id)
            except NotFound:
                return  # a `--rm` container that went by itself meanwhile
            if view.running:
                raise Conflict(f"container {ref} was started meanwhile", hint="try again")
            code = view.task.exit_code if view.task is not None else 0
            if keep_snapshot:
                await self._workers.run(self._keep_snapshot, key, view.record)
            await self._remove_locked(
                key, view.record, WaitResult(code or 0), volumes=volumes, keep_snapshot=keep_snapshot
            )

    @staticmethod
    def refuse_running(view: ContainerView, ref: str, force: bool) -> None:
        """Raises Conflict for a running container that must not be removed without `force`."""
        if force:
            return
        what = "paused" if view.status == "paused" else "running"
        hint = "unpause and then stop the container before removal or force remove" if what == "paused" else (
            "stop the container before removal or force remove"
        )  # fmt: skip
        raise Conflict(f'cannot remove container "/{view.record.name}": container is {what}: {hint}', subject=ref)

    async def _remove_locked(
        self,
        key: TaskKey,
        record: ContainerRecord,
        result: WaitResult,
        *,
        volumes: bool = False,
        keep_snapshot: bool = False,
    ) -> None:
        def delete() -> None:
            if not volumes:
                self._volumes.keep_anonymous(key.ns, record.spec.mounts)
            with self._metadata.view() as tx:
                task = tx.tasks.find(key.ns, key.id)
            postmortem = postmortem_of(self._settings, key, record, task)
            with self._metadata.update() as tx:
                delete_rows(tx, key, record, postmortem)

        await self._workers.run(delete)
        self._supervisor.forget(key)
        if volumes:
            await self.release(key, record)
        self._supervisor.waiters.removed(key, result)
        disposal = self.dispose(key, record, keep_snapshot=keep_snapshot)
        self._supervisor.background.spawn(disposal, f"dispose {key.ns}/{key.id[:12]}")

    async def release(self, key: TaskKey, record: ContainerRecord) -> None:
        """Remove the anonymous volumes of a container whose rows are gone: before the answer, as docker does."""
        if any(mount.type == "volume" for mount in record.spec.mounts):
            await self._workers.run_slow(self._volumes.remove_anonymous, key.ns, record.spec.mounts)

    def _keep_snapshot(self, key: TaskKey, record: ContainerRecord) -> None:
        labels: dict[str, str | None] = {FULL + ROOT: times.format_rfc3339(times.now())}
        self._snapshotters[record.snapshotter].update(key.ns, record.snapshot_key, labels)

    async def dispose(self, key: TaskKey, record: ContainerRecord, *, keep_snapshot: bool = False) -> None:
        """Free the snapshot and files of a container whose rows are gone: after the answer."""
        if await self._workers.run_slow(self._free, key, record, keep_snapshot):
            self._request_gc()

    def _free(self, key: TaskKey, record: ContainerRecord, keep_snapshot: bool) -> bool:
        """Whether anything became garbage beyond what is freed here: the container was the last to keep its image."""
        with contextlib.suppress(NotFound):
            if not keep_snapshot:
                self._snapshotters[record.snapshotter].remove(key.ns, record.snapshot_key)
        self._drop_files(key)
        with contextlib.suppress(NotFound), self._metadata.view() as tx:
            tx.images.get(key.ns, record.image_name)
            return False
        return True

    async def prune(
        self, ns: str, accept: Callable[[ContainerView], bool] | None = None
    ) -> tuple[list[str], int]:
        """Remove every container that does not run and that `accept` likes; returns ids and bytes freed."""
        removed, freed = [], 0
        for view in await self.list(ns, all=True):
            if view.running or view.restarting or (accept is not None and not accept(view)):
                continue
            with contextlib.suppress(CortenError):
                freed += await self.size(view)
                await self.remove(ns, view.record.id)
                removed.append(view.record.id)
        return removed, freed

    async def size(self, view: ContainerView) -> int:
        """Bytes that the container's own layer takes on disk."""
        snapshotter = self._snapshotters[view.record.snapshotter]
        try:
            return (await self._workers.run_slow(snapshotter.usage, view.ns, view.record.snapshot_key)).size
        except NotFound:
            return 0

    async def _emit(self, key: TaskKey, topic: str, record: ContainerRecord, **facts: str) -> None:
        def write() -> None:
            with self._metadata.update() as tx:
                tx.emit(key.ns, topic, key.id, {**event_attributes(record), **facts})

        await self._workers.run(write)
