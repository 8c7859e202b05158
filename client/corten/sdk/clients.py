"""`Client` and `AsyncClient`: the calls of `nouns`, carried out with httpx."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Self, TypeVar

import httpx

from corten.address import Address, default_host
from corten.sdk.calls import AsyncNoun, Call, Pieces, StreamCall, SyncNoun, failure
from corten.sdk.content import AsyncContent, Content
from corten.sdk.nouns import (
    AsyncContainers,
    AsyncImages,
    AsyncLeases,
    AsyncNamespaces,
    AsyncTasks,
    Containers,
    EngineCalls,
    Images,
    Leases,
    Namespaces,
    Tasks,
)
from corten.sdk.snapshots import AsyncSnapshots, Snapshots
from corten_shared.errors import CortenError, PermissionDenied, Unavailable

T = TypeVar("T")

_TIMEOUT = httpx.Timeout(None, connect=10.0, pool=10.0)
"""Waiting for a task to end may take for ever; connecting may not."""


def _options(address: Address) -> dict[str, Any]:
    scheme = "https" if address.tls else "http"
    host = f"{address.host}:{address.port}" if address.host else "corten"
    return {"base_url": f"{scheme}://{host}/api/v1", "timeout": _TIMEOUT, "trust_env": False}


class Client(EngineCalls, SyncNoun):
    """The engine, blocking. A context manager; safe to share between threads.

    `address` is `unix:///path` or `tcp://host:port`; None: `$CORTEN_HOST`, else the default socket. Methods raise the
    classes of `corten_shared.errors`, which this package exports.
    """

    def __init__(self, address: str | None = None, *, namespace: str = "default") -> None:
        super().__init__(self)
        self.namespace = namespace
        self._address = Address(address or default_host("CORTEN_HOST"))
        transport = httpx.HTTPTransport(uds=self._address.path or None)
        self._http = httpx.Client(transport=transport, **_options(self._address))
        self.namespaces = Namespaces(self)
        self.content = Content(self)
        self.snapshots = Snapshots(self)
        self.images = Images(self)
        self.containers = Containers(self)
        self.tasks = Tasks(self)
        self.leases = Leases(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, request: Call[T]) -> T:
        """Carry a described request out."""
        with _translated(self._address):
            response = self._http.send(_build(self._http, request))
            if response.is_error:
                raise failure(response.content)
            return request.parse(response.content)

    def stream(self, request: StreamCall[T]) -> Iterator[T]:
        """Carry a described request out, reading its answer in pieces."""
        with _translated(self._address):
            response = self._http.send(_build(self._http, request), stream=True)
            with contextlib.closing(response):
                if response.is_error:
                    raise failure(response.read())
                pieces = Pieces(request)
                for data in response.iter_bytes():
                    yield from pieces.feed(data)
                pieces.finish()


class AsyncClient(EngineCalls, AsyncNoun):
    """The engine, for asyncio. As `Client`, with `async with`, `await` and `async for`."""

    def __init__(self, address: str | None = None, *, namespace: str = "default") -> None:
        super().__init__(self)
        self.namespace = namespace
        self._address = Address(address or default_host("CORTEN_HOST"))
        transport = httpx.AsyncHTTPTransport(uds=self._address.path or None)
        self._http = httpx.AsyncClient(transport=transport, **_options(self._address))
        self.namespaces = AsyncNamespaces(self)
        self.content = AsyncContent(self)
        self.snapshots = AsyncSnapshots(self)
        self.images = AsyncImages(self)
        self.containers = AsyncContainers(self)
        self.tasks = AsyncTasks(self)
        self.leases = AsyncLeases(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(self, request: Call[T]) -> T:
        """Carry a described request out."""
        with _translated(self._address):
            response = await self._http.send(_build(self._http, request))
            if response.is_error:
                raise failure(response.content)
            return request.parse(response.content)

    async def stream(self, request: StreamCall[T]) -> AsyncIterator[T]:
        """Carry a described request out, reading its answer in pieces."""
        with _translated(self._address):
            response = await self._http.send(_build(self._http, request), stream=True)
            async with contextlib.aclosing(response):
                if response.is_error:
                    raise failure(await response.aread())
                pieces = Pieces(request)
                async for data in response.aiter_bytes():
                    for piece in pieces.feed(data):
                        yield piece
                pieces.finish()


def _build(http: httpx.Client | httpx.AsyncClient, request: Call[Any]) -> httpx.Request:
    content = request.content()
    headers = dict(request.headers)
    if content is not None:
        headers.setdefault("Content-Type", "application/json")
    return http.build_request(
        request.method, request.path, params=request.parameters(), content=content, headers=headers
    )


@contextlib.contextmanager
def _translated(address: Address) -> Iterator[None]:
    """httpx's errors as the taxonomy's."""
    try:
        yield
    except CortenError:
        raise
    except httpx.ConnectError as error:
        if "Permission denied" in str(error):
            raise PermissionDenied(
                f"permission denied on cortend's socket {address.text}",
                hint="run as root, or join the socket's group and log in again",
            ) from error
        raise Unavailable(
            f"cannot connect to cortend at {address.text}; is it running?", hint="start it with `cortend`"
        ) from error
    except httpx.TransportError as error:
        raise Unavailable(f"the connection to {address.text} broke: {error or type(error).__name__}") from error
