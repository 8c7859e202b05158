"""Getting a blob again that was lost: from the repositories that an image's name or the blob's labels tell."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from corten_shared.errors import CortenError, DataLoss, Unavailable
from corten_shared.models.oci import INDEXES, LAYER_COMPRESSION, MANIFESTS, OCI_CONFIG, Descriptor
from corten_shared.reference import Reference
from cortend.core.check import BlobInspector
from cortend.core.documents import parse_manifest
from cortend.core.registry import Fetcher, Registries
from cortend.core.workers import Workers
from cortend.services.download import Downloader
from cortend.services.image_documents import DocumentStore, manifest_labels

log = logging.getLogger(__name__)

MOST = 4
"""Repositories that are asked for one blob."""


class Refetcher:
    """Fetches blobs by their descriptors. A registry that cannot be reached is not asked a second time."""

    def __init__(
        self,
        *,
        registries: Registries,
        documents: DocumentStore,
        downloader: Downloader,
        inspector: BlobInspector,
        workers: Workers,
    ) -> None:
        self._registries = registries
        self._documents = documents
        self._downloader = downloader
        self._inspector = inspector
        self._workers = workers
        self._silent: dict[str, str] = {}

    def begin(self) -> None:
        """Ask every registry again from now on."""
        self._silent.clear()

    async def fetch(self, ns: str, blob: Descriptor, origins: Iterable[Reference], lease: str) -> str:
        """Have the blob whole, in the namespace and under the lease, instead of what lies under its digest.

        Says from where. Raises DataLoss, naming the last reason, when nobody has it; what lay there is gone then, too:
        it was not what its digest says.
        """
        await self._workers.run(self._inspector.discard, blob.digest)
        reason = "no registry is known that has it"
        for origin in list(dict.fromkeys(origins))[:MOST]:
            if origin.domain in self._silent:
                reason = self._silent[origin.domain]
                continue
            try:
                async with self._registries.fetcher(origin) as fetcher:
                    await self._get(ns, blob, fetcher, lease)
                    return f"fetched again from {origin.domain}"
            except CortenError as error:
                reason = error.message
                if isinstance(error, Unavailable):
                    self._silent[origin.domain] = reason
                log.info("blob not fetched again", extra={"fields": {"digest": blob.digest, "error": reason}})
        raise DataLoss(f"not fetched again: {reason}", hint="pull the image again", subject=blob.digest)

    async def _get(self, ns: str, blob: Descriptor, fetcher: Fetcher, lease: str) -> None:
        if blob.media_type in LAYER_COMPRESSION:
            await self._downloader.fetch(ns, fetcher, blob, lease, lambda received: None)
            return
        data = await fetcher.manifest(blob)
        labels = manifest_labels(parse_manifest(data, blob.media_type, blob.digest)) if _is_manifest(blob) else {}
        await self._workers.run(self._documents.store, ns, blob.digest, data, labels, lease)


def _is_manifest(blob: Descriptor) -> bool:
    return blob.media_type in MANIFESTS and blob.media_type not in INDEXES


def guess(digest: str, size: int) -> Descriptor:
    """A descriptor for a blob of which only its digest is known: small ones are taken for documents."""
    layer = next(iter(LAYER_COMPRESSION))
    return Descriptor(mediaType=OCI_CONFIG if size <= 64 << 10 else layer, digest=digest, size=size)
