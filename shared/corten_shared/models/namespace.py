"""Namespaces: separate sets of names over shared content."""

from __future__ import annotations

from corten_shared.models.base import Record
from corten_shared.times import Timestamp


class Namespace(Record):
    """A namespace and its labels."""

    name: str
    labels: dict[str, str] = {}
    created_at: Timestamp
