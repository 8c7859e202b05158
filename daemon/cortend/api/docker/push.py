"""Pushing images to registries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.responses import Response

from corten_shared.errors import InvalidArgument
from corten_shared.reference import is_tag, parse_name
from cortend.api.docker.call import NAMESPACE, Call
from cortend.api.docker.credentials import from_header
from cortend.api.docker.platform_query import platforms_of
from cortend.api.docker.progress import progress_lines
from cortend.api.docker.responses import Stream
from cortend.api.docker.routing import Route
from cortend.services.push_plan import PushOrder

if TYPE_CHECKING:
    from cortend.services.all import Services


def routes(services: Services) -> Iterable[Route]:
    """The routes of this verb."""
    return (Route("POST", "/images/{name:path}/push", Push(services).push),)


class Push:
    """The handler."""

    def __init__(self, services: Services) -> None:
        self._pushes = services.pushes

    async def push(self, call: Call) -> Response:
        """POST /images/{name}/push?tag=: one tag, or without one all that are here."""
        target = parse_name(call.params["name"])
        if tag := call.text("tag"):
            if not is_tag(tag):
                raise InvalidArgument("invalid tag format", subject=tag[:200])
            target = target._replace(tag=tag)
        if target.digest:
            raise InvalidArgument("cannot push a digest reference", hint="push a tag: NAME:TAG")
        wanted = platforms_of(call)
        if len(wanted) > 1:
            raise InvalidArgument("only one platform can be pushed at a time", hint="without one, all of them are")
        lines = self._pushes.push(
            NAMESPACE,
            PushOrder(target, platform=str(wanted[0]) if wanted else ""),
            credentials=from_header(call.request.headers.get("x-registry-auth", "")),
        )
        # What fails before there is anything to tell is still an error with a status.
        first = await anext(lines)
        return Stream(progress_lines(first, lines), "application/json")
