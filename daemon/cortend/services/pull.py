"""Pulling an image: from a name to snapshots that containers can stand on.

    lease -> resolve -> index, manifest, config -> layers (several at once) -> snapshots -> image record + event

Everything fetched is held by a lease until the record refers to it, so the collector may run at any time; when the
pull ends early, what is whole stays until the collector comes and what is half is continued by the next pull.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from corten_shared import times
from corten_shared.errors import NotFound, ResourceExhausted
from corten_shared.models.image import ImageRecord, PullProgress
from corten_shared.models.oci import INDEXES, Descriptor, Platform
from corten_shared.reference import Reference, parse_normalized
from cortend.core import platforms, trace
from cortend.core.documents import MAX_INDEX_DEPTH, parse_config, parse_index, parse_manifest
from cortend.core.metadata import Metadata
from cortend.core.registry import Credentials, Fetcher, Registries
from cortend.core.verify import ImageVerifier
from cortend.core.workers import Workers
from cortend.services.download import Downloader
from cortend.services.finish import finished
from cortend.services.image_documents import (
    DocumentStore,
    ImageDocuments,
    check_config,
    check_manifest,
    config_labels,
    content_references,
    manifest_labels,
    no_platform,
)
from cortend.services.image_names import put_image
from cortend.services.leases import temporary_lease
from cortend.services.progress import ProgressBoard, short
from cortend.services.unpack import Unpacker, single_error


class _Order(NamedTuple):
    """What one pull is about."""

    ns: str
    reference: Reference
    wanted: Platform
    chosen: bool
    credentials: Credentials | None
    snapshotter: str


@dataclass
class _Run:
    """One pull under way."""

    order: _Order
    fetcher: Fetcher
    lease: str
    board: ProgressBoard[PullProgress]
    arrived: list[asyncio.Event] = field(default_factory=list)


class PullService:
    """Pulls images."""

    def __init__(
        self,
        *,
        registries: Registries,
        documents: DocumentStore,
        downloader: Downloader,
        unpacker: Unpacker,
        metadata: Metadata,
        workers: Workers,
        snapshotter: str,
        request_gc: Callable[[], None],
        verifier: ImageVerifier | None = None,
    ) -> None:
        self._verifier = verifier
        self._registries = registries
        self._documents = documents
        self._downloader = downloader
        self._unpacker = unpacker
        self._metadata = metadata
        self._workers = workers
        self._snapshotter = snapshotter
        self._request_gc = request_gc

    async def pull(
        self,
        ns: str,
        reference: str,
        *,
        platform: str = "",
        credentials: Credentials | None = None,
        snapshotter: str = "",
    ) -> AsyncIterator[PullProgress]:
        """Pull `reference` and tell how it goes; the last line has the image.

        An error comes from the first step of the iteration as long as nothing was said yet (unknown name, registry
        down), from a later one afterwards. Ending the iteration early (`aclose`) cancels the pull. Raises as
        core.registry.Fetcher and core.diff.Applier; InvalidArgument for a malformed reference, platform or image.
        """
        wanted = platforms.parse(platform, self._documents.host)
        order = _Order(
            ns, parse_normalized(reference), wanted, bool(platform), credentials, snapshotter or self._snapshotter
        )
        self._unpacker.snapshotter(order.snapshotter)
        board = ProgressBoard(PullProgress)
        task = asyncio.create_task(self._run(order, board), name=f"pull {order.reference}")
        task.add_done_callback(lambda _: board.close())
        try:
            async for line in board.lines():
                yield line
            await task
        except ResourceExhausted:
            self._request_gc()  # what of it did fit is in nobody's way then
            raise
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task

    async def _run(self, order: _Order, board: ProgressBoard[PullProgress]) -> None:
        async with (
            self._registries.fetcher(order.reference, order.credentials) as fetcher,
            temporary_lease(self._metadata, self._workers, order.ns, "pull") as lease,
        ):
            run = _Run(order, fetcher, lease, board)
            target = await fetcher.resolve()
            if self._verifier is not None:
                await self._verifier.verify(str(order.reference), target)
            board.say(f"Pulling from {order.reference.path}", order.reference.object)
            image = await self._fetch_documents(run, target)
            trace.point("pull.documents.kept")
            await self._fetch_layers(run, image)
            trace.point("pull.layers.done")
            # To its end even when cancelled: the lease must not go before the record is there.
            record, changed = await finished(self._workers.run(self._finish, run, target, image))
            trace.point("pull.image.named")
        board.say(f"Digest: {target.digest}")
        familiar = order.reference.familiar
        news = f"Downloaded newer image for {familiar}" if changed else f"Image is up to date for {familiar}"
        board.say(f"Status: {news}", image=record)

    # -- documents --------------------------------------------------------------------------------------------------

    async def _fetch_documents(self, run: _Run, target: Descriptor) -> ImageDocuments:
        """Index, manifest and config, checked and kept with labels that tie them together."""
        descriptor = target
        for _ in range(MAX_INDEX_DEPTH):
            if descriptor.media_type not in INDEXES:
                break
            descriptor = await self._fetch_index(run, descriptor)
        familiar = run.order.reference.familiar
        data = await self._document(run, descriptor)
        manifest = parse_manifest(data, descriptor.media_type, f"manifest of {familiar}")
        check_manifest(manifest, familiar)
        raw = await self._document(run, manifest.config)
        config = parse_config(raw, f"config of {familiar}")
        check_config(manifest, config, familiar)
        image = ImageDocuments(descriptor.digest, manifest, config)
        self._check_platform(run.order, image)
        await self._keep(run, descriptor.digest, data, manifest_labels(manifest))
        await self._keep(run, manifest.config.digest, raw, config_labels(run.order.snapshotter, image.chain))
        return image

    async def _fetch_index(self, run: _Run, index: Descriptor) -> Descriptor:
        data = await self._document(run, index)
        what = f"index of {run.order.reference.familiar}"
        manifests = parse_index(data, index.media_type, what).manifests
        chosen = platforms.choose(manifests, run.order.wanted)
        if chosen is None:
            raise no_platform(run.order.wanted)
        await self._keep(run, index.digest, data, content_references({f"m.{manifests.index(chosen)}": chosen.digest}))
        return chosen

    async def _document(self, run: _Run, descriptor: Descriptor) -> bytes:
        """A document's bytes, from the content store where they are there already."""
        try:
            return await self._workers.run(self._documents.read, run.order.ns, descriptor.digest)
        except NotFound:
            return await run.fetcher.manifest(descriptor)

    async def _keep(self, run: _Run, digest: str, data: bytes, labels: dict[str, str]) -> None:
        await self._workers.run(self._documents.store, run.order.ns, digest, data, labels, run.lease)

    def _check_platform(self, order: _Order, image: ImageDocuments) -> None:
        if order.chosen and not platforms.fits(image.platform, order.wanted):
            raise NotFound(
                f"image with reference {order.reference.familiar} was found but its platform ({image.platform}) "
                f"does not match the specified platform ({order.wanted})",
                subject=order.reference.familiar,
            )

    # -- layers -----------------------------------------------------------------------------------------------------

    async def _fetch_layers(self, run: _Run, image: ImageDocuments) -> None:
        """Download and unpack at the same time, each layer as it arrives."""
        layers = image.manifest.layers
        run.arrived = [asyncio.Event() for _ in layers]
        have = await self._unpacker.hold(run.order.ns, run.order.snapshotter, image.chain, run.lease)
        try:
            with single_error():
                async with asyncio.TaskGroup() as group:
                    for number, layer in enumerate(layers):
                        group.create_task(self._fetch_layer(run, number, layer, unpacked=number < have))
                    group.create_task(self._unpack(run, image))
        except ResourceExhausted as error:
            if "status" not in error.details:  # no registry's 429: the disk is full, and half a layer is in the way
                await self._downloader.forget(run.order.ns, layers)
            raise

    async def _fetch_layer(self, run: _Run, number: int, layer: Descriptor, *, unpacked: bool) -> None:
        board, name = run.board, short(layer.digest)
        if not unpacked:
            board.say("Pulling fs layer", name)
        fetched = await self._downloader.fetch(
            run.order.ns,
            run.fetcher,
            layer,
            run.lease,
            lambda received: board.count("Downloading", name, received, layer.size),
        )
        trace.point("pull.layer.fetched")
        if fetched:
            board.say("Verifying Checksum", name)
        if unpacked:
            board.say("Already exists", name)
        else:
            board.say("Download complete", name)
        run.arrived[number].set()

    async def _unpack(self, run: _Run, image: ImageDocuments) -> None:
        layers = image.manifest.layers

        async def arrival(number: int) -> None:
            await run.arrived[number].wait()

        def watch(number: int, word: str, read: int) -> None:
            name = short(layers[number].digest)
            if word == "Extracting":
                run.board.count(word, name, read, layers[number].size)
            else:
                run.board.say(word, name)

        await self._unpacker.unpack(run.order.ns, run.order.snapshotter, image, run.lease, arrival, watch)

    # -- record -----------------------------------------------------------------------------------------------------

    def _finish(self, run: _Run, target: Descriptor, image: ImageDocuments) -> tuple[ImageRecord, bool]:
        """Name the image; whether anything changed."""
        order = run.order
        reference = order.reference._replace(tag="") if order.reference.digest else order.reference
        now = times.now()
        record = ImageRecord(name=str(reference), target=target, created_at=now, updated_at=now)
        self._documents.forget(order.ns, target.digest)
        parts = (image.manifest.config, *image.manifest.layers)
        self._documents.note_source(order.ns, reference, (part.digest for part in parts))
        with self._metadata.update() as tx:
            before = put_image(tx, order.ns, record)
            if before is None or before.target.digest != target.digest:
                topic = "/images/create" if before is None else "/images/update"
                tx.emit(order.ns, topic, record.name, {"action": "pull", "name": reference.familiar, "id": image.id})
                return record, True
        return record, False
