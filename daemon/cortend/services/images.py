"""Images: list, look up, tag, remove, and make ready for containers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import NamedTuple

from corten_shared import times
from corten_shared.errors import CortenError, InvalidArgument, NotFound
from corten_shared.models.image import ImageRecord
from corten_shared.models.oci import Descriptor, ImageConfig, Platform, RunConfig
from corten_shared.reference import parse_normalized
from cortend.core import platforms, trace
from cortend.core.archives import Recoder, Source
from cortend.core.content import ContentStore
from cortend.core.metadata import Metadata
from cortend.core.workers import Workers
from cortend.services.image_catalog import ImageCatalog, ImageView
from cortend.services.image_documents import DocumentStore, ImageDocuments, config_labels
from cortend.services.image_import import ImageImporter
from cortend.services.image_names import by_name, put_image
from cortend.services.image_removal import Removed, layers_only_of, prune_plan, remove_image, remove_unreadable
from cortend.services.leases import temporary_lease
from cortend.services.unpack import Unpacker

Views = list[ImageView]
Removals = list[Removed]


class ContainerImage(NamedTuple):
    """An image as containers are made from it; `name` is its full name, empty when it has none."""

    name: str
    documents: ImageDocuments

    @property
    def config(self) -> ImageConfig:
        """The image's configuration."""
        return self.documents.config

    @property
    def config_digest(self) -> str:
        """Docker's image id."""
        return self.documents.id

    @property
    def manifest_digest(self) -> str:
        """The digest of the platform's manifest."""
        return self.documents.manifest_digest


class ManifestState(NamedTuple):
    """A manifest as its index describes it; whether it is here, and `complete` with all that it names."""

    descriptor: Descriptor
    here: bool
    complete: bool


class HistoryItem(NamedTuple):
    """One step of an image's history, newest first; `id` is the image's for the newest, else `<missing>`."""

    id: str
    created: str | None
    created_by: str
    comment: str
    size: int
    tags: list[str]


History = list[HistoryItem]


class ImageService:
    """The use cases of images that are here. `text` is a name, `name@digest`, an id or a unique prefix of one."""

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
        request_gc: Callable[[], None],
    ) -> None:
        self._metadata = metadata
        self._content = content
        self._documents = documents
        self._unpacker = unpacker
        self._workers = workers
        self._snapshotter = snapshotter
        self._request_gc = request_gc
        self._catalog = ImageCatalog(metadata, documents, unpacker.snapshotter(snapshotter))
        self._importer = ImageImporter(
            metadata=metadata,
            content=content,
            documents=documents,
            unpacker=unpacker,
            recoder=recoder,
            source=source,
            workers=workers,
            snapshotter=snapshotter,
        )

    @property
    def documents(self) -> DocumentStore:
        """The documents of images."""
        return self._documents

    # -- look -------------------------------------------------------------------------------------------------------

    async def list(self, ns: str) -> Views:
        """Every image with at least one name, or dangling; newest first."""
        return await self._workers.run(self._catalog.views, ns)

    async def get(self, ns: str, text: str) -> ImageView:
        """Raises NotFound (`No such image: x`), InvalidArgument for an ambiguous prefix."""
        return await self._workers.run(self._catalog.find, ns, text)

    async def manifests(self, ns: str, view: ImageView) -> Sequence[ManifestState]:
        """The manifests of every platform that the image has, here or not."""

        def read() -> Sequence[ManifestState]:
            found = self._documents.manifests(ns, view.records[0].target)
            return [ManifestState(one, *self._documents.presence(ns, one)) for one in found]

        return await self._workers.run(read)

    async def history(self, ns: str, text: str, wanted: Platform | None = None) -> History:
        """How the image (for a platform) came to be, newest first. Raises as get."""
        if wanted is None:
            return _history(await self.get(ns, text))
        return _history(await self._workers.run(self._catalog.variant, ns, text, wanted))

    # -- for containers ---------------------------------------------------------------------------------------------

    async def for_container(self, ns: str, text: str, platform: str = "") -> ContainerImage:
        """The image to make a container from. Raises as get; NotFound too when it is not there for `platform`."""
        return await self._workers.run(self._for_container, ns, text, platform)

    def _for_container(self, ns: str, text: str, platform: str) -> ContainerImage:
        record = self._catalog.record(ns, text)
        wanted = platforms.parse(platform, self._documents.host) if platform else None
        documents = self._documents.load(ns, record.target, wanted)
        if wanted is not None and not platforms.fits(documents.platform, wanted):
            raise NotFound(
                f"image with reference {text} was found but its platform ({documents.platform}) does not match the "
                f"specified platform ({wanted})",
                subject=text,
                hint=f"pull it: corten pull --platform {wanted} {text}",
            )
        return ContainerImage(self._catalog.name_of(record), documents)

    async def ensure_unpacked(self, ns: str, image: ContainerImage, snapshotter: str = "") -> str:
        """Have the image's snapshots, and return the top one's name (empty for an image without layers).

        Raises as Unpacker.unpack; NotFound when a layer's content is gone.
        """
        documents, snapshotter = image.documents, snapshotter or self._snapshotter
        chain = documents.chain
        if await self._unpacker.unpacked(ns, snapshotter, documents):
            return chain[-1] if chain else ""
        async with temporary_lease(self._metadata, self._workers, ns, "unpack") as lease:
            await self._unpacker.unpack(ns, snapshotter, documents, lease, _at_once, _unwatched)
            labels: dict[str, str | None] = {**config_labels(snapshotter, chain)}
            await self._workers.run(self._content.update, ns, documents.id, labels)
        return chain[-1]

    # -- change -----------------------------------------------------------------------------------------------------

    async def tag(self, ns: str, source: str, target: str) -> None:
        """Give the image another name; a name that another image has moves. Raises as get, InvalidArgument."""
        reference = parse_normalized(target)
        if reference.digest:
            raise InvalidArgument("refusing to create a tag with a digest reference", subject=target)

        def tag() -> None:
            found = self._catalog.record(ns, source)
            image = self._documents.load(ns, found.target)
            now = times.now()
            record = ImageRecord(name=str(reference), target=found.target, created_at=now, updated_at=now)
            with self._metadata.update() as tx:
                put_image(tx, ns, record)
                attributes = {"action": "tag", "name": reference.familiar, "id": image.id}
                tx.emit(ns, "/images/update", record.name, attributes)

        await self._workers.run(tag)

    async def remove(self, ns: str, text: str, *, force: bool = False, noprune: bool = False) -> Removals:
        """Remove a name, and the image with its last one, as docker does; says what went.

        Raises as get; Conflict in docker's words when containers use it. `noprune` is accepted for docker's sake:
        layers belong to images here, there are no untagged parents to keep.
        """

        def remove() -> Removals:
            images = self._catalog.views(ns, sizes=False)
            try:
                image, record = self._catalog.select(images, text)
            except NotFound:
                if removed := self._remove_unreadable(ns, text):
                    return removed
                raise
            others = [other for other in images if other.id != image.id]
            layers = layers_only_of(image, others)
            with self._metadata.update() as tx:
                removed = remove_image(tx, ns, image, record, text, layers, force=force)
            trace.point("image.remove.untagged")
            for known in image.records:
                self._documents.forget(ns, known.target.digest)
            return removed

        removed = await self._workers.run(remove)
        self._request_gc()
        return removed

    def _remove_unreadable(self, ns: str, text: str) -> Removals:
        """Remove a name whose content is missing, or is no container image's; nothing when there is none such."""
        with self._metadata.update() as tx:
            record = by_name(tx.images.list(ns), text)
            return remove_unreadable(tx, ns, record) if record is not None else []

    async def prune(
        self, ns: str, *, dangling: bool = True, accept: Callable[[ImageView], bool] | None = None
    ) -> tuple[Removals, int]:
        """Remove images that no container uses: dangling ones, or all; says what went and how many bytes that were."""

        def prune() -> tuple[Removals, int]:
            views = self._catalog.views(ns)
            removed: Removals = []
            size = 0
            for view in prune_plan(views, dangling, accept):
                others = [other for other in views if other.id != view.id]
                layers = layers_only_of(view, others)
                try:
                    with self._metadata.update() as tx:
                        removed += remove_image(tx, ns, view, None, view.id, layers, force=False, every_name=True)
                except CortenError:
                    continue  # a container began to use it
                views = others
                size += view.size
            return removed, size

        result = await self._workers.run(prune)
        self._request_gc()
        return result

    async def import_url(
        self,
        ns: str,
        url: str,
        name: str = "",
        *,
        platform: str = "",
        message: str = "",
        config: RunConfig | None = None,
    ) -> AsyncGenerator[ImageView | None, None]:
        """As import_rootfs, of what is behind an http or https URL: None once it begins to come, then the image.

        Raises Unavailable too.
        """
        records = self._importer.import_url(
            ns, url, name, platform=platform, message=message, config=config or RunConfig()
        )
        async with contextlib.aclosing(records):
            async for record in records:
                yield None if record is None else await self._workers.run(self._catalog.view_of, ns, record)

    async def import_rootfs(
        self,
        ns: str,
        chunks: AsyncIterator[bytes],
        name: str = "",
        *,
        platform: str = "",
        message: str = "",
        config: RunConfig | None = None,
    ) -> ImageView:
        """Make an image of one layer from a tar (plain, gzip, bzip2, xz or zstd). Without `name` it is dangling.

        Raises InvalidArgument (name, platform, archive), ResourceExhausted. Nothing is kept when it fails.
        """
        record = await self._importer.import_rootfs(
            ns, chunks, name, platform=platform, message=message, config=config or RunConfig()
        )
        return await self._workers.run(self._catalog.view_of, ns, record)


async def _at_once(number: int) -> None:
    """Every layer is in the content store already."""


def _unwatched(number: int, word: str, read: int) -> None:
    """Nobody watches."""


def _history(view: ImageView) -> History:
    config = view.documents.config
    sizes = iter(view.layer_sizes)
    items: History = []
    for step in config.history:
        size = 0 if step.empty_layer else next(sizes, 0)
        items.append(HistoryItem("<missing>", step.created, step.created_by or "", step.comment or "", size, []))
    items.extend(HistoryItem("<missing>", config.created, "", "", size, []) for size in sizes)
    items.reverse()
    if items:
        items[0] = items[0]._replace(id=view.id, tags=view.tags)
    return items
