"""Pulling an image: from a name to snapshots that containers can stand on.

    lease -> resolve -> index, manifest, config -> layers (several at once) -> snapshots -> image record + event

Everything fetched is held by a lease until the record refers to it, so the collector may run at any time; when the
pull ends early, what is whole stays until the collector comes and what is half is continued by the next pull. The lease
of a daemon that was killed goes with the next good pull of the same name, which holds all that it held and needs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from corten_shared import times
from corten_shared.errors import InvalidArgument, ResourceExhausted
from corten_shared.models.image import ImageRecord, PullProgress
from corten_shared.models.oci import Descriptor
from corten_shared.reference import Reference, parse_name, parse_normalized
from cortend.core import platforms, trace
from cortend.core.limits import PULL_PATIENCE
from cortend.core.metadata import Metadata
from cortend.core.registry import Credentials, Fetcher, Registries
from cortend.core.verify import ImageVerifier
from cortend.core.workers import Workers
from cortend.services.download import Downloader, Patience
from cortend.services.finish import finished
from cortend.services.image_documents import (
    DocumentStore,
    ImageDocuments,
    check_config,
    check_manifest,
    config_labels,
)
from cortend.services.image_names import put_image
from cortend.services.leases import end_resumed, temporary_lease
from cortend.services.locks import Locks
from cortend.services.progress import ProgressBoard, short
from cortend.services.pull_documents import DocumentFetcher, Found, Wanted
from cortend.services.unpack import Unpacker, single_error


class PullOptions(NamedTuple):
    """How to pull.

    `platforms` are os/arch[/variant]; none means the host's. The image of the first one found is unpacked, unless
    `unpack` says no: then what is no container image is taken as well. `every` fetches all platforms, `metadata` the
    documents of those left out. `concurrent` bounds this pull's downloads (0: the daemon's bound alone).
    """

    platforms: Sequence[str] = ()
    every: bool = False
    metadata: bool = False
    unpack: bool = True
    snapshotter: str = ""
    labels: Mapping[str, str] = {}
    concurrent: int = 0


class _Order(NamedTuple):
    """What one pull is about."""

    ns: str
    reference: Reference
    wanted: Wanted
    credentials: Credentials | None
    snapshotter: str
    options: PullOptions


@dataclass
class _Run:
    """One pull under way."""

    order: _Order
    fetcher: Fetcher
    lease: str
    board: ProgressBoard[PullProgress]
    slots: contextlib.AbstractAsyncContextManager[object]
    patience: Patience
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
        self._locks = Locks()

    async def pull(
        self,
        ns: str,
        reference: str,
        *,
        platform: str = "",
        credentials: Credentials | None = None,
        options: PullOptions | None = None,
    ) -> AsyncIterator[PullProgress]:
        """Pull `reference` and tell how it goes; the last line has the image.

        An error comes from the first step of the iteration as long as nothing was said yet (unknown name, registry
        down), from a later one afterwards. Ending the iteration early (`aclose`) cancels the pull. Raises as
        core.registry.Fetcher and core.diff.Applier; InvalidArgument for a malformed reference, platform or image.
        """
        order = self._order(ns, reference, platform, credentials, options or PullOptions())
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

    async def pull_all(
        self, ns: str, name: str, *, platform: str = "", credentials: Credentials | None = None
    ) -> AsyncIterator[PullProgress]:
        """Pull every tag of the repository `name`, one after the other. Raises as pull; InvalidArgument for a tag."""
        bare = parse_name(name)
        if bare.tag or bare.digest:
            raise InvalidArgument("tag can't be used with --all-tags/-a", subject=name)
        async with self._registries.fetcher(bare, credentials) as fetcher:
            tags = await fetcher.tags()
        for tag in tags:
            async for line in self.pull(ns, f"{bare}:{tag}", platform=platform, credentials=credentials):
                yield line

    def _order(
        self, ns: str, reference: str, platform: str, credentials: Credentials | None, options: PullOptions
    ) -> _Order:
        named = [text for text in (platform, *options.platforms) if text]
        found = [platforms.parse(text, self._documents.host) for text in named]
        wanted = Wanted(
            platforms=list({str(one): one for one in found}.values()) or [self._documents.host],
            every=options.every,
            metadata=options.metadata,
            artifacts=not options.unpack,
            chosen=bool(found) and not options.every,
        )
        snapshotter = options.snapshotter or self._snapshotter
        self._unpacker.snapshotter(snapshotter)
        return _Order(ns, parse_normalized(reference), wanted, credentials, snapshotter, options)

    async def _run(self, order: _Order, board: ProgressBoard[PullProgress]) -> None:
        async with (
            self._registries.fetcher(order.reference, order.credentials) as fetcher,
            temporary_lease(
                self._metadata, self._workers, order.ns, "pull", resumed_by=_name(order.reference)
            ) as lease,
        ):
            concurrent = order.options.concurrent
            slots = asyncio.Semaphore(concurrent) if concurrent else contextlib.nullcontext()
            run = _Run(order, fetcher, lease, board, slots, Patience(PULL_PATIENCE))
            target = await fetcher.resolve()
            if self._verifier is not None:
                await self._verifier.verify(str(order.reference), target)
            board.say(f"Pulling from {order.reference.path}", order.reference.object)
            found = await self._fetch_documents(run, target)
            trace.point("pull.documents.kept")
            await self._fetch_layers(run, found)
            trace.point("pull.layers.done")
            # To its end even when cancelled: the lease must not go before the record is there.
            record, changed = await finished(self._workers.run(self._finish, run, target, found))
            trace.point("pull.image.named")
        board.say(f"Digest: {target.digest}")
        familiar = order.reference.familiar
        news = f"Downloaded newer image for {familiar}" if changed else f"Image is up to date for {familiar}"
        board.say(f"Status: {news}", image=record)

    # -- documents --------------------------------------------------------------------------------------------------

    async def _fetch_documents(self, run: _Run, target: Descriptor) -> Found:
        order, familiar = run.order, run.order.reference.familiar
        documents = DocumentFetcher(
            store=self._documents,
            workers=self._workers,
            locks=self._locks,
            fetcher=run.fetcher,
            ns=order.ns,
            lease=run.lease,
            familiar=familiar,
        )
        found = await documents.fetch(target, order.wanted)
        if order.options.unpack:
            image = found.image or next(iter(found.others), None)
            if image is None:
                raise InvalidArgument(
                    f"{familiar} has no container image that could be unpacked",
                    subject=familiar,
                    hint="fetch its content alone: cortenctl images pull --no-unpack",
                )
            check_manifest(image.manifest, familiar)
            check_config(image.manifest, image.config, familiar)
        return found

    # -- layers -----------------------------------------------------------------------------------------------------

    async def _fetch_layers(self, run: _Run, found: Found) -> None:
        """Download and unpack at the same time, each layer as it arrives."""
        order = run.order
        image = found.image if order.options.unpack else None
        layers = image.manifest.layers if image is not None else []
        run.arrived = [asyncio.Event() for _ in layers]
        have = 0
        if image is not None:
            have = await self._unpacker.hold(order.ns, order.snapshotter, image.chain, run.lease)
        others = found.blobs.keys() - {layer.digest for layer in layers}
        try:
            with single_error():
                async with asyncio.TaskGroup() as group:
                    for number, layer in enumerate(layers):
                        group.create_task(self._fetch_layer(run, number, layer, unpacked=number < have))
                    for digest in others:
                        group.create_task(self._fetch_blob(run, found.blobs[digest]))
                    if image is not None:
                        group.create_task(self._unpack(run, image))
        except ResourceExhausted as error:
            if "status" not in error.details:  # no registry's 429: the disk is full, and half a layer is in the way
                await self._downloader.forget(order.ns, found.blobs.values())
            raise

    async def _fetch_layer(self, run: _Run, number: int, layer: Descriptor, *, unpacked: bool) -> None:
        await self._fetch_blob(run, layer, unpacked=unpacked)
        run.arrived[number].set()

    async def _fetch_blob(self, run: _Run, blob: Descriptor, *, unpacked: bool = False) -> None:
        board, name = run.board, short(blob.digest)
        if not unpacked:
            board.say("Pulling fs layer", name)
        async with run.slots:
            fetched = await self._downloader.fetch(
                run.order.ns,
                run.fetcher,
                blob,
                run.lease,
                lambda received: board.count("Downloading", name, received, blob.size),
                run.patience,
            )
        trace.point("pull.layer.fetched")
        if fetched:
            board.say("Verifying Checksum", name)
        board.say("Already exists" if unpacked else "Download complete", name)

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

    def _finish(self, run: _Run, target: Descriptor, found: Found) -> tuple[ImageRecord, bool]:
        """Name the image; whether anything changed."""
        order, image = run.order, found.image
        now = times.now()
        record = ImageRecord(
            name=_name(order.reference), target=target, labels={**order.options.labels}, created_at=now, updated_at=now
        )
        self._documents.forget(order.ns, target.digest)
        reference = parse_name(record.name)
        configs = [each.manifest.config.digest for each in (image, *found.others) if each is not None]
        self._documents.note_source(order.ns, reference, [*configs, *found.blobs])
        if image is not None and order.options.unpack:
            self._documents.label(order.ns, image.id, config_labels(order.snapshotter, image.chain))
        with self._metadata.update() as tx:
            end_resumed(tx, order.ns, record.name)
            before = put_image(tx, order.ns, record)
            if before is None or before.target.digest != target.digest:
                topic = "/images/create" if before is None else "/images/update"
                image_id = target.digest if image is None else image.id
                tx.emit(order.ns, topic, record.name, {"action": "pull", "name": reference.familiar, "id": image_id})
                return record, True
        return record, False


def _name(reference: Reference) -> str:
    """The name of the image's record: by digest where there is one, as docker does."""
    return str(reference._replace(tag="") if reference.digest else reference)
