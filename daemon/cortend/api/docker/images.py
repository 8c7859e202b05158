"""Images that are here, and getting more: list, inspect, history, tag, remove, pull, import, save, load."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from corten_shared.errors import CortenError, InvalidArgument
from corten_shared.models.image import Progress
from cortend.api.docker import image_list, versions
from cortend.api.docker.call import NAMESPACE, Call
from cortend.api.docker.containers import until_of
from cortend.api.docker.credentials import from_header
from cortend.api.docker.platform_query import platforms_of
from cortend.api.docker.progress import error_line, line, progress_lines
from cortend.api.docker.responses import Stream, json_response
from cortend.api.docker.routing import Route
from cortend.api.docker.translate_image import created_ns, image_document, image_summary
from cortend.core import instructions
from cortend.services.image_catalog import ImageView
from cortend.services.image_import import shown_url
from cortend.services.image_load import Loaded, LoadRequest
from cortend.services.images import HistoryItem

if TYPE_CHECKING:
    from cortend.services.all import Services

_PRUNE_FILTERS = frozenset({"dangling", "until", "label", "label!"})


def routes(services: Services) -> Iterable[Route]:
    """The routes of this noun."""
    api = Images(services)
    return (
        Route("GET", "/images/json", api.list),
        Route("POST", "/images/create", api.create),
        Route("POST", "/images/prune", api.prune),
        Route("GET", "/images/get", api.save),
        Route("POST", "/images/load", api.load),
        Route("GET", "/images/{name:path}/get", api.save),
        Route("GET", "/images/{name:path}/json", api.inspect),
        Route("GET", "/images/{name:path}/history", api.history),
        Route("POST", "/images/{name:path}/tag", api.tag),
        Route("DELETE", "/images/{name:path}", api.remove),
    )


class Images:
    """Handlers; each calls its service and translates."""

    def __init__(self, services: Services) -> None:
        self._images = services.images
        self._pulls = services.pulls
        self._saves = services.saves
        self._loads = services.loads
        self._snapshotter = next(iter(services.snapshotters), "")

    async def list(self, call: Call) -> Response:
        """GET /images/json."""
        filters = call.filters(image_list.FILTERS)
        views = await self._images.list(NAMESPACE)
        bounds = [
            [created_ns(await self._images.get(NAMESPACE, name)) for name in filters.get(key)]
            for key in ("since", "before")
        ]
        rows = [
            image_summary(view, tags, digests)
            for view, tags, digests in image_list.select(views, filters, since=bounds[0], before=bounds[1])
        ]
        return json_response([versions.adapt("image.summary", call.version, row) for row in rows])

    async def inspect(self, call: Call) -> Response:
        """GET /images/{name}/json."""
        view = await self._images.get(NAMESPACE, call.params["name"])
        document = image_document(view, snapshotter=self._snapshotter)
        return json_response(versions.adapt("image.inspect", call.version, document))

    async def history(self, call: Call) -> Response:
        """GET /images/{name}/history."""
        wanted = platforms_of(call)
        items = await self._images.history(NAMESPACE, call.params["name"], wanted[0] if wanted else None)
        return json_response([_history_row(item) for item in items])

    async def tag(self, call: Call) -> Response:
        """POST /images/{name}/tag?repo=&tag=: 201."""
        repository = call.text("repo")
        if not repository:
            raise InvalidArgument("invalid reference format: repo must not be empty")
        await self._images.tag(NAMESPACE, call.params["name"], join_name(repository, call.text("tag")))
        return Response(status_code=201)

    async def remove(self, call: Call) -> Response:
        """DELETE /images/{name}: what lost its name and what went."""
        removed = await self._images.remove(
            NAMESPACE, call.params["name"], force=call.flag("force"), noprune=call.flag("noprune")
        )
        return json_response([{item.action: item.subject} for item in removed])

    async def prune(self, call: Call) -> Response:
        """POST /images/prune: dangling images, or with `dangling=false` all that no container uses."""
        filters = call.filters(_PRUNE_FILTERS)
        before = until_of(filters)

        def accept(view: ImageView) -> bool:
            old = before is None or created_ns(view) < before
            return old and filters.labels(view.documents.config.config.labels or {})

        dangling = filters.flag("dangling") is not False
        removed, freed = await self._images.prune(NAMESPACE, dangling=dangling, accept=accept)
        rows = [{item.action: item.subject} for item in removed]
        return json_response({"ImagesDeleted": rows or None, "SpaceReclaimed": freed})

    async def create(self, call: Call) -> Response:
        """POST /images/create: pull `fromImage`, or import the body (`fromSrc=-`)."""
        if call.text("fromImage"):
            return await self._pull(call)
        source = call.text("fromSrc")
        if not source:
            raise InvalidArgument("fromImage or fromSrc must be given")
        return await (self._import(call) if source == "-" else self._import_url(call, source))

    async def _pull(self, call: Call) -> Response:
        name = join_name(call.text("fromImage"), call.text("tag"))
        every = ":" not in name.rpartition("/")[2]  # no tag and no digest: docker means all tags
        pull = self._pulls.pull_all if every else self._pulls.pull
        lines = pull(
            NAMESPACE,
            name,
            platform=call.text("platform"),
            credentials=from_header(call.request.headers.get("x-registry-auth", "")),
        )
        # What fails before there is anything to tell is still an error with a status.
        first = await anext(lines)
        return Stream(progress_lines(first, lines), "application/json")

    async def _import(self, call: Call) -> Response:
        repository = call.text("repo")
        view = await self._images.import_rootfs(
            NAMESPACE,
            call.request.stream(),
            join_name(repository, call.text("tag")) if repository else "",
            platform=call.text("platform"),
            message=call.text("message"),
            config=instructions.apply(call.query.getlist("changes")),
        )
        return Stream(_one(line({"status": view.id})), "application/json")

    async def _import_url(self, call: Call, source: str) -> Response:
        url = source if "://" in source else f"http://{source}"
        repository = call.text("repo")
        found = self._images.import_url(
            NAMESPACE,
            url,
            join_name(repository, call.text("tag")) if repository else "",
            platform=call.text("platform"),
            message=call.text("message"),
            config=instructions.apply(call.query.getlist("changes")),
        )
        # What cannot be fetched is still an error with a status.
        await anext(found)
        first = Progress(status=f"Downloading from {shown_url(url)}")
        return Stream(progress_lines(first, _imported(found)), "application/json")

    async def save(self, call: Call) -> Response:
        """GET /images/get?names= and /images/{name}/get: a tar, streamed."""
        names = [call.params["name"]] if "name" in call.params else call.query.getlist("names")
        chunks = self._saves.save(NAMESPACE, [name for name in names if name], wanted=platforms_of(call))
        # An unknown name is still an error with a status.
        first = await anext(chunks)
        return Stream(_chain(first, chunks), "application/x-tar")

    async def load(self, call: Call) -> Response:
        """POST /images/load: progress unless `quiet`, and what came, a line for each name.

        What is wrong before there is anything to tell is an error with a status.
        """
        request = LoadRequest(wanted=platforms_of(call))
        lines = _loaded(self._loads.load(NAMESPACE, call.request.stream(), request), quiet=call.flag("quiet"))
        first = await anext(lines)
        return Stream(_told(first, lines), "application/json")


def join_name(name: str, tag: str) -> str:
    """A reference of its two parameters; the tag may be a digest, and may be in the name already."""
    if not tag:
        return name
    return f"{name}@{tag}" if ":" in tag else f"{name}:{tag}"


def _history_row(item: HistoryItem) -> dict[str, Any]:
    return {
        "Comment": item.comment,
        "Created": image_list.seconds(item.created),
        "CreatedBy": item.created_by,
        "Id": item.id,
        "Size": item.size,
        "Tags": item.tags or None,
    }


async def _imported(found: AsyncGenerator[ImageView | None, None]) -> AsyncIterator[Progress]:
    """The new image's id."""
    async with contextlib.aclosing(found):
        async for view in found:
            if view is not None:
                yield Progress(status=view.id)


async def _loaded(found: AsyncGenerator[Progress | Loaded, None], *, quiet: bool) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(found):
        async for item in found:
            if isinstance(item, Loaded):
                text = f"Loaded image: {item.name}" if item.name else f"Loaded image ID: {item.id}"
                yield line({"stream": f"{text}\n"})
            elif not quiet:
                detail = {"current": item.current, "total": item.total}
                yield line({"status": item.status, "progressDetail": detail, "id": item.id})


async def _told(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """A stream that was begun: an error after its first line can only be told within it."""
    async with contextlib.aclosing(rest):
        try:
            yield first
            async for chunk in rest:
                yield chunk
        except CortenError as error:
            yield error_line(error)


async def _one(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk


async def _chain(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """All of a stream that was begun; it is closed with this one."""
    try:
        yield first
        async for chunk in rest:
            yield chunk
    finally:
        await rest.aclose()
