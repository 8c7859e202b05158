"""Content: blobs by digest, their bytes, and ingests."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import BinaryIO

from fastapi import APIRouter, Request
from starlette.responses import Response

from corten_shared.models.api import Items, LabelsPatch
from corten_shared.models.content import BlobInfo, IngestStatus
from cortend.api.native.listing import Listed
from cortend.api.native.parameters import DEFAULT, Namespace
from cortend.api.native.streaming import Stream
from cortend.core.workers import Workers
from cortend.services.all import Services

_BLOCK = 1 << 20
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})\Z", re.ASCII)


def router(services: Services) -> APIRouter:
    """The routes of this noun."""
    api = APIRouter(prefix="/content", tags=["content"])
    content, workers = services.content, services.workers

    @api.get("")
    async def list_blobs(listing: Listed, namespace: Namespace = DEFAULT) -> Items[BlobInfo]:
        """Every blob, by digest."""
        return await listing.items(workers, lambda: content.walk(namespace), key=lambda blob: blob.digest)

    @api.get("/ingests")
    async def list_ingests(listing: Listed, namespace: Namespace = DEFAULT) -> Items[IngestStatus]:
        """Ingests under way or left over, by ref."""
        return await listing.items(workers, lambda: content.statuses(namespace), key=lambda ingest: ingest.ref)

    @api.delete("/ingests/{ref:path}", status_code=204)
    async def abort_ingest(ref: str, namespace: Namespace = DEFAULT) -> None:
        """Drop an ingest and its bytes."""
        await workers.run(content.abort, namespace, ref)

    @api.get("/{digest}")
    async def get_blob(digest: str, namespace: Namespace = DEFAULT) -> BlobInfo:
        """One blob's size, labels and times."""
        return await workers.run(content.info, namespace, digest)

    @api.get("/{digest}/data", response_class=Response, responses={206: {}, 304: {}, 416: {}})
    async def read_blob(request: Request, digest: str, namespace: Namespace = DEFAULT) -> Response:
        """The blob's bytes. Takes `Range: bytes=…` (one range) and `If-None-Match`; the ETag is the digest."""
        info = await workers.run(content.info, namespace, digest)
        headers = {"etag": f'"{digest}"', "accept-ranges": "bytes"}
        if f'"{digest}"' in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        wanted = byte_range(request.headers.get("range", ""), info.size)
        if wanted is None:
            return Response(status_code=416, headers={**headers, "content-range": f"bytes */{info.size}"})
        start, end = wanted
        status = 200
        if end - start != info.size:
            status = 206
            headers["content-range"] = f"bytes {start}-{end - 1}/{info.size}"
        headers["content-length"] = str(end - start)
        file = await workers.run(content.open, namespace, digest)
        body = _read(workers, file, start, end - start)
        return Stream(body, status, headers, "application/octet-stream")

    @api.patch("/{digest}")
    async def label_blob(digest: str, body: LabelsPatch, namespace: Namespace = DEFAULT) -> BlobInfo:
        """Change labels."""
        return await workers.run(content.update, namespace, digest, body.labels)

    @api.delete("/{digest}", status_code=204)
    async def delete_blob(digest: str, namespace: Namespace = DEFAULT) -> None:
        """Remove a blob from the namespace; its bytes are freed once no namespace has it."""
        await workers.run(content.delete, namespace, digest)
        services.collect.request()

    return api


def byte_range(text: str, size: int) -> tuple[int, int] | None:
    """The first byte and the one after the last that a Range header asks for; None when there are none.

    What is no single byte range is ignored, as RFC 9110 (14.2) lets a server do.
    """
    match = _RANGE.match(text)
    if match is None or not any(match.groups()):
        return 0, size
    first, last = match.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return 0, size
    return (start, end) if start < end else None


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
