"""What a push sends: chosen among the images that are here, whole, and held by a lease.

    index -> manifests -> config, layers         sent from the right to the left, each as it is stored

Of an index, what is not whole here (a platform that was not pulled) is `missing`: the registry may have it already. If
it does not, what is here is pushed alone: one manifest, or an index of those that are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from corten_shared import digest as digests
from corten_shared.errors import InvalidArgument, NotFound
from corten_shared.models.image import ImageRecord
from corten_shared.models.lease import Resource
from corten_shared.models.oci import INDEXES, MANIFESTS, Descriptor, Index, Manifest
from corten_shared.reference import Reference
from cortend.core import gc, platforms
from cortend.core.content import ContentStore
from cortend.core.documents import check_index_depth, load_json, parse_index, parse_manifest, sniff_media_type
from cortend.core.metadata import Metadata
from cortend.services.image_catalog import ImageCatalog
from cortend.services.image_documents import DocumentStore
from cortend.services.image_names import reference_of


class PushOrder(NamedTuple):
    """What to push: to `target` (every tag of its repository that is here when it has neither tag nor digest).

    `local` names the image when it has another name here; `platform` or `manifest` (a digest) choose a part of it.
    """

    target: Reference
    local: str = ""
    platform: str = ""
    manifest: str = ""


class Document(NamedTuple):
    """A manifest or index as it goes out."""

    descriptor: Descriptor
    data: bytes


@dataclass
class Top:
    """What gets a name in the registry; of an index, `here` and `missing` are its children in order."""

    tag: str
    document: Document
    here: list[Descriptor] = field(default_factory=list)
    missing: list[Descriptor] = field(default_factory=list)


@dataclass
class PushPlan:
    """`layers` and `configs` by digest, documents below the named ones with children before their parents.

    `labels` are those of every layer and config that is here; one that is `gone` (its bytes were let go of once it was
    unpacked) can still be pushed to where it is already.
    """

    layers: dict[str, Descriptor] = field(default_factory=dict)
    configs: dict[str, Descriptor] = field(default_factory=dict)
    documents: dict[str, Document] = field(default_factory=dict)
    tops: list[Top] = field(default_factory=list)
    labels: dict[str, Mapping[str, str]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)


class PushPlanner:
    """Makes plans. Blocks; safe from many threads."""

    def __init__(
        self, metadata: Metadata, content: ContentStore, documents: DocumentStore, catalog: ImageCatalog
    ) -> None:
        self._metadata = metadata
        self._content = content
        self._documents = documents
        self._catalog = catalog

    def plan(self, ns: str, order: PushOrder, lease: str) -> PushPlan:
        """Raises NotFound (no such image, platform or manifest; content that is gone), InvalidArgument."""
        plan = PushPlan()
        for tag, record in self._chosen(ns, order):
            part = self._part(ns, record.target, order)
            if order.target.digest not in ("", part.digest):
                raise InvalidArgument(
                    f"{part.digest} cannot be pushed as {order.target.familiar}", subject=part.digest,
                    hint="push it under a tag, or under its own digest",
                )  # fmt: skip
            self._add_top(ns, plan, tag, part)
        self._hold(ns, plan, lease)
        return plan

    def plan_object(self, ns: str, target: Reference, digest: str, media_type: str, lease: str) -> PushPlan:
        """One blob without what it names, or one manifest or index, which gets the target's tag. Raises NotFound."""
        info = self._content.info(ns, digests.parse(digest))
        blob = Descriptor(mediaType=media_type, digest=info.digest, size=info.size)
        plan = PushPlan()
        if media_type in INDEXES | MANIFESTS:
            plan.tops.append(Top(target.tag, Document(blob, self._documents.read(ns, info.digest))))
        else:
            plan.layers[info.digest] = blob
        self._hold(ns, plan, lease)
        return plan

    # -- choosing ---------------------------------------------------------------------------------------------------

    def _chosen(self, ns: str, order: PushOrder) -> list[tuple[str, ImageRecord]]:
        target = order.target
        if order.local or target.object:
            try:
                return [(target.tag, self._catalog.record(ns, order.local or str(target)))]
            except NotFound as error:
                raise _not_here(order.local or target.familiar) from error
        with self._metadata.view() as tx:
            named = [(reference_of(record), record) for record in tx.images.list(ns)]
        tags = [
            (reference.tag, record)
            for reference, record in named
            if reference is not None and reference.name == target.name and reference.tag and not reference.digest
        ]
        if not tags:
            raise _not_here(target.familiar)
        return sorted(tags, key=lambda item: item[0])

    def _part(self, ns: str, target: Descriptor, order: PushOrder) -> Descriptor:
        """The target, or what of it was asked for."""
        if order.manifest:
            info = self._content.info(ns, digests.parse(order.manifest))
            media_type = sniff_media_type(self._documents.read(ns, info.digest), f"content {info.digest}")
            return Descriptor(mediaType=media_type, digest=info.digest, size=info.size)
        if order.platform:
            return self._documents.narrowed(ns, target, platforms.parse(order.platform, self._documents.host))
        return target

    # -- gathering --------------------------------------------------------------------------------------------------

    def _add_top(self, ns: str, plan: PushPlan, tag: str, target: Descriptor) -> None:
        document = Document(target, self._documents.read(ns, target.digest))
        top = Top(tag, document)
        if target.media_type in INDEXES:
            known: dict[str, bool] = {}
            for child in self._index(document).manifests:
                (top.here if self._whole(ns, child, 1, known) else top.missing).append(child)
            if not top.here:
                raise NotFound(
                    f"nothing of the image index {target.digest} is here", subject=target.digest, hint="pull it first"
                )
            for child in top.here:
                self._add(ns, plan, child)
        else:
            self._add_parts(plan, self._manifest(document))
        plan.tops.append(top)

    def _add(self, ns: str, plan: PushPlan, descriptor: Descriptor) -> None:
        """A child that is whole, after its own children."""
        if descriptor.digest in plan.documents:
            return
        document = Document(descriptor, self._documents.read(ns, descriptor.digest))
        if descriptor.media_type in INDEXES:
            for child in self._index(document).manifests:
                self._add(ns, plan, child)
        else:
            self._add_parts(plan, self._manifest(document))
        plan.documents[descriptor.digest] = document

    def _add_parts(self, plan: PushPlan, manifest: Manifest) -> None:
        plan.configs[manifest.config.digest] = manifest.config
        for layer in manifest.layers:
            plan.layers[layer.digest] = layer

    def _whole(self, ns: str, descriptor: Descriptor, depth: int, known: dict[str, bool]) -> bool:
        """Whether all of it is here. `known` has the answers so far: an index may name another a thousand times."""
        check_index_depth(depth, f"what names {descriptor.digest}")
        if descriptor.digest not in known:
            known[descriptor.digest] = self._parts_are_here(ns, descriptor, depth, known)
        return known[descriptor.digest]

    def _parts_are_here(self, ns: str, descriptor: Descriptor, depth: int, known: dict[str, bool]) -> bool:
        if descriptor.media_type not in INDEXES | MANIFESTS:
            return False
        try:
            document = Document(descriptor, self._documents.read(ns, descriptor.digest))
        except NotFound:
            return False
        if descriptor.media_type in INDEXES:
            return all(self._whole(ns, child, depth + 1, known) for child in self._index(document).manifests)
        manifest = self._manifest(document)
        return all(self._has(ns, part.digest) for part in (manifest.config, *manifest.layers))

    def _has(self, ns: str, digest: str) -> bool:
        try:
            self._content.info(ns, digest)
        except NotFound:
            return False
        return True

    def _index(self, document: Document) -> Index:
        descriptor, data = document
        return parse_index(data, descriptor.media_type, f"index {descriptor.digest}")

    def _manifest(self, document: Document) -> Manifest:
        descriptor, data = document
        return parse_manifest(data, descriptor.media_type, f"manifest {descriptor.digest}")

    def _hold(self, ns: str, plan: PushPlan, lease: str) -> None:
        """Keep the collector's hands off all of it, and see what is here."""
        blobs = {**plan.layers, **plan.configs}
        with self._metadata.update() as tx:
            for digest in (*blobs, *plan.documents, *(top.document.descriptor.digest for top in plan.tops)):
                tx.leases.add(ns, lease, Resource(type=gc.CONTENT, id=digest))
        for digest, blob in blobs.items():
            try:
                info = self._content.info(ns, digest)
            except NotFound:
                plan.gone.add(digest)
                continue
            if info.size != blob.size:
                raise InvalidArgument(f"content {digest} has {info.size} bytes, the manifest says {blob.size}")
            plan.labels[digest] = info.labels


def reduced(plan: PushPlan, top: Top) -> Document:
    """What is here of an index, as something of its own: its only manifest, or an index of several."""
    if len(top.here) == 1:
        return plan.documents[top.here[0].digest]
    here = {child.digest for child in top.here}
    value = load_json(top.document.data, "index")
    value["manifests"] = [child for child in value["manifests"] if child["digest"] in here]
    data = json.dumps(value, indent=2).encode()
    media_type = top.document.descriptor.media_type
    return Document(Descriptor(mediaType=media_type, digest=digests.of(data), size=len(data)), data)


def _not_here(text: str) -> NotFound:
    return NotFound(
        f"An image does not exist locally with the tag: {text}", subject=text, hint="see what is here: corten images"
    )
