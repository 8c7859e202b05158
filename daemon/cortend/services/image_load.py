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
from typing import Any, BinaryIO, NamedTuple, TypeVar, cast

from corten_shared import times
from corten_shared.errors import CortenError, DataLoss, InvalidArgument
from corten_shared.models.image import ImageRecord, Progress
from corten_shared.models.oci import Platform
from cortend.core import trace
from cortend.core.archives import ArchiveReader, Members, Recoder
from cortend.core.content import ContentStore
from cortend.core.metadata import Metadata, Transaction
from cortend.core.workers import Workers
from cortend.services.archive_contents import ArchiveContents, LayerKeeper, Preview
from cortend.services.archive_images import AS_NAMED, Found, Naming, read_images
from cortend.services.feed import Feed
from cortend.services.finish import ended, finished
from cortend.services.image_documents import DocumentStore, config_labels
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
T = TypeVar("T")


class Loaded(NamedTuple):
    """An image that came: its name as docker shows it (empty: it has none), its id and its record."""

    name: str
    id: str
    record: ImageRecord


class _Run:
    """One load: what it knows of its archive so far. On the event loop, but for `tell`."""

    def __init__(self, ns: str, lease: str, request: LoadRequest, lines: asyncio.Queue[Progress | None]) -> None:
        self.ns = ns
        self.lease = lease
        self.request = request
        self.lines = lines
        self.asked = (request.wanted, request.naming)
        self._loop = asyncio.get_running_loop()
        self.expected: asyncio.Future[list[Found]] = self._loop.create_future()
        self._here: set[str] = set()
        self._all_here = False
        self._news = asyncio.Event()

    def tell(self, what: Callable[[T], None], news: T) -> None:
        """From the load's thread."""
        self._loop.call_soon_threadsafe(what, news)

    def foreseen(self, found: list[Found]) -> None:
        """The archive's documents came first: these images it will have, if nothing is wrong with the rest."""
        if not self.expected.done():
            self.expected.set_result(found)

    def arrived(self, digest: str) -> None:
        """A blob has come."""
        self._here.add(digest)
        self._news.set()

    def everything_is_here(self) -> None:
        """The archive has come whole, and is what it says."""
        self.foreseen([])
        self._all_here = True
        self._news.set()

    async def arrival(self, digest: str) -> None:
        """Return once a blob is in the store."""
        while digest not in self._here and not self._all_here:
            self._news.clear()
            await self._news.wait()


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
        """Everything in the archive: `Loading layer` with what is unpacked of each; then the images.

        Raises InvalidArgument for an archive that is damaged, broken or lies; NotFound when it has nothing for the
        platforms; ResourceExhausted. Nothing is kept when it fails, and nothing is ever fetched.
        """
        lines: asyncio.Queue[Progress | None] = asyncio.Queue()
        try:
            with await finished(self._workers.run(self._scratch), lambda file: file.close()) as file:
                async with temporary_lease(self._metadata, self._workers, ns, "load", transient=True) as lease:
                    working = asyncio.ensure_future(self._work(_Run(ns, lease, request, lines), chunks, file))
                    working.add_done_callback(lambda _: lines.put_nowait(None))
                    try:
                        while (line := await lines.get()) is not None:
                            yield line
                        loaded = await asyncio.shield(working)
                    finally:
                        working.cancel()
                        await ended(working)
        finally:
            self._request_gc()  # what the archive had and no image of it needs
        for image in loaded:
            yield image

    async def _work(self, run: _Run, chunks: AsyncIterator[bytes], file: BinaryIO) -> list[Loaded]:
        """Take it in, unpack, name. Layers of an archive whose documents come first are unpacked while others come."""
        early = asyncio.ensure_future(self._unpack_early(run))
        try:
            found = await self._take(run, chunks, file)
            trace.point("load.archive.read")
            run.everything_is_here()
            await early
            for image in found if run.request.unpack else ():
                await self._unpack(run, image)
                trace.point("load.image.unpacked")
        finally:
            early.cancel()
            await asyncio.wait([early])
            if not early.cancelled():
                early.exception()
        loaded = await finished(self._workers.run(self._name, run.ns, found))
        trace.point("load.images.named")
        return loaded

    def _scratch(self) -> BinaryIO:
        return cast(BinaryIO, tempfile.TemporaryFile(dir=self._directory))

    # -- taking in ----------------------------------------------------------------------------------------------------

    async def _take(self, run: _Run, chunks: AsyncIterator[bytes], file: BinaryIO) -> list[Found]:
        async with self._plain(chunks) as plain:
            feed = Feed(plain, limit=MAX_ARCHIVE, what="the archive to load")
            own = ThreadPoolExecutor(1, thread_name_prefix="load")
            reading = asyncio.get_running_loop().run_in_executor(own, self._read, run, feed, file)
            pumping = asyncio.ensure_future(feed.pump())
            both: list[asyncio.Future[Any]] = [reading, pumping]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done() or pumping.done():
                    await pumping  # what was wrong with the stream comes first: the thread only saw it end
                return await asyncio.shield(reading)
            finally:
                feed.close()
                pumping.cancel()
                own.shutdown(wait=False)
                await ended(reading)
                await asyncio.wait([pumping])
                for future in both:  # seen: nobody else will look
                    if not future.cancelled():
                        future.exception()

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

    def _read(self, run: _Run, feed: Feed, file: BinaryIO) -> list[Found]:
        """In the load's thread: every large file becomes a blob, then the images are made out."""

        def ahead(members: Members) -> None:
            # What is wrong with it, or not there yet, is told when everything has come.
            with contextlib.suppress(CortenError):
                run.tell(run.foreseen, read_images(self._contents(Preview, members, run), *run.asked))

        keeper = LayerKeeper(self._content, run.ns, run.lease, ahead=ahead, arrived=lambda d: run.tell(run.arrived, d))
        members = self._reader.take(feed, file, keeper)
        trace.point("load.archive.spooled")
        return read_images(self._contents(ArchiveContents, members, run), *run.asked)

    def _contents(self, kind: type[ArchiveContents], members: Members, run: _Run) -> ArchiveContents:
        return kind(members, self._reader, self._content, self._documents, run.ns, run.lease)

    # -- making images ------------------------------------------------------------------------------------------------

    async def _unpack_early(self, run: _Run) -> None:
        """What could be foreseen. What goes wrong here is tried again, and told, when everything has come."""
        for image in await run.expected if run.request.unpack else ():
            with contextlib.suppress(CortenError):
                await self._unpack(run, image)

    async def _unpack(self, run: _Run, found: Found) -> None:
        """The image's layers for this machine as snapshots, which shows that they are what its config says."""
        self._documents.forget(run.ns, found.target.digest)  # an index may have more platforms now
        image = await self._workers.run(self._documents.load, run.ns, found.target)
        if image.manifest_digest not in found.ids:
            return  # it was here before
        layers = image.manifest.layers

        async def arrival(number: int) -> None:
            await run.arrival(layers[number].digest)

        def watch(number: int, word: str, read: int) -> None:
            layer = layers[number]
            short = image.config.rootfs.diff_ids[number].removeprefix("sha256:")[:12]
            current = layer.size if word == "Pull complete" else read
            run.lines.put_nowait(Progress(status="Loading layer", id=short, current=current, total=layer.size))

        try:
            await self._unpacker.unpack(run.ns, self._snapshotter, image, run.lease, arrival, watch)
        except DataLoss as error:  # there is no registry to fetch it from again
            raise InvalidArgument(f"the archive is damaged: {error.message}") from error
        labels: dict[str, str | None] = {**config_labels(self._snapshotter, image.chain)}
        await self._workers.run(self._content.update, run.ns, image.id, labels)

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
