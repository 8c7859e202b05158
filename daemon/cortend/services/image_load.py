"""Loading images from an archive: a docker archive or an OCI layout, plain, gzip, bzip2, xz or zstd.

    body -> [child that decodes] -> members -> blobs (checked, under a lease) -> snapshots -> image records + events
                                       `-> small ones in a nameless file

A layer is hashed and written while the archive comes; a sender that is faster is slowed down. What the archive says
becomes keys of a table, never a path. A load has a thread of its own: a slow sender would keep a pool's.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from corten_shared import times
from corten_shared.errors import DataLoss, InvalidArgument
from corten_shared.models.image import ImageRecord, Progress
from corten_shared.models.oci import Platform
from cortend.core import trace
from cortend.core.archives import ArchiveReader, Recoder
from cortend.core.content import ContentStore
from cortend.core.metadata import Metadata, Transaction
from cortend.core.workers import Workers
from cortend.services.archive_contents import ArchiveContents, LayerKeeper
from cortend.services.archive_images import AS_NAMED, Found, Naming, read_images
from cortend.services.feed import Feed
from cortend.services.finish import ended, finished
from cortend.services.image_documents import DocumentStore, ImageDocuments, config_labels
from cortend.services.image_names import DANGLING, put_image
from cortend.services.leases import temporary_lease
from cortend.services.unpack import Unpacker

MAX_ARCHIVE = 64 << 30
"""Bytes of an archive, as it comes and unpacked."""

_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ")
_LONGEST_MAGIC = 6


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What to take of an archive: only the images for `wanted`, when there are some, named by `naming`."""

    wanted: Sequence[Platform] = ()
    naming: Naming = AS_NAMED
    unpack: bool = True


EVERYTHING = LoadRequest()


class Loaded(NamedTuple):
    """An image that came: its name as docker shows it (empty: it has none), its id and its record."""

    name: str
    id: str
    record: ImageRecord


class ImageLoadService:
    """Loads archives. `directory` is where they lie meanwhile, without a name: nothing stays of a killed daemon."""

    def __init__(
        self,
        *,
        metadata: Metadata,
        content: ContentStore,
        documents: DocumentStore,
        unpacker: Unpacker,
        reader: ArchiveReader,
        recoder: Recoder,
        workers: Workers,
        snapshotter: str,
        directory: Path,
        request_gc: Callable[[], None],
    ) -> None:
        self._metadata = metadata
        self._content = content
        self._documents = documents
        self._unpacker = unpacker
        self._reader = reader
        self._recoder = recoder
        self._workers = workers
        self._snapshotter = snapshotter
        self._directory = directory
        self._request_gc = request_gc

    async def load(
        self, ns: str, chunks: AsyncIterator[bytes], request: LoadRequest = EVERYTHING
    ) -> AsyncGenerator[Progress | Loaded, None]:
        """Everything in the archive: `Loading layer` once it has come, with what is unpacked of each; then the images.

        Raises InvalidArgument for an archive that is damaged, broken or lies; NotFound when it has nothing for the
        platforms; ResourceExhausted. Nothing is kept when it fails, and nothing is ever fetched.
        """
        try:
            with await finished(self._workers.run(self._scratch), lambda file: file.close()) as file:
                async with temporary_lease(self._metadata, self._workers, ns, "load", transient=True) as lease:
                    found = await self._take(ns, chunks, file, lease, request)
                    trace.point("load.archive.read")
                    for image in found if request.unpack else ():
                        async for progress in self._unpack(ns, image, lease):
                            yield progress
                        trace.point("load.image.unpacked")
                    loaded = await finished(self._workers.run(self._name, ns, found))
                    trace.point("load.images.named")
        finally:
            self._request_gc()  # what the archive had and no image of it needs
        for image_line in loaded:
            yield image_line

    def _scratch(self) -> BinaryIO:
        return cast(BinaryIO, tempfile.TemporaryFile(dir=self._directory))

    # -- taking in ----------------------------------------------------------------------------------------------------

    async def _take(
        self, ns: str, chunks: AsyncIterator[bytes], file: BinaryIO, lease: str, request: LoadRequest
    ) -> list[Found]:
        async with self._plain(chunks) as plain:
            feed = Feed(plain, limit=MAX_ARCHIVE, what="the archive to load")
            own = ThreadPoolExecutor(1, thread_name_prefix="load")
            reading = asyncio.get_running_loop().run_in_executor(own, self._read, ns, feed, file, lease, request)
            pumping = asyncio.ensure_future(feed.pump())
            try:
                both: list[asyncio.Future[Any]] = [reading, pumping]
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    await pumping
                return await asyncio.shield(reading)
            finally:
                feed.close()
                pumping.cancel()
                own.shutdown(wait=False)
                await ended(reading)
                await asyncio.wait([pumping])
                if not pumping.cancelled():
                    pumping.exception()

    @contextlib.asynccontextmanager
    async def _plain(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
        """The archive, uncompressed."""
        head = b""
        while len(head) < _LONGEST_MAGIC and (chunk := await anext(chunks, None)) is not None:
            head += chunk
        if not head:
            raise InvalidArgument("the archive to load is empty")
        whole = _chain(head, chunks)
        if not head.startswith(_PACKED):
            yield whole
            return
        recoding = await self._recoder.recode(whole, "none")
        try:
            yield recoding
        except DataLoss as error:  # there is nowhere to fetch it from again
            raise InvalidArgument(f"the archive is damaged: {error.message}") from error
        finally:
            await recoding.aclose()

    def _read(self, ns: str, feed: Feed, file: BinaryIO, lease: str, request: LoadRequest) -> list[Found]:
        """In the load's thread: every large file becomes a blob, then the images are made out."""
        keeper = LayerKeeper(self._content, ns, lease)
        members = self._reader.take(feed, file, keeper.keep)
        trace.point("load.archive.spooled")
        contents = ArchiveContents(members, self._reader, self._content, self._documents, ns, lease)
        return read_images(contents, request.wanted, request.naming)

    # -- making images ------------------------------------------------------------------------------------------------

    async def _unpack(self, ns: str, found: Found, lease: str) -> AsyncGenerator[Progress, None]:
        """The image's layers for this machine as snapshots, which shows that they are what its config says."""
        self._documents.forget(ns, found.target.digest)  # an index may have more platforms now
        image = await self._workers.run(self._documents.load, ns, found.target)
        if image.manifest_digest not in found.ids:
            return  # it was here before
        lines: asyncio.Queue[Progress | None] = asyncio.Queue()
        working = asyncio.ensure_future(self._unpack_layers(ns, image, lease, lines))
        working.add_done_callback(lambda _: lines.put_nowait(None))
        try:
            while (line := await lines.get()) is not None:
                yield line
        finally:
            working.cancel()
            await asyncio.wait([working])
        if not working.cancelled():
            working.result()

    async def _unpack_layers(
        self, ns: str, image: ImageDocuments, lease: str, lines: asyncio.Queue[Progress | None]
    ) -> None:
        layers = image.manifest.layers

        async def arrival(number: int) -> None:
            """Every layer is there."""

        def watch(number: int, word: str, read: int) -> None:
            layer = layers[number]
            short = image.config.rootfs.diff_ids[number].removeprefix("sha256:")[:12]
            current = layer.size if word == "Pull complete" else read
            lines.put_nowait(Progress(status="Loading layer", id=short, current=current, total=layer.size))

        try:
            await self._unpacker.unpack(ns, self._snapshotter, image, lease, arrival, watch)
        except DataLoss as error:  # there is no registry to fetch it from again
            raise InvalidArgument(f"the archive is damaged: {error.message}") from error
        labels: dict[str, str | None] = {**config_labels(self._snapshotter, image.chain)}
        await self._workers.run(self._content.update, ns, image.id, labels)

    def _name(self, ns: str, found: Sequence[Found]) -> list[Loaded]:
        loaded: list[Loaded] = []
        with self._metadata.update() as tx:
            for image in found:
                loaded += self._put(tx, ns, image)
        return loaded

    def _put(self, tx: Transaction, ns: str, found: Found) -> list[Loaded]:
        image_id = next(iter(found.ids.values()))
        now = times.now()
        shown: list[Loaded] = []
        for name in found.names:
            record = ImageRecord(name=str(name), target=found.target, created_at=now, updated_at=now)
            put_image(tx, ns, record)
            shown.append(Loaded(name.familiar, image_id, record))
        if not shown:
            tx.namespaces.ensure(ns)
            spare = DANGLING + found.target.digest
            record = ImageRecord(name=spare, target=found.target, created_at=now, updated_at=now)
            if not any(record.target.digest == found.target.digest for record in tx.images.list(ns)):
                tx.images.put(ns, record)
            shown.append(Loaded("", image_id, record))
        for line in shown:
            attributes = {"action": "load", "name": line.name or image_id, "id": image_id}
            tx.emit(ns, "/images/load", line.name or image_id, attributes)
        return shown


async def _chain(head: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    yield head
    async for chunk in rest:
        yield chunk
