"""Volumes: named directories that containers share and leave behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from corten_shared.models.volume import VolumeRecord


class VolumeStore(Protocol):
    """Volumes of all namespaces."""

    def get(self, ns: str, name: str) -> VolumeRecord:
        """Raises NotFound in docker's words."""
        ...

    def list(self, ns: str) -> list[VolumeRecord]:
        """Ordered by name."""
        ...

    def walk(self) -> Iterator[tuple[str, VolumeRecord]]:
        """Every volume with its namespace."""
        ...

    def create(
        self, ns: str, name: str, *, labels: dict[str, str] | None = None, anonymous: bool = False, owner: str = ""
    ) -> VolumeRecord:
        """A new volume, or the one that has the name already. Raises InvalidArgument (malformed name)."""
        ...

    def disown(self, ns: str, name: str) -> None:
        """The volume outlives its container from now on. Idempotent; raises NotFound."""
        ...

    def remove(self, ns: str, name: str) -> None:
        """Remove a volume and its data. Raises NotFound."""
        ...

    def is_empty(self, ns: str, name: str) -> bool:
        """Whether nothing was ever put into it; raises NotFound."""
        ...
