"""Files of containers: archive, export, changes."""

from __future__ import annotations

import base64
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from corten_shared.errors import Cancelled, InvalidArgument
from corten_shared.times import format_rfc3339
from cortend.api.docker.call import NAMESPACE, Call
from cortend.api.docker.responses import Stream, dump
from cortend.api.docker.routing import Route
from cortend.core.containerfiles import Change, PathStat

if TYPE_CHECKING:
    from cortend.services.all import Services

_STAT_HEADER = b"x-docker-container-path-stat"
_GO_TYPES = {
    stat.S_IFDIR: 1 << 31, stat.S_IFLNK: 1 << 27, stat.S_IFBLK: 1 << 26, stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24, stat.S_IFCHR: 1 << 26 | 1 << 21,
}  # fmt: skip
_GO_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


def routes(services: Services) -> Iterable[Route]:
    """The routes of this noun."""
    api = Archives(services)
    return (
        Route("HEAD", "/containers/{id}/archive", api.stat),
        Route("GET", "/containers/{id}/archive", api.read),
        Route("PUT", "/containers/{id}/archive", api.write),
        Route("GET", "/containers/{id}/export", api.export),
        Route("GET", "/containers/{id}/changes", api.changes),
    )


class Archives:
    """Handlers; each calls its service and translates."""

    def __init__(self, services: Services) -> None:
        self._archives = services.archives

    async def stat(self, call: Call) -> Response:
        """HEAD …/archive?path=: the stat header alone."""
        found = await self._archives.stat(NAMESPACE, call.params["id"], _path(call))
        response = Response()
        response.raw_headers.append((_STAT_HEADER, stat_header(found)))
        return response

    async def read(self, call: Call) -> Response:
        """GET …/archive?path=: a tar."""
        found, reading = await self._archives.read(NAMESPACE, call.params["id"], _path(call))
        response = Stream(reading, "application/x-tar")
        response.raw_headers.append((_STAT_HEADER, stat_header(found)))
        return response

    async def write(self, call: Call) -> Response:
        """PUT …/archive?path=&noOverwriteDirNonDir&copyUIDGID."""
        await self._archives.write(
            NAMESPACE,
            call.params["id"],
            _path(call),
            _body(call),
            keep_kinds=call.flag("noOverwriteDirNonDir"),
            as_user=call.flag("copyUIDGID"),
        )
        return Response()

    async def export(self, call: Call) -> Response:
        """GET …/export."""
        return Stream(await self._archives.export(NAMESPACE, call.params["id"]), "application/x-tar")

    async def changes(self, call: Call) -> Response:
        """GET …/changes; null when there are none, as docker answers."""
        found = self._archives.changes(NAMESPACE, call.params["id"])
        # An unknown container is still an error with a status.
        first = await anext(found, None)
        return Stream(_changes(first, found), "application/json")


async def _changes(first: list[Change] | None, rest: AsyncGenerator[list[Change], None]) -> AsyncIterator[bytes]:
    """A JSON array, as it comes: nobody knows how much a container changed."""
    try:
        before = b"["
        some = first
        while some is not None:
            if rows := b",".join(dump({"Path": change.path, "Kind": change.kind}) for change in some):
                yield before + rows
                before = b","
            some = await anext(rest, None)
        yield b"]\n" if before == b"," else b"null\n"
    finally:
        await rest.aclose()


def stat_header(found: PathStat) -> bytes:
    """Base64 of the JSON that docker's clients read; `mode` in Go's bits."""
    mode = stat.S_IMODE(found.mode) & 0o777 | _GO_TYPES.get(stat.S_IFMT(found.mode), 0)
    mode |= sum(bit for ours, bit in _GO_BITS.items() if found.mode & ours)
    document = {
        "name": found.name, "size": found.size, "mode": mode, "mtime": format_rfc3339(max(found.mtime, 0)),
        "linkTarget": found.link_target,
    }  # fmt: skip
    return base64.b64encode(dump(document))


def _path(call: Call) -> str:
    path = call.text("path")
    if not path or "\0" in path:
        raise InvalidArgument('bad format for field "path": cannot be empty' if not path else "a NUL byte in the path")
    return path


async def _body(call: Call) -> AsyncIterator[bytes]:
    try:
        async for chunk in call.request.stream():
            if chunk:
                yield chunk
    except ClientDisconnect as error:
        raise Cancelled("the client went away before its archive was whole") from error
