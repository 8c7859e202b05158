"""An image's documents in the content store: index, manifest and config, found and kept together.

    image record -> [index ->] manifest -> config -> snapshot of its top layer
                                    `----> layers

The arrows are labels `gc.ref.*` on the blobs, so the collector keeps what an image needs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from threading import Lock
from typing import NamedTuple

from corten_shared import digest as digests
from corten_shared.errors import AlreadyExists, InvalidArgument, NotFound
from corten_shared.models.oci import (
    DOCKER_CONFIG,
    INDEXES,
    LAYER_COMPRESSION,
    MANIFESTS,
    OCI_CONFIG,
    OCI_MANIFEST,
    Descriptor,
    ImageConfig,
    Manifest,
    Platform,
)
from corten_shared.reference import Reference
from cortend.core import limits, platforms
from cortend.core.content import ContentStore
from cortend.core.documents import check_index_depth, load_json, parse_config, parse_index, parse_manifest
from cortend.services import sources

_REMEMBERED = 2048
"""Images whose documents are kept in memory, at some 10 KB each: a list of a thousand images reads no files."""
_MEMORABLE = 48 << 10
"""Bytes of a config that is worth it: images with larger ones are rare, or are made to fill memory."""
_MANY_LAYERS = 128
_NO_PLATFORM = Platform(os="unknown", architecture="unknown")
"""How an index marks what runs nowhere: attestations of a build."""


class ImageDocuments(NamedTuple):
    """One platform's image. `manifest_digest` is the manifest's own (below an index), `id` the config's digest."""

    manifest_digest: str
    manifest: Manifest
    config: ImageConfig

    @property
    def id(self) -> str:
        """Docker's image id."""
        return self.manifest.config.digest

    @property
    def chain(self) -> list[str]:
        """The chain ids of the layers, lowest first: names of their snapshots."""
        return digests.chain_ids(self.config.rootfs.diff_ids)

    @property
    def platform(self) -> Platform:
        """What it runs on."""
        config = self.config
        return Platform(os=config.os, architecture=config.architecture, variant=config.variant)


class DocumentStore:
    """Reads and writes image documents of a namespace. Blocks; safe from many threads.

    Documents are read once: content never changes under its digest.
    """

    def __init__(self, content: ContentStore, host: Platform) -> None:
        self._content = content
        self.host = host
        self._known: OrderedDict[tuple[str, str, str], ImageDocuments] = OrderedDict()
        self._lock = Lock()

    def load(self, ns: str, target: Descriptor, wanted: Platform | None = None) -> ImageDocuments:
        """The image below `target` for a platform (None: the host's, else whichever is there).

        Raises NotFound when there is none for it, or its content is missing; InvalidArgument for broken documents.
        """
        key = (ns, target.digest, str(wanted or ""))
        with self._lock:
            if found := self._known.get(key):
                self._known.move_to_end(key)
                return found
        found = self._load(ns, target, wanted)
        if found.manifest.config.size > _MEMORABLE or len(found.manifest.layers) > _MANY_LAYERS:
            return found
        with self._lock:
            self._known[key] = found
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return found

    def narrowed(self, ns: str, target: Descriptor, wanted: Platform) -> Descriptor:
        """The manifest below `target` that is for a platform. Raises NotFound when there is none, or it is not here."""
        image = self.load(ns, target, wanted)
        if not platforms.fits(image.platform, wanted):
            raise no_platform(wanted)
        if target.media_type not in INDEXES:
            return target
        info = self._content.info(ns, image.manifest_digest)
        media_type = image.manifest.media_type or OCI_MANIFEST
        return Descriptor(mediaType=media_type, digest=info.digest, size=info.size)

    def load_manifest(self, ns: str, digest: str) -> ImageDocuments:
        """The image of one manifest, whichever kind that is. Raises as load."""
        found = load_json(self.read(ns, digest), f"manifest {digest}").get("mediaType")
        media_type = found if found in MANIFESTS else OCI_MANIFEST
        return self.load(ns, Descriptor(mediaType=media_type, digest=digest, size=0))

    def forget(self, ns: str, digest: str) -> None:
        """Drop what is remembered of a target: an image was removed, or an index has more platforms now."""
        with self._lock:
            for key in [key for key in self._known if key[:2] == (ns, digest)]:
                del self._known[key]

    def store(self, ns: str, digest: str, data: bytes, labels: Mapping[str, str], lease: str) -> None:
        """Keep a document under its digest with these labels added; what is there already is adopted."""
        if self._content.adopt(ns, digest, dict(labels), lease):
            return
        try:
            with self._content.writer(
                ns, f"document-{digest}-{lease}", lease=lease, expected=digest, size=len(data)
            ) as writer:
                writer.truncate(0)
                writer.write(data)
                writer.commit(len(data), digest, dict(labels))
        except AlreadyExists:
            self._content.adopt(ns, digest, dict(labels), lease)

    def note_source(self, ns: str, reference: Reference, digests: Iterable[str]) -> None:
        """Remember that the reference's repository has these blobs: a push may mount them from there."""
        sources.remember(self._content, ns, reference, digests)

    def label(self, ns: str, digest: str, labels: Mapping[str, str]) -> None:
        """Add labels to a document that is here. Raises NotFound."""
        self._content.update(ns, digest, {**labels})

    def read(self, ns: str, digest: str) -> bytes:
        """A document's bytes; raises NotFound."""
        return self._content.read(ns, digest, limits.images().document_size)

    def _load(self, ns: str, target: Descriptor, wanted: Platform | None) -> ImageDocuments:
        descriptor = target
        if target.media_type in INDEXES:
            descriptor = self._pick(ns, target, wanted)
        what = f"manifest {descriptor.digest}"
        manifest = parse_manifest(self.read(ns, descriptor.digest), descriptor.media_type, what)
        check_manifest(manifest, what)
        config = parse_config(self.read(ns, manifest.config.digest), f"config {manifest.config.digest}")
        check_layers(manifest, config, what)
        return ImageDocuments(descriptor.digest, manifest, config)

    def manifests(self, ns: str, target: Descriptor) -> list[Descriptor]:
        """Every manifest below `target`, whether it is here or not, as its index describes it; itself when it is one.

        Indexes that are not here are passed over. Raises InvalidArgument for broken ones.
        """
        if target.media_type not in INDEXES:
            return [target]
        return list(self._below(ns, target, lambda manifests: manifests, set(), 1))

    def presence(self, ns: str, manifest: Descriptor) -> tuple[bool, bool]:
        """Whether a manifest is here, and whether all that it names is."""
        here = self._has(ns, manifest.digest)
        return here, here and self._whole(ns, manifest)

    def _pick(self, ns: str, index: Descriptor, wanted: Platform | None) -> Descriptor:
        """The best manifest for `wanted`. For None the host's when it is here, else any that is, whole ones first."""
        platform = wanted or self.host
        best = list(self._below(ns, index, lambda manifests: platforms.ranked(manifests, platform), set(), 1))
        if wanted is not None:
            if not best:
                raise no_platform(wanted)
            return best[0]
        others = [manifest for manifest in self.manifests(ns, index) if manifest.platform != _NO_PLATFORM]
        here = [manifest for manifest in (*best[:1], *others) if self._has(ns, manifest.digest)]
        if not here:
            raise no_platform(platform)
        return next((manifest for manifest in here if self._whole(ns, manifest)), here[0])

    def _below(
        self,
        ns: str,
        index: Descriptor,
        select: Callable[[list[Descriptor]], list[Descriptor]],
        seen: set[str],
        depth: int,
    ) -> Iterator[Descriptor]:
        """The manifests below an index, each once, in the order that `select` gives its entries."""
        check_index_depth(depth, f"what names index {index.digest}")
        try:
            data = self.read(ns, index.digest)
        except NotFound:
            if depth == 1:
                raise
            return
        for entry in select(parse_index(data, index.media_type, f"index {index.digest}").manifests):
            if entry.digest in seen:  # a few indexes that repeat each other could stand for millions
                continue
            seen.add(entry.digest)
            if entry.media_type in INDEXES:
                yield from self._below(ns, entry, select, seen, depth + 1)
            elif entry.media_type in MANIFESTS:
                yield entry

    def _whole(self, ns: str, descriptor: Descriptor) -> bool:
        """Whether the config and layers of a manifest that is here are here too."""
        data = self.read(ns, descriptor.digest)
        manifest = parse_manifest(data, descriptor.media_type, f"manifest {descriptor.digest}")
        return all(self._has(ns, blob.digest) for blob in (manifest.config, *manifest.layers))

    def _has(self, ns: str, digest: str) -> bool:
        try:
            self._content.info(ns, digest)
        except NotFound:
            return False
        return True


def no_platform(wanted: Platform) -> NotFound:
    """The error, in docker's words, for an index that has nothing for a platform."""
    return NotFound(
        f"no matching manifest for {wanted} in the manifest list entries",
        subject=str(wanted),
        hint="choose a platform that the image was made for, with --platform",
    )


def check_manifest(manifest: Manifest, what: str) -> None:
    """Refuse what is no image, and layers that cannot be unpacked. Raises InvalidArgument naming `what`."""
    if manifest.config.media_type not in (OCI_CONFIG, DOCKER_CONFIG):
        raise InvalidArgument(
            f"{what} is no container image: unsupported media type {manifest.config.media_type[:100]!r}",
            subject=what,
            hint="fetch its content alone: cortenctl images pull --no-unpack",
        )
    for layer in manifest.layers:
        if layer.media_type not in LAYER_COMPRESSION:
            raise InvalidArgument(
                f"layer {layer.digest} of {what} has the unsupported media type {layer.media_type[:100]!r}",
                subject=what,
            )


def is_image(manifest: Manifest) -> bool:
    """Whether it is a container image with layers that can be unpacked, and nothing else that travels as one."""
    return manifest.config.media_type in (OCI_CONFIG, DOCKER_CONFIG) and all(
        layer.media_type in LAYER_COMPRESSION for layer in manifest.layers
    )


def check_config(manifest: Manifest, config: ImageConfig, what: str) -> None:
    """Refuse other systems, and a config that does not go with its manifest. Raises InvalidArgument naming `what`."""
    if config.os not in ("", "linux"):
        raise InvalidArgument(f"{what} is made for the operating system {config.os[:40]!r}, not linux", subject=what)
    check_layers(manifest, config, what)


def check_layers(manifest: Manifest, config: ImageConfig, what: str) -> None:
    """Refuse a config of another image than the manifest's. Raises InvalidArgument naming `what`."""
    if len(manifest.layers) != len(config.rootfs.diff_ids):
        raise InvalidArgument(
            f"{what} has {len(manifest.layers)} layers but its config lists {len(config.rootfs.diff_ids)}", subject=what
        )


def content_references(digest_of: Mapping[str, str]) -> dict[str, str]:
    """Labels that keep content: `gc.ref.content.<name>` = digest."""
    return {f"gc.ref.content.{name}": digest for name, digest in digest_of.items()}


def manifest_labels(manifest: Manifest) -> dict[str, str]:
    """Labels of a manifest: it keeps its config and layers."""
    layers: Sequence[Descriptor] = manifest.layers
    names = {f"l.{number}": layer.digest for number, layer in enumerate(layers)}
    return content_references({"config": manifest.config.digest, **names})


def config_labels(snapshotter: str, chain: Sequence[str]) -> dict[str, str]:
    """Labels of a config: it keeps the snapshot of its top layer, which keeps its parents."""
    return {f"gc.ref.snapshot.{snapshotter}": chain[-1]} if chain else {}
