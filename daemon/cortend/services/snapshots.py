"""Snapshots as people handle them: by snapshotter and key, guarded against pulling them from under who uses them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

from corten_shared.errors import Conflict, InvalidArgument, NotFound
from corten_shared.models.image import PullProgress
from corten_shared.models.oci import LAYER_COMPRESSION, OCI_LAYER_GZIP, Descriptor
from corten_shared.models.snapshot import Kind, Mount
from cortend.core.content import ContentStore
from cortend.core.diff import Comparer, LayerReading
from cortend.core.documents import sniff_media_type
from cortend.core.metadata import Metadata
from cortend.core.snapshots import Snapshotter
from cortend.core.workers import Workers
from cortend.services.hops import writing
from cortend.services.image_documents import DocumentStore, ImageDocuments, check_manifest, config_labels
from cortend.services.leases import temporary_lease
from cortend.services.progress import ProgressBoard, short
from cortend.services.unpack import Unpacker

DEFAULT = "default"
"""Stands for the configured snapshotter where a name is asked for."""
TARGET = "corten.mount.target"
"""Label of the lease of an image that is mounted: where, which is its snapshot's key, too."""


class SnapshotService:
    """The use cases of snapshots that a Snapshotter alone cannot answer."""

    def __init__(
        self,
        *,
        metadata: Metadata,
        content: ContentStore,
        snapshotters: Mapping[str, Snapshotter],
        documents: DocumentStore,
        unpacker: Unpacker,
        comparer: Comparer,
        workers: Workers,
        default: str,
        request_gc: Callable[[], None],
    ) -> None:
        self._metadata = metadata
        self._content = content
        self._snapshotters = snapshotters
        self._documents = documents
        self._unpacker = unpacker
        self._comparer = comparer
        self._workers = workers
        self._default = default
        self._request_gc = request_gc

    def names(self) -> list[str]:
        """Every snapshotter."""
        return sorted(self._snapshotters)

    def named(self, snapshotter: str) -> Snapshotter:
        """The snapshotter of that name; `default` and the empty name are the configured one. Raises NotFound."""
        name = self._default if snapshotter in ("", DEFAULT) else snapshotter
        found = self._snapshotters.get(name)
        if found is None:
            known = ", ".join(self.names())
            raise NotFound(f"No such snapshotter: {name[:80]}", hint=f"there are: {known}", subject=name)
        return found

    async def remove(self, ns: str, snapshotter: str, key: str) -> None:
        """Remove a snapshot that nobody uses. Raises NotFound; Conflict naming the container, child or mount point."""
        found = self.named(snapshotter)
        await self._workers.run(self._remove, found, ns, key)
        self._request_gc()

    def _remove(self, snapshotter: Snapshotter, ns: str, key: str) -> None:
        self.check_removable(snapshotter, ns, key)
        snapshotter.remove(ns, key)

    def check_removable(self, snapshotter: Snapshotter, ns: str, key: str) -> None:
        """Raises NotFound; Conflict for a container's, and for one that is mounted. Blocks."""
        info = snapshotter.stat(ns, key)
        with self._metadata.view() as tx:
            for record in tx.containers.list(ns):
                if (record.snapshotter, record.snapshot_key) == (snapshotter.name, key):
                    raise Conflict(
                        f"snapshot {key} is the root file system of container {record.name or record.id}",
                        hint="remove the container",
                        subject=key,
                    )
            if any(lease.labels.get(TARGET) == key for lease in tx.leases.list(ns)):
                raise Conflict(
                    f"snapshot {key} is that of an image mounted on {key}",
                    hint=f"cortenctl images unmount {key}",
                    subject=key,
                )
        if info.kind is not Kind.VIEW and (targets := snapshotter.targets(ns, key)):
            raise Conflict(f"snapshot {key} is mounted on {targets[0]}", hint="unmount it first", subject=key)

    async def cleanup(self, snapshotter: str) -> int:
        """Free what no record names; how many directories that were."""
        return await self._workers.run_slow(self.named(snapshotter).cleanup)

    async def unpack(self, ns: str, snapshotter: str, digest: str) -> AsyncIterator[PullProgress]:
        """Make the snapshots of an image whose content is here; the last line's `id` is the top one's name.

        `digest` is a manifest's or an index's. Raises as Unpacker.unpack; NotFound for content that is not here.
        """
        found = self.named(snapshotter)
        image = await self._workers.run(self._image, ns, digest)
        board = ProgressBoard(PullProgress)
        task = asyncio.create_task(self._unpack(ns, found.name, image, board), name=f"unpack {digest}")
        task.add_done_callback(lambda _: board.close())
        try:
            async for line in board.lines():
                yield line
            await task
            yield PullProgress(status="Unpacked", id=image.chain[-1] if image.chain else None)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task

    async def diff(
        self,
        ns: str,
        snapshotter: str,
        upper: str,
        lower: str | None = None,
        *,
        media_type: str = OCI_LAYER_GZIP,
        keep: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """What `upper` has differently from `lower` (None: its parent), as a layer. `keep`, labels: as content, too.

        Raises NotFound, and as Comparer.compare; InvalidArgument for a media type that is no layer's.
        """
        compression = LAYER_COMPRESSION.get(media_type)
        if compression is None:
            known = ", ".join(sorted(LAYER_COMPRESSION))
            raise InvalidArgument(f"not a layer's media type: {media_type[:200]!r}", hint=f"one of {known}")
        below, above = await self._workers.run(self._pair, self.named(snapshotter), ns, upper, lower)
        reading = await self._comparer.compare(below, above, compression=compression)
        try:
            if keep is None:
                async for chunk in reading:
                    yield chunk
                return
            async with contextlib.aclosing(self._kept(ns, reading, keep)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            await reading.aclose()

    async def _kept(self, ns: str, reading: LayerReading, labels: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """The layer on its way; once it is whole it is a blob, with the labels."""
        async with (
            temporary_lease(self._metadata, self._workers, ns, "diff") as lease,
            writing(self._content, self._workers, ns, f"diff-{lease}", lease=lease) as hops,
        ):
            hops.drop = True
            async for chunk in reading:
                await hops.gather(chunk)
                yield chunk
            packed = reading.packed
            await hops.commit(packed.size, packed.digest)
            await self._workers.run(self._content.update, ns, packed.digest, dict(labels))

    @staticmethod
    def _pair(snapshotter: Snapshotter, ns: str, upper: str, lower: str | None) -> tuple[list[Mount], list[Mount]]:
        below = snapshotter.stat(ns, upper).parent if lower is None else lower
        return snapshotter.mounts(ns, below) if below else [], snapshotter.mounts(ns, upper)

    def _image(self, ns: str, digest: str) -> ImageDocuments:
        info = self._content.info(ns, digest)
        media_type = sniff_media_type(self._documents.read(ns, digest), digest)
        image = self._documents.load(ns, Descriptor(mediaType=media_type, digest=digest, size=info.size))
        check_manifest(image.manifest, digest)
        return image

    async def _unpack(
        self, ns: str, snapshotter: str, image: ImageDocuments, board: ProgressBoard[PullProgress]
    ) -> None:
        layers = image.manifest.layers

        def watch(number: int, word: str, read: int) -> None:
            if read:
                board.count(word, short(layers[number].digest), read, layers[number].size)
            else:
                board.say(word, short(layers[number].digest))

        async def here(number: int) -> None:
            """Nothing is fetched; what misses is told when it is opened."""

        async with temporary_lease(self._metadata, self._workers, ns, "unpack") as lease:
            await self._unpacker.unpack(ns, snapshotter, image, lease, here, watch)
            labels: dict[str, str | None] = {**config_labels(snapshotter, image.chain)}
            await self._workers.run(self._content.update, ns, image.id, labels)
