"""An image from a root file system in a tar: one layer, a config, a manifest."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from corten_shared import digest as digests
from corten_shared import times
from corten_shared.errors import DataLoss, InvalidArgument
from corten_shared.models.image import ImageRecord
from corten_shared.models.oci import (
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    Platform,
    RunConfig,
)
from corten_shared.reference import parse_normalized
from cortend.core import platforms, trace
from cortend.core.archives import Recoder, Source
from cortend.core.content import ContentStore
from cortend.core.metadata import Metadata
from cortend.core.workers import Workers
from cortend.services.finish import finished
from cortend.services.hops import writing
from cortend.services.image_documents import DocumentStore, config_labels, manifest_labels
from cortend.services.image_names import DANGLING, put_image
from cortend.services.leases import temporary_lease
from cortend.services.unpack import Unpacker

_LAYER_TYPES = {"none": OCI_LAYER, "gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_RECODED_MAGIC = {b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_LONGEST_MAGIC = 6


class ImageImporter:
    """Makes images from tars."""

    def __init__(
        self,
        *,
        metadata: Metadata,
        content: ContentStore,
        documents: DocumentStore,
        unpacker: Unpacker,
        recoder: Recoder,
        source: Source,
        workers: Workers,
        snapshotter: str,
    ) -> None:
        self._metadata = metadata
        self._content = content
        self._documents = documents
        self._unpacker = unpacker
        self._recoder = recoder
        self._source = source
        self._workers = workers
        self._snapshotter = snapshotter

    async def import_url(
        self, ns: str, url: str, name: str, *, platform: str, message: str, config: RunConfig
    ) -> AsyncGenerator[ImageRecord | None, None]:
        """See ImageService.import_url."""
        async with self._source.open(url) as chunks:
            yield None
            yield await self.import_rootfs(
                ns, chunks, name, platform=platform, message=message or f"Imported from {shown_url(url)}", config=config
            )

    async def import_rootfs(
        self, ns: str, chunks: AsyncIterator[bytes], name: str, *, platform: str, message: str, config: RunConfig
    ) -> ImageRecord:
        """See ImageService.import_rootfs."""
        full = str(parse_normalized(name)) if name else ""
        if "@" in full:
            raise InvalidArgument("cannot import digest reference", subject=name)
        made_for = platforms.parse(platform, self._documents.host)
        async with temporary_lease(self._metadata, self._workers, ns, "import") as lease:
            layer, compression = await self._take_in(ns, chunks, lease)
            trace.point("import.layer.taken")
            try:
                applied = await self._unpacker.unpack_alone(ns, self._snapshotter, layer, compression, lease)
            except DataLoss as error:  # there is no registry to fetch it from again
                raise InvalidArgument(f"the archive to import is damaged: {error.message}") from error
            trace.point("import.layer.unpacked")
            document = _config(config, made_for, applied.diff_id, message)
            storing = self._workers.run(self._store, ns, full, layer, document, applied.diff_id, lease)
            record = await finished(storing)
            trace.point("import.image.named")
            return record

    async def _take_in(self, ns: str, chunks: AsyncIterator[bytes], lease: str) -> tuple[Descriptor, str]:
        """The stream as a layer's blob, and its compression. What came of a stream that fails is dropped."""
        head, whole = await _peeked(chunks)
        if not head:
            raise InvalidArgument("the archive to import is empty")
        if not head.startswith(tuple(_RECODED_MAGIC)):
            compression = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "none")
            return await self._keep(ns, whole, compression, lease), compression
        # No media type says bzip2 or xz: the layer is a gzip one.
        recoding = await self._recoder.recode(whole, "gzip")
        try:
            return await self._keep(ns, recoding, "gzip", lease), "gzip"
        except DataLoss as error:  # there is no registry to fetch it from again
            raise InvalidArgument(f"the archive to import is damaged: {error.message}") from error
        finally:
            await recoding.aclose()

    async def _keep(self, ns: str, chunks: AsyncIterator[bytes], compression: str, lease: str) -> Descriptor:
        async with writing(self._content, self._workers, ns, f"import-{lease}", lease=lease) as hops:
            hops.drop = True
            async for chunk in chunks:
                await hops.gather(chunk)
            await hops.flush()
            digest, size = hops.writer.digest, hops.writer.offset
            await hops.commit(size)
        return Descriptor(mediaType=_LAYER_TYPES[compression], digest=digest, size=size)

    def _store(self, ns: str, name: str, layer: Descriptor, config: bytes, diff_id: str, lease: str) -> ImageRecord:
        described = Descriptor(mediaType=OCI_CONFIG, digest=digests.of(config), size=len(config))
        manifest = Manifest(schemaVersion=2, mediaType=OCI_MANIFEST, config=described, layers=[layer])
        data = json.dumps(manifest.model_dump(by_alias=True, exclude_none=True)).encode()
        target = Descriptor(mediaType=OCI_MANIFEST, digest=digests.of(data), size=len(data))
        self._documents.store(ns, described.digest, config, config_labels(self._snapshotter, [diff_id]), lease)
        self._documents.store(ns, target.digest, data, manifest_labels(manifest), lease)
        now = times.now()
        record = ImageRecord(name=name or DANGLING + target.digest, target=target, created_at=now, updated_at=now)
        with self._metadata.update() as tx:
            if name:
                put_image(tx, ns, record)
            else:
                tx.images.put(ns, record)
            attributes = {"action": "import", "name": name or described.digest, "id": described.digest}
            tx.emit(ns, "/images/create", record.name, attributes)
        return record


def shown_url(url: str) -> str:
    """A URL to show and to keep: without a login and a query, where secrets live."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


async def _peeked(chunks: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes]]:
    """The first bytes of a stream, and the whole stream."""
    head = b""
    while len(head) < _LONGEST_MAGIC and (chunk := await anext(chunks, None)) is not None:
        head += chunk

    async def whole() -> AsyncGenerator[bytes, None]:
        yield head
        async for chunk in chunks:
            yield chunk

    return head, whole()


def _config(config: RunConfig, platform: Platform, diff_id: str, message: str) -> bytes:
    created = times.format_rfc3339(times.now())
    document: dict[str, Any] = {
        "created": created,
        "architecture": platform.architecture,
        "os": platform.os,
        "config": config.model_dump(by_alias=True, exclude_none=True),
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "comment": message or "Imported from -"}],
    }
    if platform.variant:
        document["variant"] = platform.variant
    return json.dumps(document).encode()
