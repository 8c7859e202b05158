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

MAX_DEPTH = 64
"""How deep arrays and objects may be nested."""
MAX_TOKENS = 100_000
"""How many values a document may have, by a count of its commas and brackets: a 4 MiB document of nothing else
becomes 200 MB of objects, while an index of 1,024 manifests has some 10,000."""
MAX_LAYERS = 512
"""How many layers an image may have; overlay mounts fewer, in one mount."""
MAX_INDEX_DEPTH = 4
"""How many indexes may stand between a tag and its manifest."""

MAX_ARCHIVED = 1024
"""How many images one docker archive may have."""

_D = TypeVar("_D", bound=Document)


def load_json(data: bytes, what: str) -> dict[str, Any]:
    """The JSON object in `data`; raises InvalidArgument naming `what`."""
    value = _decoded(data, what)
    if not isinstance(value, dict):
        raise InvalidArgument(f"{what} is no JSON object", subject=what)
    return value


def _decoded(data: bytes, what: str) -> Any:
    if sum(map(data.count, (b",", b"[", b"{"))) > MAX_TOKENS:
        raise InvalidArgument(f"{what} has more than {MAX_TOKENS} values", subject=what)
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
    """An image manifest; raises InvalidArgument, also for more than MAX_LAYERS layers."""
    value = load_json(data, what)
    _check_claims(value, media_type, {OCI_MANIFEST, DOCKER_MANIFEST}, ("manifests", "fsLayers"), what)
    manifest = _validated(Manifest, value, what)
    if len(manifest.layers) > MAX_LAYERS:
        raise InvalidArgument(f"{what} has {len(manifest.layers)} layers, more than {MAX_LAYERS}", subject=what)
    return manifest


def parse_config(data: bytes, what: str) -> ImageConfig:
    """An image config; raises InvalidArgument."""
    return _validated(ImageConfig, load_json(data, what), what)


def parse_archive_manifest(data: bytes, what: str) -> list[ArchivedImage]:
    """The manifest.json of a docker archive; raises InvalidArgument."""
    value = _decoded(data, what)
    if not isinstance(value, list) or not value:
        raise InvalidArgument(f"{what} is no list of images", subject=what)
    if len(value) > MAX_ARCHIVED:
        raise InvalidArgument(f"{what} has {len(value)} images, more than {MAX_ARCHIVED}", subject=what)
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
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise InvalidArgument(f"{what} is nested deeper than {MAX_DEPTH} levels", subject=what)
