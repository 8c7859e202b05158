"""The check of content: is every blob what its digest says, is everything there that an image needs?

First every file is read and hashed, then each image is followed from its name down, so that what is wrong is mended in
the order in which it is needed: an index before its manifests, a manifest before its layers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from corten_shared.errors import Conflict, CortenError, NotFound
from corten_shared.models.check import Finding
from corten_shared.models.image import ImageRecord
from corten_shared.models.oci import INDEXES, Descriptor
from corten_shared.reference import Reference
from cortend.core import gc, limits
from cortend.core.check import BlobInspector, BlobRow, StoreInspector
from cortend.core.content import BlobStat, BlobStore, ContentStore
from cortend.core.documents import parse_config, parse_index, parse_manifest
from cortend.core.metadata import Metadata
from cortend.core.workers import Workers
from cortend.services.check_run import CheckRun, Mend
from cortend.services.image_documents import DocumentStore, ImageDocuments, content_references, manifest_labels
from cortend.services.image_names import reference_of
from cortend.services.refetch import Refetcher, guess
from cortend.services.sources import origins

_SIDE_BY_SIDE = 2
_EVERY = 32
"""Blobs between two lines of progress."""


class ContentChecker:
    """Checks and mends blobs. `free` removes a file that no namespace sees and nobody is about to name."""

    def __init__(
        self,
        *,
        inspector: StoreInspector,
        bytes_: BlobInspector,
        blobs: BlobStore,
        content: ContentStore,
        documents: DocumentStore,
        refetcher: Refetcher,
        metadata: Metadata,
        workers: Workers,
        free: Callable[[str], bool],
    ) -> None:
        self._inspector = inspector
        self._bytes = bytes_
        self._blobs = blobs
        self._content = content
        self._documents = documents
        self._refetcher = refetcher
        self._metadata = metadata
        self._workers = workers
        self._free = free

    async def hash_all(self, run: CheckRun) -> None:
        """Read every file. What is wrong is remembered, not yet reported: an image may know where to get it."""
        self._refetcher.begin()
        rows = await self._workers.run(self._inspector.blobs)
        stats = await self._workers.run(lambda: list(self._blobs.walk()))
        run.stored = {stat.digest: stat.size for stat in stats}
        for row in rows:
            run.rows.setdefault(row.digest, set()).add(row.ns)
        slots = asyncio.Semaphore(_SIDE_BY_SIDE)
        done = 0

        async def hash_one(stat: BlobStat) -> None:
            nonlocal done
            async with slots:
                why = await self._workers.run_slow(self._wrong, stat)
            done += 1
            run.count("blobs")
            run.count("bytes", stat.size)
            if why:
                run.bad[stat.digest] = why
            if done % _EVERY == 0:
                run.progress("content", done, len(stats))

        async with asyncio.TaskGroup() as group:
            for stat in stats:
                group.create_task(hash_one(stat))
        await self._sizes(run, rows)

    def _wrong(self, stat: BlobStat) -> str:
        try:
            found = self._bytes.hash(stat.digest)
        except NotFound:
            return ""  # removed meanwhile
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return "" if found == stat.digest else f"has {stat.size} bytes with the digest {found}"

    async def _sizes(self, run: CheckRun, rows: Sequence[BlobRow]) -> None:
        for row in rows:
            size = run.stored.get(row.digest)
            if size is None or size == row.size or row.digest in run.bad:
                continue
            detail = f"blob {row.digest} has {size} bytes, its row says {row.size}"
            finding = Finding(problem="row-wrong", subject=row.digest, namespace=row.ns, detail=detail)

            async def correct(row: BlobRow = row, size: int = size) -> str:
                await self._workers.run(self._inspector.set_size, row.ns, row.digest, size)
                return "corrected"

            await run.report(finding, correct)

    # -- images -----------------------------------------------------------------------------------------------------

    async def images(self, run: CheckRun) -> None:
        """Follow every image down to its layers."""
        for ns, record in await self._workers.run(self._records):
            run.count("images")
            known = reference_of(record)
            if await self._descend(run, ns, record.target, [known] if known else [], 0):
                continue
            detail = f"image {record.name} is not whole: its manifest or config is missing or damaged"
            finding = Finding(problem="image-incomplete", subject=record.name, namespace=ns, detail=detail)

            async def drop(ns: str = ns, record: ImageRecord = record) -> str:
                await self._workers.run(self._drop_name, ns, record)
                return "the name was removed"

            await run.report(finding, drop)

    def _records(self) -> list[tuple[str, ImageRecord]]:
        with self._metadata.view() as tx:
            return [
                (namespace.name, record)
                for namespace in tx.namespaces.list()
                for record in tx.images.list(namespace.name)
            ]

    def _drop_name(self, ns: str, record: ImageRecord) -> None:
        with self._metadata.update() as tx:
            tx.images.delete(ns, record.name)
            tx.emit(ns, "/images/delete", record.name, {"action": "untag", "name": record.name})
        self._documents.forget(ns, record.target.digest)

    async def _descend(
        self, run: CheckRun, ns: str, target: Descriptor, known: list[Reference], depth: int
    ) -> bool:
        """Whether the documents below `target` are whole now; layers are mended on the way, and not needed for that."""
        if depth > limits.images().index_depth or not await self._whole(run, ns, target, known):
            return False
        try:
            data = await self._workers.run(self._documents.read, ns, target.digest)
            if target.media_type in INDEXES:
                return await self._index(run, ns, target, data, known, depth)
            manifest = parse_manifest(data, target.media_type, target.digest)
            await self._labels(ns, target.digest, manifest_labels(manifest))
            if not await self._whole(run, ns, manifest.config, known):
                return False
            raw = await self._workers.run(self._documents.read, ns, manifest.config.digest)
            image = ImageDocuments(target.digest, manifest, parse_config(raw, manifest.config.digest))
        except CortenError:
            return False
        for layer in manifest.layers:
            await self._whole(run, ns, layer, known)
        for number, name in enumerate(image.chain):
            run.layers.setdefault((ns, name), (image, number))
        await self._snapshots(run, ns, image)
        return True

    async def _index(
        self, run: CheckRun, ns: str, target: Descriptor, data: bytes, known: list[Reference], depth: int
    ) -> bool:
        """Only those manifests count that were fetched: which ones the labels of the index tell, and the rows."""
        kept = await self._referred(ns, target.digest)
        whole = True
        present: dict[str, str] = {}
        for number, child in enumerate(parse_index(data, target.media_type, target.digest).manifests):
            if child.digest in kept or ns in run.rows.get(child.digest, ()):
                present[f"m.{number}"] = child.digest
                whole &= await self._descend(run, ns, child, known, depth + 1)
        await self._labels(ns, target.digest, content_references(present))
        return whole and bool(present)

    async def _snapshots(self, run: CheckRun, ns: str, image: ImageDocuments) -> None:
        if not image.chain:
            return
        labels = (await self._workers.run(self._content.info, ns, image.id)).labels
        for reference in gc.references(ns, labels):
            if reference.target.kind.startswith(gc.SNAPSHOT):
                run.wanted[ns, reference.target.kind.removeprefix(gc.SNAPSHOT), image.chain[-1]] = image

    async def _referred(self, ns: str, digest: str) -> set[str]:
        info = await self._workers.run(self._content.info, ns, digest)
        return {found.target.id for found in gc.references(ns, info.labels) if found.target.kind == gc.CONTENT}

    async def _labels(self, ns: str, digest: str, wanted: dict[str, str]) -> None:
        """Have a document keep what it needs; only what is missing is written."""
        if not set(wanted.values()) <= await self._referred(ns, digest):
            await self._workers.run(self._content.update, ns, digest, {**wanted})

    # -- one blob ---------------------------------------------------------------------------------------------------

    async def _whole(self, run: CheckRun, ns: str, blob: Descriptor, known: list[Reference]) -> bool:
        """Whether a namespace has a blob, whole; mends it. A blob is judged once."""
        key = (ns, blob.digest)
        if key not in run.seen:
            run.seen[key] = await self._judge(run, ns, blob, known)
        return run.seen[key]

    async def _judge(self, run: CheckRun, ns: str, blob: Descriptor, known: list[Reference]) -> bool:
        here, seen = blob.digest in run.stored, ns in run.rows.get(blob.digest, ())
        bad = run.bad.get(blob.digest)
        if here and seen and bad is None:
            return True
        if bad is not None:
            finding = Finding(
                problem="blob-damaged", subject=blob.digest, namespace=ns, detail=f"blob {blob.digest} {bad}"
            )
        else:
            what = "its file is gone" if not here else "an image needs it, and the namespace does not have it"
            detail = f"blob {blob.digest}: {what}"
            finding = Finding(problem="blob-missing", subject=blob.digest, namespace=ns, detail=detail)

        async def mend() -> str:
            lease = await run.lease(ns)
            if here and bad is None and await self._workers.run(self._content.adopt, ns, blob.digest, None, lease):
                return "shown to the namespace again"
            told = await self._workers.run(self._origins, blob.digest)
            said = await self._refetcher.fetch(ns, blob, [*known, *told], lease)
            run.bad.pop(blob.digest, None)
            run.stored[blob.digest] = blob.size
            return said

        if not await run.report(finding, mend):
            return False
        run.rows.setdefault(blob.digest, set()).add(ns)
        return True

    def _origins(self, digest: str) -> list[Reference]:
        """What the labels of the blob's rows tell, in any namespace."""
        found: list[Reference] = []
        for row in self._inspector.blobs():
            if row.digest == digest:
                found += origins(self._content.info(row.ns, digest).labels)
        return found

    # -- the rest ---------------------------------------------------------------------------------------------------

    async def rest(self, run: CheckRun) -> None:
        """Blobs that no image needs: damaged ones are fetched again where labels tell from where, or dropped."""
        rows = await self._workers.run(self._inspector.blobs)
        for row in rows:
            if (row.ns, row.digest) in run.seen:
                continue
            gone = row.digest not in run.stored
            if not gone and row.digest not in run.bad:
                continue
            run.seen[row.ns, row.digest] = True
            why = "its file is gone" if gone else run.bad[row.digest]
            await run.report(
                Finding(
                    problem="blob-missing" if gone else "blob-damaged",
                    subject=row.digest,
                    namespace=row.ns,
                    detail=f"blob {row.digest}: {why}",
                ),
                self._fetch_or_drop(run, row),
            )
        await self._unnamed(run)
        for name in await self._workers.run(self._bytes.strays):
            detail = f"content/{name} is neither a blob nor an ingest"
            finding = Finding(problem="leftover", subject=name, detail=detail)

            async def remove(name: str = name) -> str:
                await self._workers.run(self._bytes.remove_stray, name)
                return "removed"

            await run.report(finding, remove)

    def _fetch_or_drop(self, run: CheckRun, row: BlobRow) -> Mend:
        async def mend() -> str:
            known = await self._workers.run(self._origins, row.digest)
            try:
                lease = await run.lease(row.ns)
                said = await self._refetcher.fetch(row.ns, guess(row.digest, row.size), known, lease)
            except CortenError as error:
                await self._workers.run(self._inspector.drop_blob, row.digest)
                return f"dropped: no image needs it, and it was {error.message}"
            run.bad.pop(row.digest, None)
            run.stored[row.digest] = row.size
            return said

        return mend

    async def _unnamed(self, run: CheckRun) -> None:
        """Files without a row; one that is about to get its row has it when we look again."""
        named = {row.digest for row in await self._workers.run(self._inspector.blobs)}
        for digest in sorted(run.stored.keys() - named - {digest for _, digest in run.seen}):
            detail = f"blob {digest} is in no namespace ({run.stored[digest]} bytes)"
            finding = Finding(problem="blob-extra", subject=digest, detail=detail)

            async def remove(digest: str = digest) -> str:
                if not await self._workers.run(self._free, digest):
                    raise Conflict("it is in use now")
                return "removed"

            await run.report(finding, remove)
