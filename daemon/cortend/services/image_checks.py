"""How whole an image is, and what it takes. Blocks."""

from __future__ import annotations

from corten_shared.errors import CortenError, NotFound
from corten_shared.models.api import ImageCheck, ImageUsage, LayerUsage
from corten_shared.models.image import ImageRecord
from corten_shared.models.oci import Descriptor
from cortend.core.content import ContentStore
from cortend.core.metadata import Metadata
from cortend.core.snapshots import Snapshotter
from cortend.services.image_documents import DocumentStore, ImageDocuments


class ImageChecks:
    """Looks at the parts of images, for this host's platform."""

    def __init__(self, *, metadata: Metadata, content: ContentStore, documents: DocumentStore) -> None:
        self._metadata = metadata
        self._content = content
        self._documents = documents

    def check(self, ns: str, snapshotter: Snapshotter) -> list[ImageCheck]:
        """Every image of the namespace, by name."""
        with self._metadata.view() as tx:
            records = tx.images.list(ns)
        blobs = {blob.digest: blob.size for blob in self._content.walk(ns)}
        return [self._check(ns, record, blobs, snapshotter) for record in records]

    def _check(self, ns: str, record: ImageRecord, blobs: dict[str, int], snapshotter: Snapshotter) -> ImageCheck:
        documents = self._load(ns, record, blobs)
        needed = [record.target] if documents is None else _needed(record, documents)
        # Documents of an index are as large as they are: only the index says so, and nobody keeps it.
        sizes = {found.digest: found.size or blobs.get(found.digest, 0) for found in needed}
        present = [digest for digest in sizes if blobs.get(digest) == (sizes[digest] or blobs.get(digest))]
        whole = documents is not None and len(present) == len(sizes)
        return ImageCheck(
            name=record.name,
            target=record.target,
            status="unavailable" if documents is None else "complete" if whole else "incomplete",
            blobs=len(sizes),
            blobs_present=len(present),
            size=sum(sizes.values()),
            size_present=sum(sizes[digest] for digest in present),
            unpacked=documents is not None and self._unpacked(ns, documents, snapshotter),
        )

    def _load(self, ns: str, record: ImageRecord, blobs: dict[str, int]) -> ImageDocuments | None:
        """The image's documents; what is remembered of them does not count when they are gone."""
        try:
            documents = self._documents.load(ns, record.target)
        except CortenError:
            return None
        return documents if documents.manifest_digest in blobs else None

    @staticmethod
    def _unpacked(ns: str, documents: ImageDocuments, snapshotter: Snapshotter) -> bool:
        try:
            for name in documents.chain[-1:]:
                snapshotter.stat(ns, name)
        except NotFound:
            return False
        return True

    def usage(self, ns: str, record: ImageRecord, snapshotter: Snapshotter) -> ImageUsage:
        """What one image takes. Raises NotFound when its documents are not here."""
        documents = self._documents.load(ns, record.target)
        blobs = {blob.digest: blob.size for blob in self._content.walk(ns)}
        layers = []
        for chain_id, layer in zip(documents.chain, documents.manifest.layers, strict=True):
            try:
                used = snapshotter.usage(ns, chain_id)
                size, inodes, unpacked = used.size, used.inodes, True
            except NotFound:
                size, inodes, unpacked = 0, 0, False
            layers.append(
                LayerUsage(
                    digest=layer.digest, content=blobs.get(layer.digest, 0), snapshot=chain_id,
                    size=size, inodes=inodes, unpacked=unpacked,
                )
            )  # fmt: skip
        needed = {found.digest for found in _needed(record, documents)}
        return ImageUsage(
            name=record.name,
            content=sum(blobs.get(digest, 0) for digest in needed),
            snapshots=sum(layer.size for layer in layers),
            inodes=sum(layer.inodes for layer in layers),
            layers=layers,
        )


def _needed(record: ImageRecord, documents: ImageDocuments) -> list[Descriptor]:
    """Every blob that the image needs; the manifest's size is its own (0) where an index stands before it."""
    manifest = documents.manifest
    found = [record.target, manifest.config, *manifest.layers]
    if record.target.digest != documents.manifest_digest:
        found.append(Descriptor(mediaType=record.target.media_type, digest=documents.manifest_digest, size=0))
    return found
