"""Registries: resolve a name, fetch content, send content."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from pydantic import SecretStr

from corten_shared.models.oci import Descriptor
from corten_shared.reference import Reference


class Credentials(NamedTuple):
    """A login for one pull or push; `identity_token` is an OAuth2 refresh token. Never logged."""

    username: str = ""
    password: SecretStr = SecretStr("")
    identity_token: SecretStr = SecretStr("")
    registry_token: SecretStr = SecretStr("")


class Stream(NamedTuple):
    """Bytes of a blob from `offset` on; `total` is the whole blob's size, or 0 when the registry does not say."""

    offset: int
    total: int
    chunks: AsyncIterator[bytes]


class Fetcher(Protocol):
    """Reads one repository of one registry with one login; shares connections and tokens."""

    async def resolve(self) -> Descriptor:
        """The descriptor that the reference's digest or tag names now.

        Raises NotFound (unknown repository or tag), Unauthenticated, PermissionDenied, Unavailable (registry
        down, time-out, 5xx after
        retries), ResourceExhausted (429 after retries), DataLoss (content and digest differ), InvalidArgument
        (schema 1).
        """
        ...

    async def manifest(self, descriptor: Descriptor) -> bytes:
        """A manifest, index or config: whole, size-capped, digest checked. Raises as resolve."""
        ...

    async def tags(self) -> list[str]:
        """Every tag of the reference's repository. Raises as resolve; ResourceExhausted when there are too many."""
        ...

    def blob(self, descriptor: Descriptor, offset: int = 0) -> AbstractAsyncContextManager[Stream]:
        """A blob's bytes, from `offset` where the registry can (the stream says where it really starts).

        Raises as resolve; a connection that breaks, stalls or ends early raises Unavailable while reading. The caller
        checks the digest.
        """
        ...

    def distrust(self, descriptor: Descriptor) -> bool:
        """What came of this blob was wrong: ask another host from now on. False when there is no other."""
        ...


Read = Callable[[int, int], Awaitable[bytes]]
"""Reads a blob: as many bytes as the second number says, from the first on; fewer only where the blob ends."""


class Pusher(Protocol):
    """Writes one repository of one registry with one login; shares connections and tokens.

    Raises, all of it: Unauthenticated, PermissionDenied, NotFound (no such repository, where the registry tells),
    Unavailable (registry down, time-out, 5xx after retries), ResourceExhausted (429 after retries), InvalidArgument
    (refused). May be used for several blobs at once.
    """

    async def has(self, descriptor: Descriptor) -> bool:
        """Whether the repository has this blob, manifest or index."""
        ...

    async def mount(self, blob: Descriptor, source: str) -> bool:
        """Have the blob from the repository `source` of the same registry; False when the registry does not let us."""
        ...

    async def upload(self, blob: Descriptor, read: Read, progress: Callable[[int], None]) -> None:
        """Send a blob. A broken connection is resumed where the registry can, else begun again.

        `progress` is told how many bytes have gone out; after a break that may be less than before. Idempotent: a blob
        that is there already is fine. Cancelled, it gives the registry's unfinished upload up.
        """
        ...

    async def put(self, descriptor: Descriptor, data: bytes, tag: str = "") -> None:
        """Send a manifest or index under `tag`, or under its digest; everything it names must be there. Idempotent.

        Raises DataLoss when the registry says that it got something else.
        """
        ...


class Registries(Protocol):
    """Every registry, as configured (mirrors, plain HTTP, CAs, time-outs)."""

    def fetcher(
        self, reference: Reference, credentials: Credentials | None = None
    ) -> AbstractAsyncContextManager[Fetcher]:
        """A fetcher for the reference's repository; sockets are closed when the context ends."""
        ...

    def pusher(
        self, reference: Reference, credentials: Credentials | None = None
    ) -> AbstractAsyncContextManager[Pusher]:
        """A pusher for the reference's repository; sockets are closed when the context ends."""
        ...

    async def login(self, domain: str, credentials: Credentials) -> str:
        """Ask the registry itself, not its mirrors, whether it takes the login. The identity token that its token
        server gives for later, or nothing.

        Raises Unauthenticated with the registry's words (wrong login), PermissionDenied, Unavailable.
        """
        ...
