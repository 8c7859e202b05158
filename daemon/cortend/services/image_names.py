"""Names of images: which records a user's words mean, and how a name moves without losing an image.

A record's name is a full reference (`docker.io/library/busybox:latest`, `…@sha256:…`), or `dangling@<digest>` for an
image whose last name went elsewhere: docker shows it as `<none>` until it is removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from corten_shared.errors import CortenError, InvalidArgument, NotFound
from corten_shared.models.image import ImageRecord
from corten_shared.reference import Reference, parse_name
from cortend.core.metadata import Transaction

DANGLING = "dangling@"

_ID = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})")


def is_dangling(record: ImageRecord) -> bool:
    """Whether the record stands for an image without a name."""
    return record.name.startswith(DANGLING)


def reference_of(record: ImageRecord) -> Reference | None:
    """The record's name, taken apart; None for a dangling one or a name that is no reference."""
    return None if is_dangling(record) else _parsed(record.name)


@lru_cache(4096)  # lists take every name apart, each time
def _parsed(name: str) -> Reference | None:
    try:
        return parse_name(name)
    except InvalidArgument:
        return None


def put_image(tx: Transaction, ns: str, record: ImageRecord) -> ImageRecord | None:
    """Give the record's name to its target; what it named before. An image left without a name becomes dangling.

    Labels that the name had stay, unless the record has others of their keys.
    """
    tx.namespaces.ensure(ns)
    others = tx.images.list(ns)
    before = next((other for other in others if other.name == record.name), None)
    if before is not None:
        record = record.model_copy(update={"labels": {**before.labels, **record.labels}})
    if before is None or (before.target, before.labels) != (record.target, record.labels):
        tx.images.put(ns, record)
        others = tx.images.list(ns)
    if before is not None and before.target.digest != record.target.digest:
        keep_dangling(tx, ns, before, others)
    spare = DANGLING + record.target.digest
    if any(other.name == spare for other in others):
        tx.images.delete(ns, spare)
    return before


def keep_dangling(tx: Transaction, ns: str, gone: ImageRecord, others: Iterable[ImageRecord]) -> None:
    """Keep the image that `gone` named, unless one of `others` still names it."""
    if not any(other.target.digest == gone.target.digest for other in others):
        tx.images.put(ns, gone.model_copy(update={"name": DANGLING + gone.target.digest}))


def by_name(records: Iterable[ImageRecord], text: str) -> ImageRecord | None:
    """The record that `text` names as a reference: by its full name, or `name@digest` by repository and target."""
    try:
        reference = parse_name(text)
    except InvalidArgument:
        return None
    if reference.digest:
        bare = reference._replace(tag="")
        for record in records:
            known = reference_of(record)
            if record.name == str(bare) or (
                known is not None and known.name == bare.name and record.target.digest == bare.digest
            ):
                return record
        return None
    full = str(reference if reference.tag else reference._replace(tag="latest"))
    return next((record for record in records if record.name == full), None)


def id_prefix(text: str) -> str | None:
    """The hex digits when `text` may be an image id or a prefix of one, with or without `sha256:`."""
    match = _ID.fullmatch(text)
    return match[1] if match else None


def no_such_image(text: str) -> CortenError:
    """Why `text` names no image, in docker's words: there is none of the name and tag meant, or it is no name."""
    shown = text
    if not id_prefix(text):
        try:
            reference = parse_name(text)
        except InvalidArgument as error:
            return error
        shown = (reference if reference.tag or reference.digest else reference._replace(tag="latest")).familiar
    return NotFound(f"No such image: {shown}", subject=shown, hint=f"pull it: corten pull {shown}")
