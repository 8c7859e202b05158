"""Registries: resolve a name, fetch content."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from pydantic import SecretStr

from corten_shared.models.oci import Descriptor
from corten_shared.reference import Reference


class Credentials(NamedTuple):
    """A login for one pull; `identity_token` is an OAuth2 refresh token. Never logged."""

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

    def blob(self, descriptor: Descriptor, offset: int = 0) -> AbstractAsyncContextManager[Stream]:
        """A blob's bytes, from `offset` where the registry can (the stream says where it really starts).

        Raises as resolve; a connection that breaks, stalls or ends early raises Unavailable while reading. The caller
        checks the digest.
        """
        ...


class Registries(Protocol):
    """Every registry, as configured (plain HTTP, CAs, time-outs)."""

    def fetcher(
        self, reference: Reference, credentials: Credentials | None = None
    ) -> AbstractAsyncContextManager[Fetcher]:
        """A fetcher for the reference's repository; sockets are closed when the context ends."""
        ...
