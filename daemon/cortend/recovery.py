"""What a start does before it is ready: make records and kernel agree again.

The database is the authority for intent, the kernel for what lives, the exit file for exit codes. The steps:

1. leases     end those of work that the last daemon did not finish, but for pulls, which the next pull goes on with
2. tasks      adopt those whose monitor lives; record the end of those that ended, or that an earlier boot ran
3. records    drop containers that were never acknowledged (their snapshot was not made)
4. leftovers  clear bundles, conmons, cgroups and mounts that no running task owns
5. network    bring bridge and rules up for live endpoints, sweep the others
6. disk       free directories, volumes and snapshots of containers that no record names
7. policies   start again what its restart policy wants (after READY: it may take long)

Every step is idempotent: a crash during recovery is repaired by the next one.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Awaitable, Callable, Mapping

from corten_shared import times
from corten_shared.errors import CortenError, DataLoss, NotFound, NotModified
from corten_shared.models.container import ContainerRecord
from corten_shared.models.network import Endpoint
from corten_shared.models.task import TaskRecord, TaskStatus
from cortend.core.metadata import Metadata
from cortend.core.network import NetworkDriver
from cortend.core.runtime import Exit, Handle, TaskKey, TaskRuntime
from cortend.core.snapshots import Snapshotter
from cortend.core.workers import Workers
from cortend.services.containers import ContainerService
from cortend.services.launch import Launcher
from cortend.services.leases import end_transient
from cortend.services.settings import ContainerSettings
from cortend.services.supervisor import Supervisor
from cortend.services.views import ContainerView
from cortend.services.volumes import VolumeService

log = logging.getLogger(__name__)

_LIVE = (TaskStatus.RUNNING, TaskStatus.PAUSED)


class Recovery:
    """Reconciles once, at start."""

    def __init__(
        self,
        *,
        settings: ContainerSettings,
        metadata: Metadata,
        snapshotters: Mapping[str, Snapshotter],
        network: NetworkDriver,
        runtime: TaskRuntime,
        launcher: Launcher,
        supervisor: Supervisor,
        containers: ContainerService,
        volumes: VolumeService,
        workers: Workers,
        boot_id: str,
    ) -> None:
        self._settings = settings
        self._metadata = metadata
        self._snapshotters = snapshotters
        self._network = network
        self._runtime = runtime
        self._launcher = launcher
        self._supervisor = supervisor
        self._containers = containers
        self._volumes = volumes
        self._workers = workers
        self._boot_id = boot_id

    async def run(self) -> None:
        """All steps that come before READY. A step that fails is logged; the daemon serves what it can."""
        steps: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("leases", self._leases),
            ("tasks", self._tasks),
            ("records", self._records),
            ("leftovers", self._leftovers),
            ("network", self._networks),
            ("disk", self._disk),
        ]
        for name, step in steps:
            try:
                await step()
            except (CortenError, OSError) as error:
                log.error("recovery of %s failed: %s", name, error, exc_info=error)

    async def _leases(self) -> None:
        await self._workers.run(end_transient, self._metadata)

    # -- tasks ------------------------------------------------------------------------------------------------------

    async def _tasks(self) -> None:
        for ns, record, task in await self._workers.run(self._live_tasks):
            await self._adopt(TaskKey(ns, record.id), record, task)

    def _live_tasks(self) -> list[tuple[str, ContainerRecord, TaskRecord]]:
        return [(ns, record, task) for ns, record, task in self._all() if task is not None and task.status in _LIVE]

    def _all(self) -> list[tuple[str, ContainerRecord, TaskRecord | None]]:
        """Every container, with its task. One with a damaged row is not among them, and is left as it is."""
        found: list[tuple[str, ContainerRecord, TaskRecord | None]] = []
        with self._metadata.view() as tx:
            for namespace in tx.namespaces.list():
                for record in tx.containers.list(namespace.name):
                    try:
                        found.append((namespace.name, record, tx.tasks.find(namespace.name, record.id)))
                    except DataLoss as error:
                        log.error("container %s is left as it is: %s", record.name, error)
        return found

    def _known(self) -> set[tuple[str, str]]:
        """The containers that there are, damaged ones included."""
        with self._metadata.view() as tx:
            return {(ns.name, container) for ns in tx.namespaces.list() for container in tx.containers.ids(ns.name)}

    async def _adopt(self, key: TaskKey, record: ContainerRecord, task: TaskRecord) -> None:
        if task.boot_id != self._boot_id or task.monitor is None or task.pid is None:
            ended = Exit(code=255, finished_at=times.now(), lost=True)
        else:
            handle = Handle(task.monitor, task.pid)
            if self._runtime.is_alive(task.monitor):
                self._supervisor.watch(key, record, handle)
                log.info("adopted container %s", record.name)
                await self._let_go(key, record, task)
                return
            ended = await self._runtime.wait(key, handle)
        log.info("container %s ended while cortend was down", record.name, extra={"fields": {"code": ended.code}})
        async with self._supervisor.locks.hold(key):
            await self._supervisor.finish(key, record.spec.runtime, ended)

    async def _let_go(self, key: TaskKey, record: ContainerRecord, task: TaskRecord) -> None:
        """Resume what was paused for a commit that did not come to its end."""
        if task.status is not TaskStatus.PAUSED or not task.held:
            return
        async with self._supervisor.locks.hold(key):
            await self._containers.freeze(ContainerView(key.ns, record, task, None), TaskStatus.RUNNING)
        log.info("resumed container %s", record.name)

    # -- records ----------------------------------------------------------------------------------------------------

    async def _records(self) -> None:
        for ns, record, task in await self._workers.run(self._all):
            if task is None and not await self._workers.run(self._has_snapshot, ns, record):
                log.warning("container %s was never made whole; it is dropped", record.name)
                await self._containers.remove(ns, record.id, volumes=True)

    def _has_snapshot(self, ns: str, record: ContainerRecord) -> bool:
        snapshotter = self._snapshotters.get(record.snapshotter)
        if snapshotter is None:
            return True  # configured away; not ours to judge
        try:
            snapshotter.stat(ns, record.snapshot_key)
        except NotFound:
            return False
        return True

    # -- leftovers --------------------------------------------------------------------------------------------------

    async def _leftovers(self) -> None:
        live = {TaskKey(ns, record.id) for ns, record, _ in await self._workers.run(self._live_tasks)}
        whole = {(ns, record.id) for ns, record, _ in await self._workers.run(self._all)}
        damaged = await self._workers.run(self._known) - whole
        for key in await self._runtime.leftovers():
            if key not in live and (key.ns, key.id) not in damaged:
                log.warning("clearing what is left of %s/%s", key.ns, key.id[:12])
                await self._launcher.tear_down(key)

    async def _networks(self) -> None:
        await self._workers.run(self._reconcile_network)

    def _reconcile_network(self) -> None:
        live: list[Endpoint] = []
        running = {(ns, record.id) for ns, record, _ in self._live_tasks()}
        with self._metadata.view() as tx:
            endpoints = tx.endpoints.list()
        for ns, endpoint in endpoints:
            if (ns, endpoint.container_id) in running:
                live.append(endpoint)
            else:
                self._drop_endpoint(ns, endpoint)
        bridged = [endpoint for endpoint in live if endpoint.address]
        self._network.ensure(bridged)
        for what in self._network.sweep(bridged, {endpoint.netns for endpoint in live}):
            log.warning("removed %s, which belongs to no container", what)

    def _drop_endpoint(self, ns: str, endpoint: Endpoint) -> None:
        if endpoint.address:
            self._network.disconnect(endpoint)
        self._network.delete_namespace(endpoint.netns)
        with self._metadata.update() as tx:
            tx.endpoints.delete(ns, endpoint.container_id)

    # -- disk -------------------------------------------------------------------------------------------------------

    async def _disk(self) -> None:
        await self._workers.run_slow(self._sweep_disk)

    def _sweep_disk(self) -> None:
        known = self._known()
        for directory in self._settings.data.glob("*/*"):
            if (directory.parent.name, directory.name) not in known:
                shutil.rmtree(directory, ignore_errors=True)
        self._volumes.sweep()
        for snapshotter in self._snapshotters.values():
            snapshotter.cleanup()

    # -- policies ---------------------------------------------------------------------------------------------------

    async def start_by_policy(self) -> None:
        """Start what `always` and `unless-stopped` want; a start that fails is logged, and the policy goes on
        trying."""
        for ns, record, task in await self._workers.run(self._all):
            if task is None or task.status in _LIVE or record.id in self._supervisor.restarting():
                continue
            policy = record.spec.restart.name
            if policy == "always" or (policy == "unless-stopped" and not task.stop_requested):
                try:
                    await self._containers.start(ns, record.id)
                except NotModified:
                    continue
                except CortenError as error:
                    log.error("container %s is not started again: %s", record.name, error.message)
