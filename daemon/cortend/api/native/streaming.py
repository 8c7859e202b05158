"""Answers that are sent as they come about: JSON lines, and documents whose end takes its time."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable

from pydantic import BaseModel
from starlette.responses import StreamingResponse
from starlette.types import Send

from corten_shared.errors import CortenError, Internal

log = logging.getLogger(__name__)

JSON_LINES = "application/x-ndjson"


class Stream(StreamingResponse):
    """A streamed answer whose generator is closed at once when the client goes away."""

    async def stream_response(self, send: Send) -> None:
        """Send the body; see starlette."""
        body = self.body_iterator
        if isinstance(body, AsyncGenerator):
            async with contextlib.aclosing(body):
                await super().stream_response(send)
        else:
            await super().stream_response(send)


class JsonLines(Stream):
    """A stream of JSON objects, one a line; for the description of a route."""

    media_type = JSON_LINES


async def checked_lines(items: AsyncIterator[BaseModel]) -> Stream:
    """JSON lines whose first item is awaited: what fails before it is an answer with a status of its own.

    A failure after it is a last line `{"error": {...}}`.
    """
    async with contextlib.AsyncExitStack() as stack:
        if isinstance(items, AsyncGenerator):
            stack.push_async_callback(items.aclose)
        first = await anext(items, None)
        stack.pop_all()
    return Stream(_lines(first, items), media_type=JSON_LINES)


async def checked_bytes(chunks: AsyncGenerator[bytes, None], media_type: str) -> Stream:
    """Bytes whose first chunk is awaited, as in `checked_lines`; what fails later breaks the connection off."""
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(chunks.aclose)
        first = await anext(chunks, b"")
        stack.pop_all()

    async def body() -> AsyncGenerator[bytes, None]:
        async with contextlib.aclosing(chunks):
            yield first
            async for chunk in chunks:
                yield chunk

    return Stream(body(), media_type=media_type)


def lines(items: AsyncIterator[BaseModel]) -> Stream:
    """JSON lines that begin at once, before there is a first item."""
    return Stream(_lines(None, items), media_type=JSON_LINES)


async def _lines(first: BaseModel | None, items: AsyncIterator[BaseModel]) -> AsyncGenerator[str, None]:
    try:
        if first is not None:
            yield _line(first)
        async for item in items:
            yield _line(item)
    except CortenError as error:
        yield _error_line(error)
    except Exception:
        log.exception("a stream failed")
        yield _error_line(Internal("internal error", hint="cortend's log has the details"))
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()


def _line(item: BaseModel) -> str:
    return item.model_dump_json(exclude_none=True, by_alias=True) + "\n"


def _error_line(error: CortenError) -> str:
    import json

    return json.dumps(error.body()) + "\n"


def late(document: Awaitable[BaseModel]) -> Stream:
    """A JSON document that may take long: the head is sent now, so that the client knows it waits for the end."""

    async def body() -> AsyncGenerator[str, None]:
        yield (await document).model_dump_json()

    return Stream(body(), media_type="application/json")
