"""Saving images: one tar that is an OCI layout and a docker archive, made while it is sent.

    oci-layout, index.json, manifest.json, blobs/sha256/<digest>...     (documents first, then layers; each blob once)

Blobs go out as they are stored, so digests stay what they were; the same images give the same bytes.
"""

from __future__ import annotations

import asyncio
import json
import tarfile
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

from corten_shared.errors import DataLoss, InvalidArgument, NotFound
from corten_shared.models.image import ImageRecord
from corten_shared.models.oci import INDEXES, MANIFESTS, OCI_INDEX, Descriptor, Platform
from corten_shared.reference import Reference, parse_name
from cortend.core import platforms
from cortend.core.content import ContentStore
from cortend.core.documents import check_index_depth, parse_index, parse_manifest
from cortend.core.metadata import Metadata
from cortend.core.workers import Workers
from cortend.services.archive_contents import BLOBS, blob_name
from cortend.services.archive_images import IMAGE_NAME, REF_NAME
from cortend.services.finish import ended, finished
from cortend.services.image_catalog import ImageCatalog
from cortend.services.image_documents import DocumentStore, no_platform
from cortend.services.image_names import id_prefix, is_dangling, no_such_image, reference_of
from cortend.services.leases import temporary_lease

_PIECE = 1 << 20
_BLOCK = 512
_END = bytes(20 * _BLOCK)


class _Choice(NamedTuple):
    """An image to save, and the names it is saved under."""

    target: Descriptor
    names: list[Reference]


@dataclass
class _Plan:
    """What the archive will have."""

    complete: bool = False
    saved: list[tuple[str, str]] = field(default_factory=list)
    index: list[dict[str, Any]] = field(default_factory=list)
    manifest: dict[str, dict[str, Any]] = field(default_factory=dict)
    documents: dict[str, int] = field(default_factory=dict)
    layers: dict[str, int] = field(default_factory=dict)


class ImageSaveService:
    """Writes archives."""

    def __init__(
        self,
        *,
        metadata: Metadata,
        content: ContentStore,
        documents: DocumentStore,
        catalog: ImageCatalog,
        workers: Workers,
    ) -> None:
        self._metadata = metadata
        self._content = content
        self._documents = documents
        self._catalog = catalog
        self._workers = workers

    async def save(
        self,
        ns: str,
        names: Sequence[str],
        *,
        wanted: Sequence[Platform] = (),
        complete: bool = False,
        docker: bool = True,
    ) -> AsyncGenerator[bytes, None]:
        """The archive with these images, piece by piece; only their variants for `wanted`, when there are some.

        Of an index what is here, or with `complete` all of it or nothing. Without `docker` it is an OCI layout only.
        A name without tag means every tag of its repository; an id saves without names. An unknown name is an error
        before the first piece: NotFound, InvalidArgument (ambiguous id). DataLoss when a blob is shorter than it was.
        """
        if not names:
            raise InvalidArgument("no images to save: names must not be empty")
        async with temporary_lease(self._metadata, self._workers, ns, "save", transient=True) as lease:
            plan = _Plan(complete=complete)
            await finished(self._workers.run_slow(self._fill, plan, ns, names, wanted, lease))
            await self._workers.run(self._tell, ns, plan)
            yield _head(plan, docker=docker)
            for digest, size in {**plan.documents, **plan.layers}.items():
                yield _header(blob_name(digest), size)
                pieces = self._blob(ns, digest, size)
                try:
                    async for piece in pieces:
                        yield piece
                finally:
                    await pieces.aclose()
                if size % _BLOCK:
                    yield bytes(-size % _BLOCK)
            yield _END

    def _tell(self, ns: str, plan: _Plan) -> None:
        """docker's event for each image."""
        with self._metadata.update() as tx:
            for name, image_id in plan.saved:
                attributes = {"action": "save", "name": name or image_id, "id": image_id}
                tx.emit(ns, "/images/save", name or image_id, attributes)

    # -- choosing ---------------------------------------------------------------------------------------------------

    def _fill(
        self, plan: _Plan, ns: str, names: Sequence[str], wanted: Sequence[Platform], lease: str
    ) -> None:
        for choice in self._choose(ns, names):
            target = self._narrowed(ns, choice.target, wanted)
            if not self._add(ns, plan, target, wanted, lease, 0):
                raise no_platform(wanted[0] if wanted else self._documents.host)
            self._list(ns, plan, choice, target, wanted)

    def _choose(self, ns: str, names: Sequence[str]) -> list[_Choice]:
        """The images that the names mean, each once with all its names, in the order they were asked for."""
        chosen: dict[str, _Choice] = {}
        for text in names:
            for record, named in self._records(ns, text):
                choice = chosen.setdefault(record.target.digest, _Choice(record.target, []))
                if named is not None and named not in choice.names:
                    choice.names.append(named)
        return list(chosen.values())

    def _records(self, ns: str, text: str) -> list[tuple[ImageRecord, Reference | None]]:
        if (every := self._tags(ns, text)) is not None:
            return every
        record = self._catalog.record(ns, text)
        reference = reference_of(record)
        by_name = reference is not None and reference.tag and not reference.digest and _names(text, reference)
        return [(record, reference if by_name else None)]

    def _tags(self, ns: str, text: str) -> list[tuple[ImageRecord, Reference | None]] | None:
        """Every tag of the repository that `text` names; None when it is no bare repository, or has none."""
        try:
            wanted = parse_name(text)
        except InvalidArgument:
            return None
        if wanted.tag or wanted.digest:
            return None
        with self._metadata.view() as tx:
            records = [record for record in tx.images.list(ns) if not is_dangling(record)]
        found: list[tuple[ImageRecord, Reference | None]] = []
        for record in sorted(records, key=lambda record: record.name):
            reference = reference_of(record)
            if reference is not None and reference.name == wanted.name and reference.tag and not reference.digest:
                found.append((record, reference))
        if not found and not id_prefix(text):
            raise no_such_image(text)
        return found or None

    def _narrowed(self, ns: str, target: Descriptor, wanted: Sequence[Platform]) -> Descriptor:
        """The one platform's manifest when one is asked for, as docker saves it; else the target itself."""
        return self._documents.narrowed(ns, target, wanted[0]) if len(wanted) == 1 else target

    # -- gathering --------------------------------------------------------------------------------------------------

    def _add(
        self, ns: str, plan: _Plan, target: Descriptor, wanted: Sequence[Platform], lease: str, depth: int
    ) -> bool:
        """Put what is below the target into the plan and under the lease; False for an index with nothing here."""
        check_index_depth(depth, f"index {target.digest}")
        if target.media_type not in INDEXES:
            return self._add_manifest(ns, plan, target, wanted if depth else (), lease, below=depth > 0)
        size = self._hold(ns, target.digest, lease)
        data = self._documents.read(ns, target.digest)
        index = parse_index(data, target.media_type, f"index {target.digest}")
        below = [
            self._add(ns, plan, child, wanted, lease, depth + 1)
            for child in index.manifests
            if child.media_type in INDEXES | MANIFESTS and (plan.complete or self._has(ns, child.digest))
        ]
        if any(below):
            plan.documents[target.digest] = size
        return any(below)

    def _add_manifest(
        self, ns: str, plan: _Plan, target: Descriptor, wanted: Sequence[Platform], lease: str, *, below: bool
    ) -> bool:
        """One image; below an index one that is not whole, or for another platform, is left out."""
        what = f"manifest {target.digest}"
        size = self._hold(ns, target.digest, lease)
        manifest = parse_manifest(self._documents.read(ns, target.digest), target.media_type, what)
        parts = [manifest.config, *manifest.layers]
        if below and not plan.complete and not all(self._has(ns, part.digest) for part in parts):
            return False
        if wanted:
            image = self._documents.load(ns, target)
            if not any(platforms.fits(image.platform, platform) for platform in wanted):
                return False
        plan.documents[target.digest] = size
        plan.documents[manifest.config.digest] = self._hold(ns, manifest.config.digest, lease)
        for layer in manifest.layers:
            plan.layers[layer.digest] = self._hold(ns, layer.digest, lease)
        return True

    def _has(self, ns: str, digest: str) -> bool:
        try:
            self._content.info(ns, digest)
        except NotFound:
            return False
        return True

    def _hold(self, ns: str, digest: str, lease: str) -> int:
        """The blob's size; it stays while it is sent. Raises NotFound."""
        if not self._has(ns, digest) or not self._content.adopt(ns, digest, lease=lease):
            raise NotFound(f"content {digest} of the image is missing", subject=digest, hint="pull the image again")
        return self._content.info(ns, digest).size

    def _list(
        self, ns: str, plan: _Plan, choice: _Choice, target: Descriptor, wanted: Sequence[Platform]
    ) -> None:
        """The image's lines in index.json and manifest.json."""
        described = {"mediaType": target.media_type, "digest": target.digest, "size": target.size}
        for name in choice.names:
            plan.index.append({**described, "annotations": {IMAGE_NAME: str(name), REF_NAME: name.tag}})
        if not choice.names:
            plan.index.append(described)
        image = self._documents.load(ns, target, wanted[0] if wanted and target.media_type in INDEXES else None)
        plan.saved += [(name.familiar, image.id) for name in choice.names] or [("", image.id)]
        entry = plan.manifest.setdefault(
            image.manifest_digest,
            {
                "Config": blob_name(image.id),
                "RepoTags": None,
                "Layers": [blob_name(layer.digest) for layer in image.manifest.layers],
            },
        )
        if choice.names:
            entry["RepoTags"] = [*(entry["RepoTags"] or ()), *(name.familiar for name in choice.names)]

    # -- bytes ------------------------------------------------------------------------------------------------------

    async def _blob(self, ns: str, digest: str, size: int) -> AsyncGenerator[bytes, None]:
        """The blob's bytes; the next piece is read while one is sent."""
        file = await finished(self._workers.run_slow(self._content.open, ns, digest), lambda file: file.close())
        left = size
        reading = self._reading(file, left)
        try:
            while left:
                await ended(reading)
                piece = reading.result()
                if not piece:
                    raise DataLoss(f"content {digest} is shorter than {size} bytes", subject=digest)
                left -= len(piece)
                reading = self._reading(file, left)
                yield piece
        finally:
            await ended(reading)
            file.close()

    def _reading(self, file: BinaryIO, left: int) -> asyncio.Future[bytes]:
        if not left:
            nothing: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            nothing.set_result(b"")
            return nothing
        return asyncio.ensure_future(self._workers.run_slow(file.read, min(_PIECE, left)))


def _names(text: str, reference: Reference) -> bool:
    """Whether `text` is the name itself, not an id that led to it."""
    try:
        wanted = parse_name(text)
    except InvalidArgument:
        return False
    return (wanted.name, wanted.tag, wanted.digest) == (reference.name, reference.tag, "")


def _head(plan: _Plan, *, docker: bool) -> bytes:
    """The archive up to its first blob."""
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": plan.index}
    files = {
        "oci-layout": {"imageLayoutVersion": "1.0.0"},
        "index.json": index,
    }
    if docker:
        files["manifest.json"] = list(plan.manifest.values())
    return b"".join(_members(files)) + _header("blobs/") + _header(BLOBS)


def _members(files: dict[str, Any]) -> Iterator[bytes]:
    for name, content in files.items():
        data = json.dumps(content, separators=(",", ":")).encode()
        yield _header(name, len(data)) + data + bytes(-len(data) % _BLOCK)


def _header(name: str, size: int = 0) -> bytes:
    """A member's header: a directory when its name ends so."""
    info = tarfile.TarInfo(name.rstrip("/"))
    info.size = size
    info.mode = 0o644
    if name.endswith("/"):
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    return info.tobuf(tarfile.GNU_FORMAT)
