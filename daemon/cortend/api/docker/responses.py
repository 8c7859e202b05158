"""The kinds of answers: a JSON document, nothing, a stream."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterable
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

log = logging.getLogger(__name__)


def dump(payload: Any) -> bytes:
    """JSON as Go's encoder writes it, except that `<`, `>` and `&` stay as they are: clients print `<missing>`."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def json_response(payload: Any, status: int = 200) -> Response:
    """A whole JSON document."""
    return Response(dump(payload) + b"\n", status, media_type="application/json")


def json_array(parts: Iterable[bytes]) -> Response:
    """A JSON array of documents that are encoded already."""
    return Response(b"[" + b",".join(parts) + b"]\n", media_type="application/json")


def no_content() -> Response:
    """204."""
    return Response(status_code=204)


def text_response(text: str, status: int = 200) -> Response:
    """Plain text."""
    return Response(text, status, media_type="text/plain; charset=utf-8")


class Stream(Response):
    """A chunked answer: the headers go out at once, the chunks as they come.

    A client that hangs up cancels the producer, also while it waits for its next chunk (an idle `events` stream must
    not stay for ever). The producer's own failure cuts the connection, which is how HTTP/1.1 says "not whole".
    """

    def __init__(self, chunks: AsyncIterator[bytes], media_type: str, status: int = 200) -> None:
        self.chunks = chunks
        self.status_code = status
        self.background = None
        self.raw_headers = [(b"content-type", media_type.encode("latin-1"))]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it (ASGI)."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        producer = asyncio.ensure_future(self._produce(send))
        watcher = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait([producer, watcher], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (producer, watcher):
                if not task.done():
                    task.cancel()
            await asyncio.wait([producer, watcher])
        if not producer.cancelled():
            producer.result()

    async def _produce(self, send: Send) -> None:
        close = getattr(self.chunks, "aclose", None)
        async with contextlib.AsyncExitStack() as stack:
            if close is not None:
                stack.push_async_callback(close)
            async for chunk in self.chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def coalesce(chunks: AsyncIterator[bytes], most: int = 64 << 10) -> AsyncIterator[bytes]:
    """The same bytes in fewer pieces: what is ready at once goes out at once, nothing waits for more.

    At most about `most` bytes are read ahead of a slow client.
    """
    buffer = bytearray()
    ready, room = asyncio.Event(), asyncio.Event()

    async def fill() -> None:
        try:
            async for chunk in chunks:
                buffer.extend(chunk)
                ready.set()
                if len(buffer) >= most:
                    room.clear()
                    await room.wait()
        finally:
            ready.set()

    filler = asyncio.ensure_future(fill())
    try:
        while True:
            await ready.wait()
            ready.clear()
            if buffer:
                piece = bytes(buffer)
                buffer.clear()
                room.set()
                yield piece
            elif filler.done():
                filler.result()
                return
            if filler.done():
                ready.set()
    finally:
        filler.cancel()
        await asyncio.wait([filler])
