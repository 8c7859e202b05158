"""Content: blobs by digest, their bytes, ingests that become blobs, and objects of registries."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Path, Query, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from corten_shared.models.api import FetchRequest, Items, LabelsPatch
from corten_shared.models.content import BlobInfo, IngestCommit, IngestStatus, ReferencesPruned
from corten_shared.models.oci import MAX_BLOB
from cortend.api.native.images import credentials_of
from cortend.api.native.listing import Listed
from cortend.api.native.parameters import DEFAULT, Namespace
from cortend.api.native.ranges import select
from cortend.api.native.streaming import Stream
from cortend.core.workers import Workers
from cortend.services.all import Services
from cortend.services.content_references import prune_references
from cortend.services.ingest import IngestService

_BLOCK = 1 << 20
BYTES = "application/octet-stream"

Digest = Annotated[str, Path(description="`sha256:` and 64 hex digits.")]
Ref = Annotated[str, Path(description="The name of an ingest: any text.")]
Offset = Annotated[int, Query(ge=0, le=MAX_BLOB, description="Bytes that the ingest has.")]
Size = Annotated[int, Query(ge=0, le=MAX_BLOB, description="Bytes that it will have; 0: unknown.")]
Expected = Annotated[str, Query(description="The digest that it will have, where that is known.")]

_SENDS_BYTES: dict[str, Any] = {
    "requestBody": {"content": {BYTES: {"schema": {"type": "string", "format": "binary"}}}, "required": True}
}
_IS_BYTES: dict[str, Any] = {"content": {BYTES: {"schema": {"type": "string", "format": "binary"}}}}


def router(services: Services) -> APIRouter:
    """The routes of this noun."""
    api = APIRouter(prefix="/content", tags=["content"])
    _add_ingests(api, services)
    _add_remotes(api, services)
    _add_blobs(api, services)
    return api


def _add_ingests(api: APIRouter, services: Services) -> None:
    content, workers = services.content, services.workers
    ingests = IngestService(content=content, workers=workers)

    @api.get("/ingests")
    async def list_ingests(listing: Listed, namespace: Namespace = DEFAULT) -> Items[IngestStatus]:
        """Ingests under way or left over, by ref."""
        return await listing.items(workers, lambda: content.statuses(namespace), key=lambda ingest: ingest.ref)

    @api.get("/ingests/{ref:path}")
    async def get_ingest(ref: Ref, namespace: Namespace = DEFAULT) -> IngestStatus:
        """How far an ingest is."""
        return await ingests.status(namespace, ref)

    @api.put("/ingests/{ref:path}", openapi_extra=_SENDS_BYTES)
    async def begin_ingest(
        request: Request, ref: Ref, namespace: Namespace = DEFAULT, expected: Expected = "", size: Size = 0
    ) -> IngestStatus:
        """Begin an ingest, or begin it again, with the body's bytes. What came stays when the connection breaks."""
        return await ingests.write(namespace, ref, _received(request), offset=None, expected=expected, size=size)

    @api.patch("/ingests/{ref:path}", openapi_extra=_SENDS_BYTES)
    async def continue_ingest(
        request: Request,
        ref: Ref,
        offset: Offset,
        namespace: Namespace = DEFAULT,
        expected: Expected = "",
        size: Size = 0,
    ) -> IngestStatus:
        """Add the body's bytes to an ingest that has `offset` bytes; `conflict`, which tells its offset, when not."""
        return await ingests.write(namespace, ref, _received(request), offset=offset, expected=expected, size=size)

    @api.post("/ingests/{ref:path}/commit", status_code=201)
    async def commit_ingest(ref: Ref, body: IngestCommit, namespace: Namespace = DEFAULT) -> BlobInfo:
        """Make an ingest a blob. Without a lease or a label like `containerd.io/gc.root`, the next collection
        takes it."""
        return await ingests.commit(
            namespace, ref, expected=body.expected, size=body.size, labels=body.labels
        )

    @api.delete("/ingests/{ref:path}", status_code=204)
    async def abort_ingest(ref: Ref, namespace: Namespace = DEFAULT) -> None:
        """Drop an ingest and its bytes."""
        await ingests.abort(namespace, ref)


def _add_remotes(api: APIRouter, services: Services) -> None:
    @api.post("/fetch", response_class=Response, responses={200: _IS_BYTES})
    async def fetch_object(body: FetchRequest) -> Stream:
        """The bytes of an object of a registry, which is not kept. Its media type and digest are in the headers."""
        async with contextlib.AsyncExitStack() as stack:
            login = credentials_of(body.credentials)
            found = await stack.enter_async_context(services.fetches.object(body.reference, body.digest, login))
            first = await anext(found.chunks, b"")
            held = stack.pop_all()

        async def chunks() -> AsyncGenerator[bytes, None]:
            async with held, contextlib.aclosing(found.chunks):
                yield first
                async for chunk in found.chunks:
                    yield chunk

        headers = {"etag": f'"{found.descriptor.digest}"', "x-media-type": found.descriptor.media_type}
        return Stream(chunks(), 200, headers, BYTES)

    @api.post("/prune-references")
    async def prune_content_references(
        namespace: Namespace = DEFAULT,
        dry: Annotated[bool, Query(description="Only say what would be done.")] = False,
    ) -> Items[ReferencesPruned]:
        """Take from manifests the labels that keep their layers' blobs: what is unpacked needs them no more.

        The next collection frees the blobs. Such an image can run, but no more be pushed or saved until it is pulled
        again.
        """
        pruned = await services.workers.run(prune_references, services.content, namespace, dry)
        if pruned and not dry:
            services.collect.request()
        return Items(items=pruned)


def _add_blobs(api: APIRouter, services: Services) -> None:
    content, workers = services.content, services.workers

    @api.get("")
    async def list_blobs(listing: Listed, namespace: Namespace = DEFAULT) -> Items[BlobInfo]:
        """Every blob, by digest."""
        return await listing.items(workers, lambda: content.walk(namespace), key=lambda blob: blob.digest)

    @api.get("/{digest}")
    async def get_blob(digest: Digest, namespace: Namespace = DEFAULT) -> BlobInfo:
        """One blob's size, labels and times."""
        return await workers.run(content.info, namespace, digest)

    @api.get(
        "/{digest}/data",
        response_class=Response,
        responses={200: _IS_BYTES, 206: {**_IS_BYTES, "description": "A part"}, 304: {"description": "Not modified"},
                   416: {"description": "No such part"}},
    )  # fmt: skip
    async def read_blob(request: Request, digest: Digest, namespace: Namespace = DEFAULT) -> Response:
        """The blob's bytes. The ETag is the digest; takes `If-None-Match`, `If-Range`, and `Range: bytes=…` (one)."""
        info = await workers.run(content.info, namespace, digest)
        headers = {"etag": f'"{digest}"', "accept-ranges": "bytes"}
        status, start, end = select(request.headers, digest, info.size)
        if status == 416:
            headers["content-range"] = f"bytes */{info.size}"
        if status in (304, 416):
            return Response(status_code=status, headers=headers)
        if status == 206:
            headers["content-range"] = f"bytes {start}-{end - 1}/{info.size}"
        headers["content-length"] = str(end - start)
        file = await workers.run(content.open, namespace, digest)
        return Stream(_read(workers, file, start, end - start), status, headers, BYTES)

    @api.patch("/{digest}")
    async def label_blob(digest: Digest, body: LabelsPatch, namespace: Namespace = DEFAULT) -> BlobInfo:
        """Change labels."""
        return await workers.run(content.update, namespace, digest, body.labels)

    @api.delete("/{digest}", status_code=204)
    async def delete_blob(digest: Digest, namespace: Namespace = DEFAULT) -> None:
        """Remove a blob from the namespace; its bytes are freed once no namespace has it."""
        await workers.run(content.delete, namespace, digest)
        services.collect.request()


async def _received(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes; a client that goes away ends it."""
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        return


async def _read(workers: Workers, file: BinaryIO, start: int, left: int) -> AsyncGenerator[bytes, None]:
    try:
        await workers.run(file.seek, start)
        while left:
            data = await workers.run(file.read, min(left, _BLOCK))
            if not data:
                return
            left -= len(data)
            yield data
    finally:
        file.close()
