"""The images of a namespace as docker shows them: by id, with all their names."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from corten_shared.errors import CortenError, InvalidArgument, NotFound
from corten_shared.models.image import ImageRecord
from corten_shared.models.oci import Platform
from corten_shared.reference import parse_normalized
from cortend.core import platforms
from cortend.core.metadata import Metadata
from cortend.core.snapshots import Snapshotter
from cortend.services.image_documents import DocumentStore, ImageDocuments, no_platform
from cortend.services.image_names import by_name, id_prefix, is_dangling, no_such_image, reference_of

log = logging.getLogger(__name__)


class ImageView(NamedTuple):
    """One image: its documents and every record that names it.

    `layer_sizes` are bytes on disk of each layer where it is unpacked, else as it was downloaded; `containers` is how
    many containers were made from it.
    """

    documents: ImageDocuments
    records: list[ImageRecord]
    layer_sizes: list[int]
    containers: int

    @property
    def id(self) -> str:
        """The config's digest."""
        return self.documents.id

    @property
    def size(self) -> int:
        """Bytes of all layers."""
        return sum(self.layer_sizes)

    @property
    def tags(self) -> list[str]:
        """`busybox:latest`, … (docker's RepoTags)."""
        references = [reference_of(record) for record in self.records]
        return sorted({ref.familiar for ref in references if ref is not None and ref.tag and not ref.digest})

    @property
    def digests(self) -> list[str]:
        """`busybox@sha256:…`, … (docker's RepoDigests)."""
        named = [(reference_of(record), record.target.digest) for record in self.records]
        return sorted({f"{ref.familiar_name}@{digest}" for ref, digest in named if ref is not None})

    @property
    def dangling(self) -> bool:
        """Whether it has no name."""
        return all(is_dangling(record) for record in self.records)

    @property
    def updated_at(self) -> int:
        """When a name last came to it, in ns since the epoch."""
        return max(record.updated_at for record in self.records)


class ImageCatalog:
    """Looks images up. Blocks; safe from many threads."""

    def __init__(self, metadata: Metadata, documents: DocumentStore, snapshotter: Snapshotter) -> None:
        self._metadata = metadata
        self._documents = documents
        self._snapshotter = snapshotter

    def views(self, ns: str, *, sizes: bool = True) -> list[ImageView]:
        """Every image, the one named last first. One whose content is missing or broken is left out."""
        with self._metadata.view() as tx:
            records = tx.images.list(ns)
            users = Counter(container.image_id for container in tx.containers.list(ns))
        grouped: dict[str, tuple[ImageDocuments, list[ImageRecord]]] = {}
        for record in records:
            try:
                documents = self._documents.load(ns, record.target)
            except CortenError as error:
                log.debug("image %s cannot be shown: %s", record.name, error)
                continue
            grouped.setdefault(documents.id, (documents, []))[1].append(record)
        known = self._snapshotter.sizes(ns) if sizes and grouped else {}
        views = [
            ImageView(documents, named, _layer_sizes(documents, known) if sizes else [], users[documents.id])
            for documents, named in grouped.values()
        ]
        return sorted(views, key=lambda view: view.updated_at, reverse=True)

    def find(self, ns: str, text: str) -> ImageView:
        """The image that `text` means; raises NotFound, InvalidArgument (ambiguous)."""
        image, _ = self.select(self.views(ns, sizes=False), text)
        return image._replace(layer_sizes=self._sizes(ns, image.documents))

    def variant(self, ns: str, text: str, wanted: Platform) -> ImageView:
        """The image that `text` means, for a platform. Raises as find, and NotFound when it is not here for that."""
        view, record = self.select(self.views(ns, sizes=False), text)
        documents = self._documents.load(ns, (record or view.records[0]).target, wanted)
        if not platforms.fits(documents.platform, wanted):
            raise no_platform(wanted)
        return view._replace(documents=documents, layer_sizes=self._sizes(ns, documents))

    def view_of(self, ns: str, record: ImageRecord) -> ImageView:
        """The image that a record names."""
        return self.find(ns, self._documents.load(ns, record.target).id)

    def select(self, views: Sequence[ImageView], text: str) -> tuple[ImageView, ImageRecord | None]:
        """The image that `text` means, and the record when it means a name. Raises as find."""
        digits = id_prefix(text)
        if digits is not None and len(digits) == 64 and (found := _by_id(views, text, digits)):
            return found, None
        for view in views:
            if (record := by_name(view.records, text)) is not None:
                return view, record
        if digits is not None and (found := _by_id(views, text, digits)):
            return found, None
        raise no_such_image(text)

    def record(self, ns: str, text: str) -> ImageRecord:
        """A record of the image that `text` means; fast for a name. Raises as find."""
        try:
            name = str(parse_normalized(text))
            with self._metadata.view() as tx:
                return tx.images.get(ns, name)
        except (NotFound, InvalidArgument):
            image, record = self.select(self.views(ns, sizes=False), text)
            return record or image.records[0]

    def name_of(self, record: ImageRecord) -> str:
        """The record's full name; empty for a dangling image."""
        return "" if is_dangling(record) else record.name

    def _sizes(self, ns: str, documents: ImageDocuments) -> list[int]:
        return _layer_sizes(documents, self._snapshotter.sizes(ns))


def _layer_sizes(documents: ImageDocuments, known: Mapping[str, int]) -> list[int]:
    """Of each layer: what its snapshot takes, where there is one."""
    layers = zip(documents.chain, documents.manifest.layers, strict=True)
    return [known.get(chain_id, layer.size) for chain_id, layer in layers]


def _by_id(views: Sequence[ImageView], text: str, digits: str) -> ImageView | None:
    """By config digest, or by the digest of the manifest or index that a record names."""
    prefix = f"sha256:{digits}"
    found = {
        view.id: view
        for view in views
        if view.id.startswith(prefix) or any(record.target.digest.startswith(prefix) for record in view.records)
    }
    if len(found) > 1:
        raise InvalidArgument(f"ambiguous image id prefix {text}: {len(found)} images match", hint="give more digits")
    return next(iter(found.values()), None)
