"""One repository: its tags, documents and blobs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import httpx

from corten_shared import digest as digests
from corten_shared.errors import CortenError, DataLoss, InvalidArgument, NotFound, ResourceExhausted, Unavailable
from corten_shared.models.oci import INDEXES, MANIFESTS, MAX_BLOB, Descriptor
from corten_shared.reference import Reference
from cortend.core import limits
from cortend.core.documents import check_media_type, load_json, sniff_media_type
from cortend.core.limits import MAX_REMOTE_TAGS
from cortend.core.registry import Stream
from cortend.registry.problems import quoted, unreachable
from cortend.registry.route import Route
from cortend.registry.settings import PULL, RESOLVE
from cortend.registry.transport import Transport

_ACCEPT = ", ".join(sorted(MANIFESTS | INDEXES))
_PAGE = 1000
_LINK = 4096
_NEXT = re.compile(r"<[^<>?]*\?([!-;=?-~]+)>\s*;\s*rel=\"?next\"?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\Z")


class RepositoryFetcher:
    """Implements core.registry.Fetcher."""

    def __init__(self, route: Route, reference: Reference, idle_timeout: float) -> None:
        self._route = route
        self._served: dict[str, Transport] = {}
        self._reference = reference
        self._idle_timeout = idle_timeout

    async def resolve(self) -> Descriptor:
        """See core.registry. What a tag means is asked of hosts that may say so; a digest says it itself."""
        return await self._route.first(PULL if self._reference.digest else RESOLVE, self._resolve)

    async def _resolve(self, transport: Transport) -> Descriptor:
        """Asks with HEAD, which costs no pull where pulls are counted."""
        wanted = self._reference.object
        with suppress(NotFound, InvalidArgument):  # no body says why, and some registries know no HEAD
            response = await self._open(transport, "HEAD", wanted, f"manifests/{wanted}", {"Accept": _ACCEPT})
            await response.aclose()
            if described := self._described(response):
                return described
        response = await self._open(transport, "GET", wanted, f"manifests/{wanted}", {"Accept": _ACCEPT})
        try:
            data = await transport.read(response, limits.images().document_size, self._reference.familiar)
        finally:
            await response.aclose()
        digest = digests.of(data)
        self._check_digest(self._reference.digest or _claimed(response) or digest, digest)
        media_type = _media_type(response) or sniff_media_type(data, self._what)
        check_media_type(media_type, self._what)
        return Descriptor(mediaType=media_type, digest=digest, size=len(data))

    async def manifest(self, descriptor: Descriptor) -> bytes:
        """See core.registry."""
        if descriptor.size > (most := limits.images().document_size):
            raise InvalidArgument(
                f"{descriptor.digest} of {self._reference.familiar_name} is {descriptor.size} bytes, "
                f"more than the {most} a document may have",
                subject=descriptor.digest,
            )
        return await self._route.first(PULL, lambda transport: self._manifest(transport, descriptor))

    async def _manifest(self, transport: Transport, descriptor: Descriptor) -> bytes:
        kind = "manifests" if descriptor.media_type in MANIFESTS | INDEXES else "blobs"
        accept = {"Accept": descriptor.media_type} if kind == "manifests" else {}
        response = await self._open(transport, "GET", descriptor.digest, f"{kind}/{descriptor.digest}", accept)
        try:
            data = await transport.read(response, descriptor.size, descriptor.digest)
        finally:
            await response.aclose()
        if len(data) != descriptor.size:
            raise DataLoss(
                f"{descriptor.digest} from registry {self._reference.domain} has {len(data)} bytes "
                f"instead of {descriptor.size}",
                subject=descriptor.digest,
            )
        self._check_digest(descriptor.digest, digests.of(data))
        return data

    async def tags(self) -> list[str]:
        """See core.registry."""
        return await self._route.first(RESOLVE, self._tags)

    async def _tags(self, transport: Transport) -> list[str]:
        """Page by page (distribution-spec, "Listing Tags"). Of a Link only the query counts, wherever it points."""
        name = self._reference.familiar_name
        found: dict[str, None] = {}
        query = f"n={_PAGE}"
        while query:
            response = await self._open(transport, "GET", name, f"tags/list?{query}", {"Accept": "application/json"})
            try:
                data = await transport.read(response, limits.images().document_size, f"tags of {name}")
            finally:
                await response.aclose()
            before = len(found)
            found.update(dict.fromkeys(_read_tags(data, f"list of tags of {name}")))
            if len(found) > MAX_REMOTE_TAGS:
                raise ResourceExhausted(f"{name} has more than {MAX_REMOTE_TAGS} tags", subject=name)
            query = _next_page(response) if len(found) > before else ""
        return list(found)

    def distrust(self, descriptor: Descriptor) -> bool:
        """See core.registry."""
        transport = self._served.pop(descriptor.digest, None)
        if transport is not None:
            self._route.avoid(transport)
        return transport is not None and self._route.more(PULL)

    def blob(self, descriptor: Descriptor, offset: int = 0) -> AbstractAsyncContextManager[Stream]:
        """See core.registry."""
        return self._blob(descriptor, offset)

    @asynccontextmanager
    async def _blob(self, descriptor: Descriptor, offset: int) -> AsyncIterator[Stream]:
        transport, response, start, total = await self._route.first(
            PULL, lambda transport: self._open_blob(transport, descriptor, offset)
        )
        self._served[descriptor.digest] = transport
        try:
            yield Stream(start, total, self._chunks(transport, response, descriptor, start))
        finally:
            await response.aclose()

    async def _open_blob(
        self, transport: Transport, descriptor: Descriptor, offset: int
    ) -> tuple[Transport, httpx.Response, int, int]:
        path = f"blobs/{digests.parse(descriptor.digest)}"
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        response = await self._open(transport, "GET", descriptor.digest, path, headers)
        if response.status_code == 416 or (offset and not _continues(response, offset)):
            # There is nothing from there on, or it is not what was asked for: then the whole, from the start.
            await response.aclose()
            response = await self._open(transport, "GET", descriptor.digest, path, {})
            offset = 0
        try:
            return transport, response, *self._span(response, offset)
        except BaseException:
            await response.aclose()
            raise

    async def _chunks(
        self, transport: Transport, response: httpx.Response, descriptor: Descriptor, start: int
    ) -> AsyncIterator[bytes]:
        """The body's bytes; every wait is bounded, and so is their number. A host that breaks off, or sends too much,
        is avoided from then on."""
        left = descriptor.size - start
        raw = response.aiter_raw()
        try:
            while chunk := await self._chunk(raw, response):
                left -= len(chunk)
                if left < 0:
                    raise DataLoss(
                        f"registry {self._reference.domain} sent more than the {descriptor.size} bytes of "
                        f"{descriptor.digest}",
                        subject=descriptor.digest,
                    )
                yield chunk
            if left:
                raise Unavailable(
                    f"registry {self._reference.domain} ended {descriptor.digest} {left} bytes early",
                    subject=descriptor.digest,
                    hint="try again: the download goes on where it stopped",
                )
        except CortenError:
            self._route.avoid(transport)
            raise

    async def _chunk(self, raw: AsyncIterator[bytes], response: httpx.Response) -> bytes:
        try:
            async with asyncio.timeout(self._idle_timeout):
                return await anext(raw, b"")
        except (httpx.HTTPError, TimeoutError) as error:
            raise unreachable("GET", response.url, error) from error

    async def _open(
        self, transport: Transport, method: str, what: str, path: str, headers: dict[str, str]
    ) -> httpx.Response:
        accepted = (416,) if "Range" in headers else ()
        return await transport.open(
            method, what, path, {**headers, "Accept-Encoding": "identity"}, accepted=accepted
        )

    def _span(self, response: httpx.Response, offset: int) -> tuple[int, int]:
        """Where the body starts and how long the whole blob is (0: unknown)."""
        if response.status_code != 206:
            length = response.headers.get("content-length", "")
            return 0, int(length) if length.isascii() and length.isdigit() and len(length) < 19 else 0
        match = _RANGE.match(response.headers.get("content-range", ""))
        if match is None or int(match[1]) != offset:
            raise Unavailable(
                f"registry {self._reference.domain} answered a range from {offset} with "
                f"{quoted(response.headers.get('content-range', 'no range'))}"
            )
        return offset, 0 if match[3] == "*" else int(match[3])

    def _described(self, response: httpx.Response) -> Descriptor | None:
        """The descriptor that a HEAD's headers give, None when they do not."""
        media_type, digest = _media_type(response), _claimed(response)
        length = response.headers.get("content-length", "")
        if not media_type or not digest or not (length.isascii() and length.isdigit()) or int(length) > MAX_BLOB:
            return None
        check_media_type(media_type, self._what)
        if self._reference.digest:
            self._check_digest(self._reference.digest, digest)
        return Descriptor(mediaType=media_type, digest=digest, size=int(length))

    @property
    def _what(self) -> str:
        return f"manifest of {self._reference.familiar}"

    def _check_digest(self, expected: str, actual: str) -> None:
        if expected != actual:
            raise DataLoss(
                f"content of {self._reference.familiar_name} from registry {self._reference.domain} does not have "
                f"the digest it was asked for by: expected {expected}, got {actual}",
                subject=expected,
                hint="the registry or something on the way to it is broken or lies; nothing was kept",
            )


def _continues(response: httpx.Response, offset: int) -> bool:
    """Whether the answer to a range is from there on, or (200) the whole."""
    match = _RANGE.match(response.headers.get("content-range", ""))
    return response.status_code != 206 or (match is not None and int(match[1]) == offset)


def _read_tags(data: bytes, what: str) -> list[str]:
    tags = load_json(data, what).get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) and _TAG.match(tag) for tag in tags):
        raise InvalidArgument(f"{what} has something else than tags", subject=what)
    return tags


def _next_page(response: httpx.Response) -> str:
    """The query of the next page's address; empty on the last page."""
    match = _NEXT.search(response.headers.get("link", "")[:_LINK])
    return match[1] if match else ""


def _media_type(response: httpx.Response) -> str:
    text: str = response.headers.get("content-type", "").partition(";")[0].strip()
    return text if text in MANIFESTS | INDEXES or text.startswith("application/vnd.") else ""


def _claimed(response: httpx.Response) -> str:
    """Docker-Content-Digest when it is one we can check."""
    text: str = response.headers.get("docker-content-digest", "")
    return text if digests.is_digest(text) else ""
