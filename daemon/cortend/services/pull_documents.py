"""The documents of a pull: from what a name means to the images below it, for the platforms wanted.

    target -> [index -> [index ->]] manifest -> config

Each is checked, kept under the pull's lease, and labelled with what it needs, so that the collector keeps it all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from corten_shared.errors import InvalidArgument, NotFound, ResourceExhausted
from corten_shared.models.oci import INDEXES, MANIFESTS, Descriptor, Index, Manifest, Platform
from cortend.core import limits, platforms
from cortend.core.documents import check_index_depth, parse_config, parse_index, parse_manifest
from cortend.core.limits import MAX_PULLED_DOCUMENTS
from cortend.core.registry import Fetcher
from cortend.core.workers import Workers
from cortend.services.image_documents import (
    DocumentStore,
    ImageDocuments,
    check_layers,
    check_manifest,
    content_references,
    is_image,
    manifest_labels,
    no_platform,
)
from cortend.services.locks import Locks


class Wanted(NamedTuple):
    """What a pull is to fetch below an index: for these platforms (the first is unpacked), or all there is.

    `metadata` adds the documents, without layers, of the platforms left out; `artifacts` takes what is no image, too;
    `chosen` says that somebody named the platforms.
    """

    platforms: Sequence[Platform]
    every: bool = False
    metadata: bool = False
    artifacts: bool = False
    chosen: bool = False


@dataclass
class Found:
    """What was found: the image to unpack, if there is one, others, and every blob besides the documents, by digest."""

    image: ImageDocuments | None = None
    others: list[ImageDocuments] = field(default_factory=list)
    blobs: dict[str, Descriptor] = field(default_factory=dict)

    def add(self, image: ImageDocuments) -> None:
        """One more image; the first one that can be unpacked here is the one to unpack."""
        if self.image is None and image.config.os in ("", "linux"):
            self.image = image
        else:
            self.others.append(image)
        self.blobs.update((layer.digest, layer) for layer in image.manifest.layers)


class DocumentFetcher:
    """Fetches one pull's documents; `locks` are the daemon's, so that of several pulls one fetches each."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        workers: Workers,
        locks: Locks,
        fetcher: Fetcher,
        ns: str,
        lease: str,
        familiar: str,
    ) -> None:
        self._store = store
        self._workers = workers
        self._locks = locks
        self._fetcher = fetcher
        self._ns = ns
        self._lease = lease
        self._familiar = familiar
        self._indexes: dict[str, Index] = {}
        self._needs: dict[str, dict[str, str]] = {}
        self._taken: set[str] = set()

    async def fetch(self, target: Descriptor, wanted: Wanted) -> Found:
        """Everything below `target` that is wanted.

        Raises as core.registry.Fetcher; NotFound when there is nothing for a platform, InvalidArgument for documents
        that are broken, nested too deep, or of no image (unless `artifacts`).
        """
        found = Found()
        if target.media_type not in INDEXES:
            await self._take(found, target, wanted)
            self._check_platform(found, wanted)
            return found
        for platform in wanted.platforms:
            path = await self._search(target, platform, 1, set())
            if path is not None:
                await self._take(found, path[-1], wanted)
            elif not wanted.every:
                raise no_platform(platform)
        if wanted.every or wanted.metadata:
            await self._take_all(found, target, wanted, 1, set())
        for digest, needs in self._needs.items():
            await self._label(digest, content_references(needs))
        return found

    # -- indexes ----------------------------------------------------------------------------------------------------

    async def _search(
        self, index: Descriptor, platform: Platform, depth: int, seen: set[str]
    ) -> list[Descriptor] | None:
        """The way from the index to the best manifest for a platform. Indexes that were `seen` have none."""
        if index.digest in seen:
            return None
        seen.add(index.digest)
        for child in platforms.ranked((await self._index(index, depth)).manifests, platform):
            below = await self._search(child, platform, depth + 1, seen) if child.media_type in INDEXES else []
            if below is not None:
                self._need(index, child)
                return [child, *below]
        return None

    async def _take_all(self, found: Found, index: Descriptor, wanted: Wanted, depth: int, seen: set[str]) -> None:
        if index.digest in seen:
            return
        seen.add(index.digest)
        for child in (await self._index(index, depth)).manifests:
            if child.media_type in INDEXES:
                await self._take_all(found, child, wanted, depth + 1, seen)
            elif child.media_type in MANIFESTS:
                await self._take(found, child, wanted, layers=wanted.every, beside=True)
            else:
                continue
            self._need(index, child)

    async def _index(self, index: Descriptor, depth: int) -> Index:
        check_index_depth(depth, self._familiar)
        known = self._indexes.get(index.digest)
        if known is None:
            async with self._locks.hold(("document", self._ns, index.digest)):
                data = await self._read(index)
                known = parse_index(data, index.media_type, f"index of {self._familiar}")
                await self._keep(index.digest, data, {})
            self._indexes[index.digest] = known
            self._count()
        return known

    def _need(self, index: Descriptor, child: Descriptor) -> None:
        """Have the index keep a child, under the child's number in it."""
        number = self._indexes[index.digest].manifests.index(child)
        self._needs.setdefault(index.digest, {})[f"m.{number}"] = child.digest

    # -- manifests --------------------------------------------------------------------------------------------------

    async def _take(
        self, found: Found, manifest: Descriptor, wanted: Wanted, *, layers: bool = True, beside: bool = False
    ) -> None:
        """Fetch a manifest with its config, once; `beside` others it need not be an image, nor good for anything."""
        if manifest.digest in self._taken:
            return
        what = f"manifest of {self._familiar}"
        async with self._locks.hold(("document", self._ns, manifest.digest)):
            data = await self._read(manifest)
            parsed = parse_manifest(data, manifest.media_type, what)
            if not (wanted.artifacts or beside):
                check_manifest(parsed, self._familiar)
            await self._keep(manifest.digest, data, manifest_labels(parsed))
        self._taken.add(manifest.digest)
        self._count()
        image = await self._image(manifest, parsed, beside) if is_image(parsed) else None
        if not layers:
            return
        if image is not None:
            found.add(image)
        else:
            found.blobs.update((blob.digest, blob) for blob in (parsed.config, *parsed.layers))

    async def _image(self, descriptor: Descriptor, manifest: Manifest, beside: bool) -> ImageDocuments | None:
        """The image with its config; None `beside` others when the two do not go together."""
        async with self._locks.hold(("document", self._ns, manifest.config.digest)):
            data = await self._read(manifest.config)
            try:
                config = parse_config(data, f"config of {self._familiar}")
                check_layers(manifest, config, self._familiar)
            except InvalidArgument:
                if not beside:
                    raise
                config = None
            await self._keep(manifest.config.digest, data, {})
        return None if config is None else ImageDocuments(descriptor.digest, manifest, config)

    def _check_platform(self, found: Found, wanted: Wanted) -> None:
        """A name may mean a single manifest: it must be for what somebody asked for by name."""
        image = found.image or next(iter(found.others), None)
        if not wanted.chosen or image is None:
            return
        actual = image.platform
        if not any(platforms.fits(actual, platform) for platform in wanted.platforms):
            raise NotFound(
                f"image with reference {self._familiar} was found but its platform ({actual}) does not match the "
                f"specified platform ({wanted.platforms[0]})",
                subject=self._familiar,
            )

    # -- bytes ------------------------------------------------------------------------------------------------------

    async def _read(self, descriptor: Descriptor) -> bytes:
        """A document's bytes, from the content store where they are there already."""
        if descriptor.size > (most := limits.images().document_size):
            raise InvalidArgument(
                f"{descriptor.digest} of {self._familiar} is {descriptor.size} bytes, more than the {most} "
                "that a document may have",
                subject=descriptor.digest,
            )
        try:
            return await self._workers.run(self._store.read, self._ns, descriptor.digest)
        except NotFound:
            return await self._fetcher.manifest(descriptor)

    async def _keep(self, digest: str, data: bytes, labels: dict[str, str]) -> None:
        await self._workers.run(self._store.store, self._ns, digest, data, labels, self._lease)

    async def _label(self, digest: str, labels: dict[str, str]) -> None:
        await self._workers.run(self._store.label, self._ns, digest, labels)

    def _count(self) -> None:
        if len(self._indexes) + 2 * len(self._taken) > MAX_PULLED_DOCUMENTS:
            raise ResourceExhausted(
                f"{self._familiar} has more than {MAX_PULLED_DOCUMENTS} indexes, manifests and configs",
                subject=self._familiar,
                hint="pull the platforms that you need, with --platform",
            )
