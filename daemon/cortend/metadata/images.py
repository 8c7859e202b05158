"""Rows of images."""

from __future__ import annotations

import sqlite3

from corten_shared.errors import AlreadyExists, NotFound
from corten_shared.models.image import ImageRecord
from corten_shared.models.oci import Descriptor
from cortend.metadata.namespaces import Namespaces
from cortend.metadata.session import Session, Value, dump_labels, load_labels, load_record, merge_labels, readable

_SELECT = "SELECT name, target, labels, created_at, updated_at FROM images WHERE ns = ?"
_INSERT = (
    "INSERT INTO images (ns, name, digest, target, labels, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_REPLACE = (
    " ON CONFLICT (ns, name) DO UPDATE SET digest = excluded.digest, target = excluded.target,"
    " labels = excluded.labels, created_at = excluded.created_at, updated_at = excluded.updated_at"
)


class Images:
    """core.metadata.ImageStore."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, ns: str, name: str) -> ImageRecord:
        """Raises NotFound."""
        found = self._find(ns, name)
        if found is None:
            raise NotFound(f"No such image: {name}", subject=name)
        return found

    def list(self, ns: str) -> list[ImageRecord]:
        """By name."""
        return readable(self._session.all(f"{_SELECT} ORDER BY name", (ns,)), _record)

    def create(self, ns: str, image: ImageRecord) -> None:
        """Raises AlreadyExists."""
        Namespaces(self._session).ensure(ns)
        try:
            self._session.execute(_INSERT, _values(ns, image))
        except sqlite3.IntegrityError as error:
            raise AlreadyExists(f"image {image.name} already exists", subject=image.name) from error

    def put(self, ns: str, image: ImageRecord) -> ImageRecord | None:
        """Create or replace; what was there before."""
        Namespaces(self._session).ensure(ns)
        before = self._find(ns, image.name)
        self._session.execute(_INSERT + _REPLACE, _values(ns, image))
        return before

    def update(self, ns: str, name: str, labels: dict[str, str | None]) -> ImageRecord:
        """Set labels; None removes one."""
        kept = dump_labels(self.get(ns, name).labels)
        self._session.execute(
            "UPDATE images SET labels = ?, updated_at = ? WHERE ns = ? AND name = ?",
            (merge_labels(kept, labels), self._session.now(), ns, name),
        )
        return self.get(ns, name)

    def delete(self, ns: str, name: str) -> None:
        """Raises NotFound."""
        if not self._session.changed("DELETE FROM images WHERE ns = ? AND name = ?", (ns, name)):
            raise NotFound(f"No such image: {name}", subject=name)

    def _find(self, ns: str, name: str) -> ImageRecord | None:
        row = self._session.one(f"{_SELECT} AND name = ?", (ns, name))
        return None if row is None else _record(row)


def _values(ns: str, image: ImageRecord) -> tuple[Value, ...]:
    target = image.target.model_dump_json(by_alias=True, exclude_none=True)
    labels = dump_labels(image.labels)
    return (ns, image.name, image.target.digest, target, labels, image.created_at, image.updated_at)


def _record(row: tuple[str, str, str, int, int]) -> ImageRecord:
    name, target, labels, created_at, updated_at = row
    return ImageRecord(
        name=name,
        target=load_record(Descriptor, target),
        labels=load_labels(labels),
        created_at=created_at,
        updated_at=updated_at,
    )
