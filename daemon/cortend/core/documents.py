"""Reading image documents that others wrote: manifests, indexes, configs (pure).

JSON is bounded in nesting, duplicate members are refused (two readers could see two images in one manifest),
and a document must be what its media type says: one that is both index and manifest is refused
(CVE-2021-41190).
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import ValidationError

from corten_shared.errors import InvalidArgument
from corten_shared.models.base import Document
from corten_shared.models.oci import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1,
    DOCKER_SCHEMA1_SIGNED,
    INDEXES,
    MANIFESTS,
    OCI_INDEX,
    OCI_MANIFEST,
    ArchivedImage,
    ImageConfig,
    Index,
    Manifest,
)
from cortend.core import limits

_D = TypeVar("_D", bound=Document)


def load_json(data: bytes, what: str) -> dict[str, Any]:
    """The JSON object in `data`; raises InvalidArgument naming `what`."""
    value = _decoded(data, what)
    if not isinstance(value, dict):
        raise InvalidArgument(f"{what} is no JSON object", subject=what)
    return value


def _decoded(data: bytes, what: str) -> Any:
    if sum(map(data.count, (b",", b"[", b"{"))) > limits.MAX_VALUES:
        raise InvalidArgument(f"{what} has more than {limits.MAX_VALUES} values", subject=what)
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)[:200]
        raise InvalidArgument(f"{what} is not valid JSON: {reason}", subject=what) from error
    if isinstance(value, dict | list):
        _check_depth(value, what)
    return value


def sniff_media_type(data: bytes, what: str) -> str:
    """The media type that a document itself gives or shows; raises InvalidArgument when it is no image document."""
    value = load_json(data, what)
    claimed = value.get("mediaType")
    if isinstance(claimed, str) and claimed:
        check_media_type(claimed, what)
        return claimed
    if value.get("schemaVersion") == 1:
        check_media_type(DOCKER_SCHEMA1, what)
    return OCI_INDEX if "manifests" in value else OCI_MANIFEST


def check_media_type(media_type: str, what: str) -> None:
    """Refuse what is neither manifest nor index, Docker's schema 1 with a word of its own."""
    if media_type in (DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED):
        raise InvalidArgument(
            f"{what} is a Docker image manifest of schema 1, which is no longer supported",
            subject=what,
            hint="push the image again with a current tool; it then becomes schema 2",
        )
    if media_type not in INDEXES | MANIFESTS:
        raise InvalidArgument(f"{what} has the unsupported media type {media_type[:100]!r}", subject=what)


def parse_index(data: bytes, media_type: str, what: str) -> Index:
    """An image index or manifest list; raises InvalidArgument."""
    value = load_json(data, what)
    _check_claims(value, media_type, {OCI_INDEX, DOCKER_LIST}, ("layers", "config", "fsLayers"), what)
    return _validated(Index, value, what)


def parse_manifest(data: bytes, media_type: str, what: str) -> Manifest:
    """An image manifest; raises InvalidArgument, also for more layers than the limits allow."""
    value = load_json(data, what)
    _check_claims(value, media_type, {OCI_MANIFEST, DOCKER_MANIFEST}, ("manifests", "fsLayers"), what)
    manifest = _validated(Manifest, value, what)
    check_layers(len(manifest.layers), what)
    return manifest


def check_layers(count: int, what: str) -> None:
    """Raise InvalidArgument for more layers than an image may have."""
    if count > (most := limits.images().layers):
        raise InvalidArgument(f"{what} has {count} layers, more than {most}", subject=what)


def check_index_depth(depth: int, what: str) -> None:
    """Raise InvalidArgument for more indexes below each other than there may be."""
    if depth > (most := limits.images().index_depth):
        raise InvalidArgument(f"{what} has more than {most} indexes below each other", subject=what)


def parse_config(data: bytes, what: str) -> ImageConfig:
    """An image config; raises InvalidArgument."""
    return _validated(ImageConfig, load_json(data, what), what)


def parse_archive_manifest(data: bytes, what: str) -> list[ArchivedImage]:
    """The manifest.json of a docker archive; raises InvalidArgument."""
    value = _decoded(data, what)
    if not isinstance(value, list) or not value:
        raise InvalidArgument(f"{what} is no list of images", subject=what)
    if len(value) > limits.MAX_ARCHIVED_IMAGES:
        raise InvalidArgument(f"{what} has {len(value)} images, more than {limits.MAX_ARCHIVED_IMAGES}", subject=what)
    return [_validated(ArchivedImage, image, what) for image in value]


def _check_claims(
    value: dict[str, Any], media_type: str, allowed: set[str], foreign: tuple[str, ...], what: str
) -> None:
    check_media_type(media_type, what)
    claimed = value.get("mediaType") or media_type
    if claimed != media_type or media_type not in allowed:
        raise InvalidArgument(
            f"{what} was announced as {media_type[:100]} but says it is {str(claimed)[:100]!r}", subject=what
        )
    for member in foreign:
        if member in value:
            raise InvalidArgument(
                f"{what} is ambiguous: a document of type {media_type} must not have {member!r}", subject=what
            )
    if value.get("schemaVersion") != 2:
        raise InvalidArgument(f"{what} has an unsupported schemaVersion", subject=what)


def _validated(cls: type[_D], value: Any, what: str) -> _D:
    try:
        return cls.model_validate(value)
    except InvalidArgument as error:  # of a digest
        raise InvalidArgument(f"{what} is malformed: {error.message}", subject=what, hint=error.hint) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidArgument(f"{what} is malformed: {place}: {first['msg']}"[:400], subject=what) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has a member twice")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _check_depth(value: Any, what: str) -> None:
    level = [value]
    for _ in range(limits.MAX_NESTING):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise InvalidArgument(f"{what} is nested deeper than {limits.MAX_NESTING} levels", subject=what)
