"""Layers into snapshots, named by chain id.

Where the snapshotter can put a snapshot under its parent afterwards (`rebases`), layers are unpacked side by side as
they arrive and committed in order; otherwise one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from corten_shared.errors import AlreadyExists, CortenError, DataLoss, InvalidArgument, NotFound
from corten_shared.models.lease import Resource
from corten_shared.models.oci import LAYER_COMPRESSION, Descriptor
from corten_shared.models.snapshot import Mount
from cortend.core import trace
from cortend.core.content import ContentStore
from cortend.core.diff import Applied, Applier
from cortend.core.gc import snapshot_kind
from cortend.core.metadata import Metadata
from cortend.core.snapshots import OVERLAY_MARKS, Snapshotter
from cortend.core.workers import Workers
from cortend.services.finish import finished
from cortend.services.image_documents import ImageDocuments
from cortend.services.locks import Locks

log = logging.getLogger(__name__)

Arrival = Callable[[int], Awaitable[None]]
"""Returns once the blob of layer n is in the content store."""
Watch = Callable[[int, str, int], None]
"""Told of layer n: a word (`Extracting`, `Pull complete`) and the compressed bytes read so far."""


class Unpacker:
    """Unpacks images; at most `concurrent` layers at a time in the whole daemon."""

    def __init__(
        self,
        *,
        content: ContentStore,
        snapshotters: Mapping[str, Snapshotter],
        applier: Applier,
        metadata: Metadata,
        workers: Workers,
        concurrent: int = 2,
    ) -> None:
        self._content = content
        self._snapshotters = snapshotters
        self._applier = applier
        self._metadata = metadata
        self._workers = workers
        self._slots = asyncio.Semaphore(concurrent)
        self._locks = Locks()

    def snapshotter(self, name: str) -> Snapshotter:
        """The snapshotter of that name; raises InvalidArgument."""
        try:
            return self._snapshotters[name]
        except KeyError:
            known = ", ".join(sorted(self._snapshotters))
            raise InvalidArgument(f"unknown snapshotter {name!r}", hint=f"there are: {known}") from None

    async def unpacked(self, ns: str, snapshotter: str, image: ImageDocuments) -> bool:
        """Whether the image's top layer is a snapshot already."""
        found = self.snapshotter(snapshotter)
        return not image.chain or await self._workers.run(_exists, found, ns, image.chain[-1])

    async def hold(self, ns: str, snapshotter: str, chain: list[str], lease: str) -> int:
        """Put the chain's snapshots under the lease; how many of the lowest layers are there already."""
        found = self.snapshotter(snapshotter)

        def hold() -> int:
            # First the lease, then the look: what is seen now will stay.
            with self._metadata.update() as tx:
                for name in chain:
                    tx.leases.add(ns, lease, Resource(type=snapshot_kind(snapshotter), id=name))
            # A committed snapshot keeps its parents, so the highest one that exists decides.
            return next((n for n in range(len(chain), 0, -1) if _exists(found, ns, chain[n - 1])), 0)

        return await self._workers.run(hold)

    async def unpack(
        self, ns: str, snapshotter: str, image: ImageDocuments, lease: str, arrival: Arrival, watch: Watch
    ) -> None:
        """Have every layer as a snapshot, held by the lease; layers that are snapshots already are skipped silently.

        Raises as Applier.apply, and DataLoss when a layer is not what the config says. Nothing half-made stays: a
        failed layer's snapshot is removed, and finished ones are the lease's only.
        """
        job = _Job(ns, self.snapshotter(snapshotter), image, lease, watch)
        have = await self.hold(ns, snapshotter, image.chain, lease)
        loop = asyncio.get_running_loop()
        done: list[asyncio.Future[None]] = [loop.create_future() for _ in image.chain]
        for future in done[:have]:
            future.set_result(None)

        async def layer(number: int) -> None:
            try:
                await arrival(number)
                await self._layer(job, number, done[number - 1] if number else None)
            except BaseException:
                done[number].cancel()  # nobody may go on waiting for it
                raise
            done[number].set_result(None)

        with single_error():
            async with asyncio.TaskGroup() as group:
                for number in range(have, len(done)):
                    group.create_task(layer(number))

    async def unpack_alone(self, ns: str, snapshotter: str, blob: Descriptor, compression: str, lease: str) -> Applied:
        """Unpack a layer without a parent and name its snapshot by the diff id found. Raises as Applier.apply."""
        found = self.snapshotter(snapshotter)
        async with self._active(ns, found, "", lease) as active:
            async with self._slots:
                applied = await self._apply(ns, found, active.key, blob.digest, compression, None, lowest=True)
            await self._commit(active, applied.diff_id, None)
        return applied

    async def unpack_again(self, ns: str, snapshotter: str, image: ImageDocuments, number: int, lease: str) -> str:
        """Layer `number` once more, beside the snapshot it has: the name of a committed one. Raises as unpack."""
        job = _Job(ns, self.snapshotter(snapshotter), image, lease, lambda *_: None)
        parent = image.chain[number - 1] if number else ""
        rebases = job.snapshotter.rebases
        name = f"again-{secrets.token_hex(8)}"
        async with self._active(ns, job.snapshotter, "" if rebases else parent, lease) as active:
            await self._fill(job, number, active.key)
            await self._commit(active, name, parent if rebases else None)
        return name

    async def _layer(self, job: _Job, number: int, before: asyncio.Future[None] | None) -> None:
        name = job.image.chain[number]
        parent = job.image.chain[number - 1] if number else ""
        rebases = job.snapshotter.rebases
        if before is not None and not rebases:
            await asyncio.shield(before)
        async with self._locks.hold((job.ns, job.snapshotter.name, name)):
            if not await self._workers.run(_exists, job.snapshotter, job.ns, name):  # maybe another pull's, meanwhile
                async with self._active(job.ns, job.snapshotter, "" if rebases else parent, job.lease) as active:
                    await self._fill(job, number, active.key)
                    trace.point("unpack.layer.applied")
                    if before is not None:
                        await asyncio.shield(before)
                    await self._commit(active, name, parent if rebases else None)
        job.watch(number, "Pull complete", 0)

    async def _fill(self, job: _Job, number: int, key: str) -> None:
        blob = job.image.manifest.layers[number]
        compression = LAYER_COMPRESSION[blob.media_type]
        async with self._slots:
            applied = await self._apply(
                job.ns,
                job.snapshotter,
                key,
                blob.digest,
                compression,
                lambda n: job.watch(number, "Extracting", n),
                lowest=number == 0,
            )
        expected = job.image.config.rootfs.diff_ids[number]
        if applied.diff_id != expected:
            raise DataLoss(
                f"layer {blob.digest} unpacks to {applied.diff_id}, the image's config says {expected}",
                subject=blob.digest,
                hint="the image is broken or lies; nothing of it was kept",
            )

    async def _apply(
        self,
        ns: str,
        snapshotter: Snapshotter,
        key: str,
        digest: str,
        compression: str,
        progress: Callable[[int], None] | None,
        *,
        lowest: bool,
    ) -> Applied:
        mounts = await self._workers.run(snapshotter.mounts, ns, key)
        if lowest:
            # Nothing lies below: a whiteout has nothing to hide and must not stay as a device that a container sees.
            mounts = [_without_marks(mount) for mount in mounts]
        layer = await finished(self._workers.run(self._content.open, ns, digest), lambda file: file.close())
        with layer:
            return await self._applier.apply(layer, compression, mounts, progress=progress)

    async def _commit(self, active: _Active, name: str, parent: str | None) -> None:
        try:
            await finished(
                self._workers.run_slow(
                    active.snapshotter.commit, active.ns, name, active.key, parent=parent, lease=active.lease
                )
            )
        except AlreadyExists:
            return  # somebody else made it; ours is removed
        active.committed = True
        trace.point("unpack.layer.committed")

    @contextlib.asynccontextmanager
    async def _active(
        self, ns: str, snapshotter: Snapshotter, parent: str, lease: str
    ) -> AsyncIterator[_Active]:
        """A fresh active snapshot; removed unless it was committed."""
        active = _Active(ns, snapshotter, f"unpack-{secrets.token_hex(8)}", lease)
        try:
            await finished(self._workers.run_slow(snapshotter.prepare, ns, active.key, parent, lease=lease))
            trace.point("unpack.layer.prepared")
            yield active
        finally:
            if not active.committed:
                await finished(self._workers.run_slow(_remove, snapshotter, ns, active.key))


def _without_marks(mount: Mount) -> Mount:
    return mount.model_copy(update={"options": [option for option in mount.options if option != OVERLAY_MARKS]})


class _Job(NamedTuple):
    ns: str
    snapshotter: Snapshotter
    image: ImageDocuments
    lease: str
    watch: Watch


@dataclass
class _Active:
    ns: str
    snapshotter: Snapshotter
    key: str
    lease: str
    committed: bool = False


@contextlib.contextmanager
def single_error() -> Iterator[None]:
    """Raise the first error of a task group as itself: its siblings were only cancelled."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from error.__cause__


def _exists(snapshotter: Snapshotter, ns: str, name: str) -> bool:
    try:
        snapshotter.stat(ns, name)
    except NotFound:
        return False
    return True


def _remove(snapshotter: Snapshotter, ns: str, key: str) -> None:
    try:
        snapshotter.remove(ns, key)
    except NotFound:
        pass
    except (CortenError, OSError) as error:
        # The collector takes it once the lease has gone; the first error is the one to report.
        log.warning("cannot remove snapshot %s: %s", key, error)
