"""Loading images from an archive: a docker archive or an OCI layout, plain, gzip or zstd.

    body -> nameless file -> members -> blobs (checked, under a lease) -> snapshots -> image records + events

The body goes to disk as it comes, never into memory; what the archive says becomes keys of a table, never a path.
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from corten_shared import times
from corten_shared.errors import DataLoss, InvalidArgument, ResourceExhausted
from corten_shared.models.image import ImageRecord
from corten_shared.models.oci import Platform
from cortend.core import trace
from cortend.core.archives import ArchiveReader
from cortend.core.content import ContentStore
from cortend.core.metadata import Metadata, Transaction
from cortend.core.workers import Workers
from cortend.services.archive_contents import ArchiveContents
from cortend.services.archive_images import Found, read_images
from cortend.services.finish import finished
from cortend.services.hops import HOP
from cortend.services.image_documents import DocumentStore, config_labels
from cortend.services.image_names import DANGLING, put_image
from cortend.services.leases import temporary_lease
from cortend.services.unpack import Unpacker

MAX_ARCHIVE = 64 << 30
"""Bytes of an archive as it comes."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class Loaded(NamedTuple):
    """An image that came: its name as docker shows it (empty: it has none), and its id."""

    name: str
    id: str


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
        workers: Workers,
        snapshotter: str,
        directory: Path,
    ) -> None:
        self._metadata = metadata
        self._content = content
        self._documents = documents
        self._unpacker = unpacker
        self._reader = reader
        self._workers = workers
        self._snapshotter = snapshotter
        self._directory = directory

    async def load(
        self, ns: str, chunks: AsyncIterator[bytes], *, wanted: Sequence[Platform] = ()
    ) -> list[Loaded]:
        """Everything in the archive, with its names; only for the platforms `wanted`, when there are some.

        Raises InvalidArgument for an archive that is damaged, broken or lies; NotFound when it has nothing for the
        platforms; ResourceExhausted. Nothing is kept when it fails.
        """
        with await finished(self._workers.run(self._scratch), lambda file: file.close()) as file:
            await self._spool(file, chunks)
            trace.point("load.archive.spooled")
            async with temporary_lease(self._metadata, self._workers, ns, "load") as lease:
                found = await finished(self._workers.run_slow(self._read, ns, file, lease, wanted))
                trace.point("load.archive.read")
                for image in found:
                    await self._unpack(ns, image, lease)
                    trace.point("load.image.unpacked")
                loaded = await finished(self._workers.run(self._name, ns, found))
                trace.point("load.images.named")
                return loaded

    def _scratch(self) -> BinaryIO:
        return cast(BinaryIO, tempfile.TemporaryFile(dir=self._directory))

    async def _spool(self, file: BinaryIO, chunks: AsyncIterator[bytes]) -> None:
        gathered: list[bytes] = []
        size = total = 0
        async for chunk in chunks:
            gathered.append(chunk)
            size += len(chunk)
            if size >= HOP:
                total += size
                await self._write(file, b"".join(gathered), total)
                gathered, size = [], 0
        await self._write(file, b"".join(gathered), total + size)

    async def _write(self, file: BinaryIO, data: bytes, total: int) -> None:
        if total > MAX_ARCHIVE:
            raise InvalidArgument(f"the archive to load has more than {MAX_ARCHIVE} bytes")
        if not total:
            raise InvalidArgument("the archive to load is empty")

        def write() -> None:
            file.write(data)
            file.flush()

        try:
            await finished(self._workers.run_slow(write))
        except OSError as error:
            if error.errno in _DISK_FULL:
                raise ResourceExhausted("no space left on device while an image archive came in") from error
            raise

    def _read(self, ns: str, file: BinaryIO, lease: str, wanted: Sequence[Platform]) -> list[Found]:
        members = self._reader.index(file, self._scratch)
        with members.file:
            return read_images(
                ArchiveContents(members, self._reader, self._content, self._documents, ns, lease), wanted
            )

    async def _unpack(self, ns: str, found: Found, lease: str) -> None:
        """The image's layers for this machine as snapshots, which shows that they are what its config says."""
        self._documents.forget(ns, found.target.digest)  # an index may have more platforms now
        image = await self._workers.run(self._documents.load, ns, found.target)
        if image.manifest_digest not in found.ids:
            return  # it was here before

        async def arrival(number: int) -> None:
            """Every layer is there."""

        try:
            await self._unpacker.unpack(ns, self._snapshotter, image, lease, arrival, lambda *_: None)
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
            put_image(tx, ns, ImageRecord(name=str(name), target=found.target, created_at=now, updated_at=now))
            shown.append(Loaded(name.familiar, image_id))
        if not shown:
            tx.namespaces.ensure(ns)
            if not any(record.target.digest == found.target.digest for record in tx.images.list(ns)):
                spare = DANGLING + found.target.digest
                tx.images.put(ns, ImageRecord(name=spare, target=found.target, created_at=now, updated_at=now))
            shown.append(Loaded("", image_id))
        for line in shown:
            attributes = {"action": "load", "name": line.name or image_id, "id": image_id}
            tx.emit(ns, "/images/load", line.name or image_id, attributes)
        return shown
