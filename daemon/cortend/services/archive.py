"""Files of containers: look, copy out and in, export, and what changed.

A running container's root is the one its bundle has mounted; a stopped one's snapshot is mounted in the child only.
Its lock is held until the child has the root (reading), or to the end (writing into a stopped one: two overlays must
not write into one layer).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager

from corten_shared.errors import NotFound
from corten_shared.models.container import MountSpec
from corten_shared.models.snapshot import Mount
from cortend.core.containerfiles import MOUNT_POINTS, Archiver, Change, PathStat, Placed, Reading, Tree
from cortend.core.diff import Comparer
from cortend.core.metadata import Metadata
from cortend.core.runtime import TaskKey, TaskRuntime
from cortend.core.snapshots import Snapshotter
from cortend.core.workers import Workers
from cortend.services.containers import ContainerService
from cortend.services.supervisor import Supervisor, event_attributes
from cortend.services.views import ContainerView
from cortend.services.volumes import VolumeService

_HOST_FILES = {"hostname": "/etc/hostname", "hosts": "/etc/hosts", "resolv.conf": "/etc/resolv.conf"}


class ArchiveService:
    """Use cases of a container's files."""

    def __init__(
        self,
        *,
        archiver: Archiver,
        comparer: Comparer,
        containers: ContainerService,
        volumes: VolumeService,
        metadata: Metadata,
        snapshotters: Mapping[str, Snapshotter],
        runtime: TaskRuntime,
        supervisor: Supervisor,
        workers: Workers,
    ) -> None:
        self._archiver = archiver
        self._comparer = comparer
        self._containers = containers
        self._volumes = volumes
        self._metadata = metadata
        self._snapshotters = snapshotters
        self._runtime = runtime
        self._supervisor = supervisor
        self._workers = workers

    async def stat(self, ns: str, ref: str, path: str) -> PathStat:
        """What a path in a container is. Raises NotFound."""
        async with self._held(ns, ref) as view:
            return await self._archiver.stat(await self._tree(view, ref), path)

    async def read(self, ns: str, ref: str, path: str) -> tuple[PathStat, Reading]:
        """A path as a tar; close the reading. Raises NotFound."""
        async with self._held(ns, ref) as view:
            answer = await self._archiver.read(await self._tree(view, ref), path)
        await self._emit(view, "/containers/archive-path")
        return answer

    async def export(self, ns: str, ref: str) -> Reading:
        """The container's root as a tar, without its volumes; close the reading."""
        async with self._held(ns, ref) as view:
            tree = await self._tree(view, ref)
            reading = await self._archiver.export(tree._replace(placed=()))
        await self._emit(view, "/containers/export")
        return reading

    async def write(
        self, ns: str, ref: str, path: str, body: AsyncIterator[bytes], *, keep_kinds: bool, as_user: bool
    ) -> None:
        """Unpack a tar into a directory of the container.

        With `as_user` the container's user owns it. Raises NotFound, InvalidArgument, PermissionDenied.
        """
        async with contextlib.AsyncExitStack() as stack:
            view = await stack.enter_async_context(self._held(ns, ref))
            tree = await self._tree(view, ref, writable=True)
            if view.running:
                await stack.aclose()
            owner = view.record.spec.user if as_user and view.record.spec.user else None
            await self._archiver.write(tree, path, body, keep_kinds=keep_kinds, owner=owner)
        await self._emit(view, "/containers/extract-to-dir")

    async def changes(self, ns: str, ref: str) -> AsyncGenerator[list[Change], None]:
        """What the container changed of its image's files, by path, some at a time."""
        record = (await self._containers.get(ns, ref)).record

        def mounts() -> tuple[list[Mount], list[Mount]]:
            snapshotter = self._snapshotters[record.snapshotter]
            parent = snapshotter.stat(ns, record.snapshot_key).parent
            return snapshotter.mounts(ns, parent) if parent else [], snapshotter.mounts(ns, record.snapshot_key)

        lower, upper = await self._workers.run(mounts)
        found = self._comparer.changes(lower, upper, skip=MOUNT_POINTS)
        try:
            async for some in found:
                yield some
        finally:
            await found.aclose()

    @asynccontextmanager
    async def _held(self, ns: str, ref: str) -> AsyncIterator[ContainerView]:
        """The container, whose state stays as it is for the length of the block."""
        key = TaskKey(ns, (await self._containers.get(ns, ref)).record.id)
        async with self._supervisor.locks.hold(key):
            yield await self._containers.get(ns, key.id)

    async def _tree(self, view: ContainerView, ref: str, *, writable: bool = False) -> Tree:
        return await self._workers.run(self._describe, view, ref, writable)

    def _describe(self, view: ContainerView, ref: str, writable: bool) -> Tree:
        spec = view.record.spec
        if view.running:
            rootfs = self._runtime.bundle(TaskKey(view.ns, view.record.id)).rootfs
            mounts = [Mount(type="bind", source=str(rootfs), options=["bind"])]
        else:
            snapshotter = self._snapshotters[view.record.snapshotter]
            mounts = snapshotter.mounts(view.ns, view.record.snapshot_key)
            if not writable:
                mounts = [_read_only(mount) for mount in mounts]
        directory = self._containers.directory(view)
        placed = [Placed(str(directory / name), target) for name, target in _HOST_FILES.items()]
        placed += [found for mount in spec.mounts if (found := self._placed(view.ns, mount)) is not None]
        return Tree(mounts, placed, str(directory), ref, spec.read_only)

    def _placed(self, ns: str, mount: MountSpec) -> Placed | None:
        if mount.type == "bind":
            return Placed(mount.source, mount.target, mount.read_only)
        if mount.type == "volume":
            with contextlib.suppress(NotFound):
                return Placed(self._volumes.mountpoint(ns, mount.source), mount.target, mount.read_only)
        return None

    async def _emit(self, view: ContainerView, topic: str) -> None:
        def write() -> None:
            with self._metadata.update() as tx:
                tx.emit(view.ns, topic, view.record.id, event_attributes(view.record))

        await self._workers.run(write)


def _read_only(mount: Mount) -> Mount:
    """The same files without a writable layer, so that a start meanwhile does not write under a second overlay."""
    options = dict(option.partition("=")[::2] for option in mount.options)
    if "upperdir" not in options:
        return mount
    layers = f"lowerdir={options['upperdir']}:{options['lowerdir']}"
    kept = [o for o in mount.options if not o.startswith(("upperdir=", "workdir=", "lowerdir="))]
    return mount.model_copy(update={"options": ["ro", layers, *kept]})
