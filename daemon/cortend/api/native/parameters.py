"""Parameters that many routes have."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query, Request

from corten_shared.times import parse_rfc3339
from cortend.services.all import Services
from cortend.services.leases import use_lease

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


_READING = ("GET", "HEAD", "OPTIONS")


def lease_dependency(services: Services) -> Any:
    """What every route depends on, so that a client's lease holds what a request makes."""

    async def take_lease(
        request: Request,
        held_by: Annotated[str, Query(alias="lease", description="A lease that holds what this makes.")] = "",
        x_corten_lease: Annotated[str, Header(description="As the parameter `lease`.")] = "",
        namespace: Namespace = DEFAULT,
    ) -> None:
        given = held_by or x_corten_lease
        if given and request.method not in _READING:
            await use_lease(services.metadata, services.workers, namespace, given)

    return Depends(take_lease)
