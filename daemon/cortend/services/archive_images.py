"""The images of an archive, read and kept: from an OCI layout, or from a docker archive."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from corten_shared import digest as digests
from corten_shared.errors import InvalidArgument, NotFound
from corten_shared.models.oci import (
    INDEXES,
    MANIFESTS,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    ArchivedImage,
    Descriptor,
    Manifest,
    Platform,
)
from corten_shared.reference import Reference, parse_name, parse_normalized
from cortend.core import platforms
from cortend.core.documents import (
    check_index_depth,
    check_layers,
    parse_archive_manifest,
    parse_config,
    parse_index,
    parse_manifest,
)
from cortend.services.archive_contents import ArchiveContents
from cortend.services.image_documents import (
    ImageDocuments,
    check_config,
    check_manifest,
    content_references,
    manifest_labels,
)

IMAGE_NAME = "io.containerd.image.name"
"""The annotation with an image's full name, in an archive's index.json; docker and containerd write it."""
REF_NAME = "org.opencontainers.image.ref.name"
"""The OCI layout's own: mostly a tag, sometimes a whole name."""

_LAYER_TYPES = {"none": OCI_LAYER, "gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}


class Naming(NamedTuple):
    """How images of a layout are called. `base` completes a name that is only a tag; when it was asked for (`strict`),
    other full names of that annotation are left out. `digests` adds `base@digest`, `index_name` names index.json."""

    base: str = ""
    strict: bool = False
    digests: bool = False
    index_name: str = ""


AS_NAMED = Naming()


class Found(NamedTuple):
    """One image of an archive, whose content is kept: its names, what they will point at, and its platforms' images:
    the ids by manifest digest."""

    names: list[Reference]
    target: Descriptor
    ids: dict[str, str]


def read_images(
    contents: ArchiveContents, wanted: Sequence[Platform], naming: Naming = AS_NAMED
) -> list[Found]:
    """Everything in the archive (only for the platforms `wanted`, when there are some), kept under its lease.

    An archive that is both is read as an OCI layout, which has the original manifests. Blocks. Raises InvalidArgument;
    NotFound when there is nothing for the platforms.
    """
    if contents.has("index.json"):
        found = _Layout(contents, wanted, naming).read()
    elif contents.has("manifest.json"):
        found = _docker_archive(contents, wanted)
    else:
        raise InvalidArgument(
            "the archive is no image: it has neither index.json nor manifest.json",
            hint="for the tar of a root file system use import",
        )
    if not found and wanted:
        raise NotFound(f"the archive has no image for {', '.join(map(str, wanted))}")
    if not found:
        raise InvalidArgument("the archive has no image for linux")
    return found


class _Layout:
    """An OCI layout."""

    def __init__(self, contents: ArchiveContents, wanted: Sequence[Platform], naming: Naming) -> None:
        self._naming = naming
        self._contents = contents
        self._wanted = wanted

    def read(self) -> list[Found]:
        """What index.json names; one target with several names once."""
        index = parse_index(self._contents.document("index.json"), OCI_INDEX, "index.json of the archive")
        found: dict[str, Found] = {}
        for descriptor in index.manifests:
            if descriptor.media_type not in INDEXES | MANIFESTS:
                continue  # layouts may keep other things too
            names = _names_of(descriptor, self._naming)
            if (known := found.get(descriptor.digest)) is not None:
                known.names.extend(name for name in names if name not in known.names)
                continue
            if ids := self._descend(descriptor, 0):
                target = Descriptor(mediaType=descriptor.media_type, digest=descriptor.digest, size=descriptor.size)
                found[descriptor.digest] = Found(names, target, ids)
        return [*found.values(), *self._whole(found)]

    def _whole(self, found: dict[str, Found]) -> list[Found]:
        """index.json itself as an image, when it is to have a name."""
        if not self._naming.index_name or not found:
            return []
        data = self._contents.document("index.json")
        target = Descriptor(mediaType=OCI_INDEX, digest=digests.of(data), size=len(data))
        self._contents.keep(
            target.digest, data, content_references({f"m.{n}": digest for n, digest in enumerate(found)})
        )
        ids = {manifest: image_id for image in found.values() for manifest, image_id in image.ids.items()}
        return [Found([_tagged(self._naming.index_name)], target, ids)]

    def _descend(self, descriptor: Descriptor, depth: int) -> dict[str, str]:
        if descriptor.media_type in MANIFESTS:
            return self._image(descriptor)
        check_index_depth(depth + 1, "the archive")
        data = self._contents.described(descriptor)
        index = parse_index(data, descriptor.media_type, f"index {descriptor.digest}")
        ids: dict[str, str] = {}
        kept: dict[str, str] = {}
        for number, child in enumerate(index.manifests):
            # An archive may have some of an index's platforms only; an attestation is no image.
            here = child.media_type in INDEXES | MANIFESTS and self._contents.has_blob(child.digest)
            if here and _runnable(child) and (below := self._descend(child, depth + 1)):
                ids |= below
                kept[f"m.{number}"] = child.digest
        if ids:
            self._contents.keep(descriptor.digest, data, content_references(kept))
        return ids

    def _image(self, descriptor: Descriptor) -> dict[str, str]:
        contents, what = self._contents, f"manifest {descriptor.digest}"
        data = contents.described(descriptor)
        manifest = parse_manifest(data, descriptor.media_type, what)
        check_manifest(manifest, what)
        raw = contents.described(manifest.config)
        config = parse_config(raw, f"config {manifest.config.digest}")
        check_config(manifest, config, what)
        image = ImageDocuments(descriptor.digest, manifest, config)
        if not _accepted(image, self._wanted):
            return {}
        for layer in manifest.layers:
            contents.take_blob(layer)
        contents.keep(image.id, raw, {})
        contents.keep(descriptor.digest, data, manifest_labels(manifest))
        return {descriptor.digest: image.id}


def _docker_archive(contents: ArchiveContents, wanted: Sequence[Platform]) -> list[Found]:
    what = "manifest.json of the archive"
    entries = parse_archive_manifest(contents.document("manifest.json"), what)
    found: dict[str, Found] = {}
    for entry in entries:
        names = [_tagged(name) for name in entry.repo_tags or ()]
        image, manifest = _archived(contents, entry, wanted)
        if image is None:
            continue
        if (known := found.get(image.manifest_digest)) is not None:
            known.names.extend(name for name in names if name not in known.names)
            continue
        target = Descriptor(mediaType=OCI_MANIFEST, digest=image.manifest_digest, size=len(manifest))
        found[image.manifest_digest] = Found(names, target, {image.manifest_digest: image.id})
    return list(found.values())


def _archived(
    contents: ArchiveContents, entry: ArchivedImage, wanted: Sequence[Platform]
) -> tuple[ImageDocuments | None, bytes]:
    """One image; such archives have no manifests, so one is made, the same for the same files."""
    raw = contents.document(entry.config)
    what = f"config {entry.config[:200]!r} of the archive"
    config = parse_config(raw, what)
    diff_ids = config.rootfs.diff_ids
    check_layers(len(entry.layers), what)
    if len(diff_ids) != len(entry.layers):
        raise InvalidArgument(f"{what} lists {len(diff_ids)} layers, manifest.json {len(entry.layers)}")
    described = Descriptor(mediaType=OCI_CONFIG, digest=digests.of(raw), size=len(raw))
    bare = ImageDocuments("", Manifest(schemaVersion=2, config=described, layers=[]), config)
    if not _accepted(bare, wanted):
        return None, b""
    layers = []
    for name, diff_id in zip(entry.layers, diff_ids, strict=True):
        layer, compression = contents.take_file(name, diff_id)
        layers.append(layer.model_copy(update={"media_type": _LAYER_TYPES[compression]}))
    manifest = Manifest(schemaVersion=2, mediaType=OCI_MANIFEST, config=described, layers=layers)
    check_config(manifest, config, what)
    data = json.dumps(manifest.model_dump(by_alias=True, exclude_none=True)).encode()
    image = ImageDocuments(digests.of(data), manifest, config)
    contents.keep(image.id, raw, {})
    contents.keep(image.manifest_digest, data, manifest_labels(manifest))
    return image, data


def _accepted(image: ImageDocuments, wanted: Sequence[Platform]) -> bool:
    return not wanted or any(platforms.fits(image.platform, platform) for platform in wanted)


def _runnable(descriptor: Descriptor) -> bool:
    return descriptor.platform is None or descriptor.platform.os in ("", "linux")


def _names_of(descriptor: Descriptor, naming: Naming) -> list[Reference]:
    annotations = descriptor.annotations or {}
    by_digest = [parse_name(f"{naming.base}@{descriptor.digest}")] if naming.digests and naming.base else []
    if name := annotations.get(IMAGE_NAME):
        return [_tagged(name), *by_digest]
    name = annotations.get(REF_NAME, "")
    if name and ":" not in name and "/" not in name:
        name = f"{naming.base}:{name}" if naming.base else ""  # only a tag
    elif naming.strict and not _is_of(name, naming.base):
        name = ""
    try:
        return [*([_tagged(name)] if name else ()), *by_digest]
    except InvalidArgument:
        return by_digest  # the annotation may say anything


def _is_of(name: str, base: str) -> bool:
    return name.startswith(base) and name[len(base) : len(base) + 1] in ("", "/", ":", "@")


def _tagged(name: str) -> Reference:
    reference = parse_normalized(name)
    if reference.digest:
        raise InvalidArgument(f"the archive names an image by digest: {name[:200]!r}")
    return reference
