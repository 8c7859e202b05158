"""Parameters that many routes have."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from corten_shared.times import parse_rfc3339

Namespace = Annotated[str, Query(alias="namespace", description="The namespace; docker's objects are in `default`.")]
AllNamespaces = Annotated[bool, Query(description="Every namespace, not just one.")]
ContainerRef = Annotated[str, Path(description="A container's id, unique prefix of it, or name.")]
ImageName = Annotated[str, Path(description="A full or short name, `name@digest`, or an image id.")]
Since = Annotated[str | None, Query(description="RFC 3339: nothing older.")]
Until = Annotated[str | None, Query(description="RFC 3339: nothing newer.")]

DEFAULT = "default"


def moment(text: str | None) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time; 0 without one. Raises InvalidArgument."""
    return parse_rfc3339(text) if text else 0
