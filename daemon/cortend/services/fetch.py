"""Objects of a registry as they are: documents and blobs, read through and not kept."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NamedTuple

from corten_shared import digest as digests
from corten_shared.errors import DataLoss, Unavailable
from corten_shared.models.oci import MAX_BLOB, Descriptor
from corten_shared.reference import parse_name, parse_normalized
from cortend.core.registry import Credentials, Fetcher, Registries


class RemoteObject(NamedTuple):
    """What a registry has: its media type and digest, and its bytes."""

    descriptor: Descriptor
    chunks: AsyncGenerator[bytes, None]


class FetchService:
    """Reads single objects from registries."""

    def __init__(self, *, registries: Registries) -> None:
        self._registries = registries

    @asynccontextmanager
    async def object(
        self, reference: str, digest: str = "", credentials: Credentials | None = None
    ) -> AsyncGenerator[RemoteObject, None]:
        """What `reference` names, or the blob `digest` of its repository.

        Bytes that do not have the digest end in DataLoss, after those that came. Raises as Fetcher.
        """
        wanted = digests.parse(digest) if digest else ""
        name = parse_name(reference) if wanted else parse_normalized(reference)
        if wanted:
            name = parse_normalized(name.name)
        async with self._registries.fetcher(name, credentials) as fetcher:
            if wanted:
                blob = Descriptor(mediaType="application/octet-stream", digest=wanted, size=MAX_BLOB)
                yield RemoteObject(blob, _blob(fetcher, blob))
            else:
                target = await fetcher.resolve()
                yield RemoteObject(target, _document(await fetcher.manifest(target)))


async def _document(data: bytes) -> AsyncGenerator[bytes, None]:
    yield data


async def _blob(fetcher: Fetcher, blob: Descriptor) -> AsyncGenerator[bytes, None]:
    """A blob whose size nobody has told: it ends where the registry says, or else where its digest is right."""
    state, received = hashlib.sha256(), 0
    async with fetcher.blob(blob) as stream:
        try:
            async for chunk in stream.chunks:
                state.update(chunk)
                received += len(chunk)
                yield chunk
                if received == stream.total:
                    break
        except Unavailable:
            if stream.total or f"sha256:{state.hexdigest()}" != blob.digest:
                raise
    if f"sha256:{state.hexdigest()}" != blob.digest:
        raise DataLoss(f"received bytes do not have the digest {blob.digest}", subject=blob.digest)
