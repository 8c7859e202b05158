"""Rows of content: which blobs a namespace sees, and their labels."""

from __future__ import annotations

from corten_shared.errors import NotFound
from corten_shared.models.content import BlobInfo
from cortend.metadata.namespaces import Namespaces
from cortend.metadata.session import Session, dump_labels, load_labels, merge_labels, readable

_SELECT = "SELECT digest, size, labels, created_at, updated_at FROM content WHERE ns = ?"


class BlobRows:
    """Blobs by namespace and digest."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, ns: str, digest: str) -> BlobInfo:
        """Raises NotFound."""
        row = self._session.one(f"{_SELECT} AND digest = ?", (ns, digest))
        if row is None:
            raise NotFound(f"No such content: {digest}", subject=digest)
        return _record(row)

    def list(self, ns: str) -> list[BlobInfo]:
        """By digest."""
        return readable(self._session.all(f"{_SELECT} ORDER BY digest", (ns,)), _record)

    def put(self, ns: str, digest: str, size: int, labels: dict[str, str]) -> None:
        """Create, or add labels to what is there."""
        Namespaces(self._session).ensure(ns)
        now = self._session.now()
        new = self._session.changed(
            "INSERT INTO content (ns, digest, size, labels, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (ns, digest, size, dump_labels(labels), now, now),
        )
        if not new and labels:
            self.update(ns, digest, {**labels})

    def update(self, ns: str, digest: str, labels: dict[str, str | None]) -> BlobInfo:
        """Set labels; None removes one."""
        kept = dump_labels(self.get(ns, digest).labels)
        self._session.execute(
            "UPDATE content SET labels = ?, updated_at = ? WHERE ns = ? AND digest = ?",
            (merge_labels(kept, labels), self._session.now(), ns, digest),
        )
        return self.get(ns, digest)

    def delete(self, ns: str, digest: str) -> None:
        """Raises NotFound."""
        if not self._session.changed("DELETE FROM content WHERE ns = ? AND digest = ?", (ns, digest)):
            raise NotFound(f"No such content: {digest}", subject=digest)

    def seen(self, digest: str) -> bool:
        """Whether any namespace sees the blob."""
        return self._session.one("SELECT 1 FROM content WHERE digest = ? LIMIT 1", (digest,)) is not None

    def digests(self) -> set[str]:
        """Every blob that any namespace sees."""
        return {digest for (digest,) in self._session.execute("SELECT DISTINCT digest FROM content")}


def _record(row: tuple[str, int, str, int, int]) -> BlobInfo:
    digest, size, labels, created_at, updated_at = row
    return BlobInfo(
        digest=digest, size=size, labels=load_labels(labels), created_at=created_at, updated_at=updated_at
    )
