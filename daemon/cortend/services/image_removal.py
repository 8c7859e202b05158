"""Removing images by docker's rules: what is untagged, what is deleted, and what forbids it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from corten_shared.errors import Conflict
from corten_shared.models.image import ImageRecord
from corten_shared.models.task import TaskStatus
from cortend.core.metadata import Transaction
from cortend.services.image_catalog import ImageView
from cortend.services.image_names import DANGLING, reference_of


class Removed(NamedTuple):
    """One line of docker's answer: `Untagged: busybox:latest`, `Deleted: sha256:…`."""

    action: Literal["Untagged", "Deleted"]
    subject: str


class _Users(NamedTuple):
    """Ids of containers made from an image."""

    running: list[str]
    stopped: list[str]


def layers_only_of(image: ImageView, others: Sequence[ImageView]) -> list[str]:
    """The chain ids of the image's layers that no other image has, top first."""
    shared = {chain_id for other in others for chain_id in other.documents.chain}
    return [chain_id for chain_id in reversed(image.documents.chain) if chain_id not in shared]


def prune_plan(
    views: Sequence[ImageView], dangling: bool, accept: Callable[[ImageView], bool] | None
) -> list[ImageView]:
    """The images that pruning removes: unused, without a name unless all are meant, and liked by `accept`."""
    return [
        view
        for view in views
        if not view.containers and (view.dangling or not dangling) and (accept is None or accept(view))
    ]


def remove_image(
    tx: Transaction,
    ns: str,
    image: ImageView,
    named: ImageRecord | None,
    text: str,
    layers: Sequence[str],
    *,
    force: bool,
    every_name: bool = False,
) -> list[Removed]:
    """Remove the name `named`, or (None) the image by its id; `layers` are reported when the image goes.

    Raises Conflict. By id an image with names in several repositories, or several tags, wants `force` (or
    `every_name`).
    """
    users = _users(tx, ns, image.id)
    records = _current(tx, ns, image)
    if named is None:
        return _remove_by_id(tx, ns, image, records, text, layers, users, force, every_name)
    if not force and _single(records):
        _refuse_name(image, text, users)
    gone = [named, *_leftover_digests(records, named)]
    left = [record for record in records if record not in gone]
    removed = _untag(tx, ns, image, gone, left)
    if left:
        return removed
    if users.running:  # forced: the image stays without a name, since a container runs on it
        _make_dangling(tx, ns, named)
        return removed
    return removed + _delete(tx, ns, image, layers, users)


def remove_unreadable(tx: Transaction, ns: str, record: ImageRecord) -> list[Removed]:
    """Remove a name that no container can have been made from: nobody can read what it names."""
    reference = reference_of(record)
    shown = record.name if reference is None else reference.familiar
    tx.images.delete(ns, record.name)
    tx.emit(ns, "/images/delete", record.name, {"action": "untag", "name": shown, "id": record.target.digest})
    return [Removed("Untagged", shown), Removed("Deleted", record.target.digest)]


def _remove_by_id(
    tx: Transaction,
    ns: str,
    image: ImageView,
    records: list[ImageRecord],
    text: str,
    layers: Sequence[str],
    users: _Users,
    force: bool,
    every_name: bool,
) -> list[Removed]:
    if users.running:
        short = users.running[0][:12]
        raise _conflict(text, "cannot be forced", f"image is being used by running container {short}", "stop it first")
    if not force and users.stopped:
        short = users.stopped[0][:12]
        raise _conflict(text, "must be forced", f"image is being used by stopped container {short}", "remove it first")
    if not force and not every_name and not _single(records):
        raise _conflict(
            text, "must be forced", "image is referenced in multiple repositories", "remove its names one by one"
        )
    removed = _untag(tx, ns, image, records, [])
    return removed + _delete(tx, ns, image, layers, users)


def _refuse_name(image: ImageView, text: str, users: _Users) -> None:
    using = [*users.running, *users.stopped]
    if using:
        raise Conflict(
            f'conflict: unable to remove repository reference "{text}" (must force) - container {using[0][:12]} is '
            f"using its referenced image {_short(image.id)}",
            hint="remove the container first, or use --force to remove the name only",
            subject=text,
        )


def _conflict(text: str, force: str, reason: str, hint: str) -> Conflict:
    shown = _short(text) if text.startswith("sha256:") else text
    return Conflict(f"conflict: unable to delete {shown} ({force}) - {reason}", hint=hint, subject=text)


def _short(image_id: str) -> str:
    return image_id.removeprefix("sha256:")[:12]


def _current(tx: Transaction, ns: str, image: ImageView) -> list[ImageRecord]:
    """The image's records as they are in this transaction."""
    targets = {record.target.digest for record in image.records}
    return [record for record in tx.images.list(ns) if record.target.digest in targets]


def _single(records: Sequence[ImageRecord]) -> bool:
    """At most one tag, and no name in another repository (docker's isSingleReference)."""
    references = [ref for record in records if (ref := reference_of(record)) is not None]
    tags = [ref for ref in references if not ref.digest]
    return len(tags) <= 1 and len({ref.name for ref in references}) <= 1


def _leftover_digests(records: Sequence[ImageRecord], named: ImageRecord) -> list[ImageRecord]:
    """With a repository's last tag its names by digest go too."""
    gone = reference_of(named)
    if gone is None or gone.digest:
        return []
    rest = [(record, ref) for record in records if record.name != named.name and (ref := reference_of(record))]
    same = [(record, ref) for record, ref in rest if ref.name == gone.name]
    return [] if any(not ref.digest for _, ref in same) else [record for record, _ in same]


def _untag(
    tx: Transaction, ns: str, image: ImageView, gone: Sequence[ImageRecord], left: Sequence[ImageRecord]
) -> list[Removed]:
    removed: list[Removed] = []
    kept = {ref.name for record in left if (ref := reference_of(record)) is not None}
    digests: dict[str, None] = {}
    for record in gone:
        tx.images.delete(ns, record.name)
        reference = reference_of(record)
        if reference is None:
            continue
        if not reference.digest:
            removed.append(Removed("Untagged", reference.familiar))
        if reference.name not in kept:
            digests[f"{reference.familiar_name}@{record.target.digest}"] = None
        attributes = {"action": "untag", "name": reference.familiar, "id": image.id}
        tx.emit(ns, "/images/delete", record.name, attributes)
    return removed + [Removed("Untagged", digest) for digest in digests]


def _delete(tx: Transaction, ns: str, image: ImageView, layers: Sequence[str], users: _Users) -> list[Removed]:
    tx.emit(ns, "/images/delete", image.id, {"action": "delete", "name": image.id, "id": image.id})
    used = [] if users.running or users.stopped else list(layers)
    return [Removed("Deleted", image.id), *(Removed("Deleted", chain_id) for chain_id in used)]


def _make_dangling(tx: Transaction, ns: str, record: ImageRecord) -> None:
    tx.images.put(ns, record.model_copy(update={"name": DANGLING + record.target.digest}))


def _users(tx: Transaction, ns: str, image_id: str) -> _Users:
    users = _Users([], [])
    for container in tx.containers.list(ns):
        if container.image_id == image_id:
            task = tx.tasks.find(ns, container.id)
            running = task is not None and task.status is not TaskStatus.STOPPED
            (users.running if running else users.stopped).append(container.id)
    return users
