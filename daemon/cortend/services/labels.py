"""Labels of containers and images: set, removed, replaced."""

from __future__ import annotations

from collections.abc import Mapping

from corten_shared import times
from corten_shared.errors import NotFound
from corten_shared.models.container import ContainerRecord
from corten_shared.models.image import ImageRecord
from cortend.core.metadata import Metadata, Transaction
from cortend.services.image_names import by_name

Changes = Mapping[str, str | None]
"""Labels to set; None removes one."""


def label_container(metadata: Metadata, ns: str, ref: str, labels: Changes, *, replace: bool) -> ContainerRecord:
    """Change a container's labels; with `replace` it has these and no others. Raises NotFound. Blocks."""
    with metadata.update() as tx:
        record = tx.containers.find(ns, ref)
        kept = {} if replace else dict(record.labels)
        for key, value in labels.items():
            if value is None:
                kept.pop(key, None)
            else:
                kept[key] = value
        changed = record.model_copy(update={"labels": kept, "updated_at": times.now()})
        tx.containers.put(ns, changed)
        tx.emit(ns, "/containers/update", record.id, {"name": record.name, "image": record.image})
    return changed


def label_image(metadata: Metadata, ns: str, name: str, labels: Changes, *, replace: bool) -> ImageRecord:
    """Change the labels of an image's name, full or short; as label_container."""
    with metadata.update() as tx:
        record = _named(tx, ns, name)
        gone: dict[str, str | None] = dict.fromkeys(record.labels) if replace else {}
        changed = tx.images.update(ns, record.name, {**gone, **labels})
        tx.emit(ns, "/images/update", record.name, {"action": "label", "name": record.name})
    return changed


def _named(tx: Transaction, ns: str, name: str) -> ImageRecord:
    try:
        return tx.images.get(ns, name)
    except NotFound:
        found = by_name(tx.images.list(ns), name)
        if found is None:
            raise
        return found
