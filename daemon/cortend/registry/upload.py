"""Sending one blob (distribution-spec, "Pushing blobs"): in one request, or in chunks that can be resumed.

    POST  uploads/                 a session, which is an address
    PUT   <address>?digest=…       the whole blob, when one request may carry it
    PATCH <address>                a chunk, its Content-Range says which; then an empty PUT
    GET   <address>                after a broken connection: how much has arrived

A session that the registry has lost (or never can resume: Debian's docker-registry drops one that broke within a
chunk) is replaced by a new one. A registry that refuses chunks gets the blob in one request. What it says about how
much it has is believed only within what was sent; in the end the digest decides, which it checks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Callable

import httpx

from corten_shared.errors import CortenError, DataLoss, Unavailable
from corten_shared.models.oci import Descriptor
from cortend.core import trace
from cortend.core.registry import Read
from cortend.registry.settings import UploadSettings
from cortend.registry.transport import Transport

log = logging.getLogger(__name__)

PIECE = 256 << 10
"""Bytes read and sent at a time: a slow line must take them within the time-out of one write."""

_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,18})\Z")
_MIN_LENGTH = re.compile(r"\d{1,10}\Z")
_GONE = frozenset({404, 410, 416})
_NO_CHUNKS = frozenset({400, 405, 411, 413, 501})
_GIVE_UP_WITHIN = 2.0


class _Lost(Unavailable):
    """The registry no longer knows the session."""


class BlobUpload:
    """One blob on its way. `run` once; `session` is an address that is there already."""

    def __init__(
        self,
        transport: Transport,
        blob: Descriptor,
        read: Read,
        progress: Callable[[int], None],
        settings: UploadSettings,
        session: httpx.URL | None = None,
    ) -> None:
        self._transport = transport
        self._blob = blob
        self._read = read
        self._progress = progress
        self._settings = settings
        self._session = session
        self._chunk = settings.chunk_size
        self._offset = 0
        self._sent = 0

    async def run(self) -> None:
        """Send it; see core.registry.Pusher.upload."""
        try:
            await self._insist()
        except BaseException:
            await self._give_up()
            raise

    async def _insist(self) -> None:
        problem: CortenError
        for attempt in range(1, self._settings.attempts + 1):
            try:
                if self._session is None or attempt == 1 or not await self._arrived():
                    await self._send()
                return
            except _Lost as error:
                self._start_over()
                problem = error
            except Unavailable as error:
                problem = error
            if attempt == self._settings.attempts:
                raise problem
            log.info("upload broke off", extra={"fields": {"digest": self._blob.digest, "error": problem.message}})
            await asyncio.sleep(self._settings.pause * attempt)

    async def _send(self) -> None:
        """From where it is to the end, in the session there is or a new one. Raises as the transport."""
        if self._session is None:
            await self._begin()
        while self._offset < self._blob.size and self._in_chunks():
            await self._patch()
        await self._finish()

    async def _begin(self) -> None:
        self._start_over()
        response = await self._transport.open("POST", self._blob.digest, "blobs/uploads/", {"Content-Length": "0"})
        await response.aclose()
        self._session = self._transport.location(response)
        least = response.headers.get("oci-chunk-min-length", "")
        if self._chunk and _MIN_LENGTH.match(least):
            self._chunk = max(self._chunk, int(least))

    def _in_chunks(self) -> bool:
        """Whether what is left goes in chunks: it is larger than one, or a part is there already."""
        return self._offset > 0 or (0 < self._chunk < self._blob.size)

    async def _patch(self) -> None:
        """The next chunk (all that is left where the registry wants no chunks)."""
        assert self._session is not None
        start = self._offset
        end = min(start + (self._chunk or self._blob.size), self._blob.size)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(end - start),
            "Content-Range": f"{start}-{end - 1}",
        }
        response = await self._transport.open(
            "PATCH", self._blob.digest, self._session, headers, body=lambda: self._pieces(start, end),
            accepted=_GONE | _NO_CHUNKS, resend=False,
        )  # fmt: skip
        await response.aclose()
        if response.status_code in _NO_CHUNKS and start == 0 and self._chunk:
            log.info("registry takes no chunks", extra={"fields": {"status": response.status_code}})
            await self._give_up()
            self._chunk = 0
            await self._begin()
        elif not response.is_success:
            raise _Lost(f"the registry lost the upload of {self._blob.digest} (it answered {response.status_code})")
        else:
            self._offset = self._reached(response, end)
            self._session = self._transport.location(response)
            trace.point("push.chunk.sent")

    def _reached(self, response: httpx.Response, end: int) -> int:
        """The new offset after a chunk to `end`: a registry may say that it took less."""
        match = _RANGE.match(response.headers.get("range", ""))
        reached = int(match[1]) + 1 if match else end
        if not self._offset < reached <= end:
            raise _Lost(f"the registry says that {reached} bytes of {self._blob.digest} arrived, of {end} sent")
        return reached

    async def _finish(self) -> None:
        """Close the session, with the whole blob where nothing went yet."""
        assert self._session is not None
        start, size = self._offset, self._blob.size
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size - start)}
        body = (lambda: self._pieces(start, size)) if start < size else None
        mark = "&" if self._session.query else "?"
        target = httpx.URL(f"{self._session}{mark}digest={self._blob.digest}")
        response = await self._transport.open(
            "PUT", self._blob.digest, target, headers, body=body, accepted=_GONE, resend=False
        )
        await response.aclose()
        if not response.is_success:
            raise _Lost(f"the registry lost the upload of {self._blob.digest} (it answered {response.status_code})")
        self._session = None

    async def _arrived(self) -> bool:
        """After a break: learn how far it came; True when the registry has all of it, as a blob."""
        if self._sent == self._blob.size and await self._complete():
            self._session = None
            return True
        assert self._session is not None
        response = await self._transport.open(
            "GET", self._blob.digest, self._session, {}, accepted=_GONE | {400, 405}
        )
        await response.aclose()
        match = _RANGE.match(response.headers.get("range", ""))
        # An empty session says `0-0`, as one with a single byte does.
        there = int(match[1]) + 1 if match and match[1] != "0" else 0
        if not response.is_success or there > self._sent:
            self._start_over()
            return False
        self._offset = there
        self._progress(there)
        if "location" in response.headers:
            self._session = self._transport.location(response)
        return False

    async def _complete(self) -> bool:
        response = await self._transport.open(
            "HEAD", self._blob.digest, f"blobs/{self._blob.digest}", {}, accepted=(404,)
        )
        await response.aclose()
        return response.is_success

    async def _pieces(self, start: int, end: int) -> AsyncIterator[bytes]:
        """The blob's bytes from `start` to `end`. Nothing is read ahead: httpx may leave this where it stands."""
        while start < end:
            piece = await self._read(start, min(PIECE, end - start))
            if not piece:
                raise DataLoss(
                    f"content {self._blob.digest} is shorter than {self._blob.size} bytes",
                    subject=self._blob.digest,
                    hint="pull the image again",
                )
            start += len(piece)
            self._sent = max(self._sent, start)
            yield piece
            self._progress(start)

    def _start_over(self) -> None:
        self._session = None
        self._offset = self._sent = 0

    async def _give_up(self) -> None:
        """Tell the registry to drop the session, if it answers soon; it would drop it some day by itself."""
        session, self._session = self._session, None
        if session is None:
            return
        with contextlib.suppress(CortenError, TimeoutError):
            async with asyncio.timeout(_GIVE_UP_WITHIN):
                response = await self._transport.open("DELETE", self._blob.digest, session, {}, attempts=1)
                await response.aclose()
