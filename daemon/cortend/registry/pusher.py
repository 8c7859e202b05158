"""One repository, written: what it has, blobs from elsewhere in the registry, blobs from here, manifests."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable

import httpx

from corten_shared import digest as digests
from corten_shared.errors import DataLoss, InvalidArgument, NotFound, PermissionDenied, Unauthenticated
from corten_shared.models.oci import INDEXES, MANIFESTS, Descriptor
from corten_shared.reference import Reference
from cortend.core.registry import Read
from cortend.registry.problems import quoted
from cortend.registry.settings import UploadSettings
from cortend.registry.transport import Transport
from cortend.registry.upload import BlobUpload

log = logging.getLogger(__name__)

_NOT_MOUNTED = (NotFound, PermissionDenied, Unauthenticated, InvalidArgument)
"""What registries answer (besides a plain session) when a blob cannot be had from another repository."""


class RepositoryPusher:
    """Implements core.registry.Pusher."""

    def __init__(self, transport: Transport, reference: Reference, settings: UploadSettings) -> None:
        self._transport = transport
        self._reference = reference
        self._settings = settings
        self._sessions: dict[str, httpx.URL] = {}

    async def has(self, descriptor: Descriptor) -> bool:
        """See core.registry."""
        document = descriptor.media_type in MANIFESTS | INDEXES
        kind = "manifests" if document else "blobs"
        headers = {"Accept": descriptor.media_type} if document else {}
        response = await self._transport.open(
            "HEAD", descriptor.digest, f"{kind}/{descriptor.digest}", headers, accepted=(404,)
        )
        await response.aclose()
        return response.is_success

    async def mount(self, blob: Descriptor, source: str) -> bool:
        """See core.registry. The session that a registry opens instead is kept for the upload."""
        scope = f"repository:{source}:pull"
        self._transport.widen(scope)
        path = f"blobs/uploads/?mount={blob.digest}&from={source}"
        try:
            response = await self._transport.open("POST", blob.digest, path, {"Content-Length": "0"})
        except _NOT_MOUNTED as error:
            self._transport.narrow(scope)  # a login that is refused for it must still do for the rest
            log.info("blob not mounted", extra={"fields": {"digest": blob.digest, "error": error.message}})
            return False
        await response.aclose()
        if response.status_code == 201:
            return True
        self._sessions[blob.digest] = self._transport.location(response)
        return False

    async def upload(self, blob: Descriptor, read: Read, progress: Callable[[int], None]) -> None:
        """See core.registry."""
        session = self._sessions.pop(blob.digest, None)
        await BlobUpload(self._transport, blob, read, progress, self._settings, session).run()

    async def put(self, descriptor: Descriptor, data: bytes, tag: str = "") -> None:
        """See core.registry."""
        name = tag or descriptor.digest
        headers = {"Content-Type": descriptor.media_type, "Content-Length": str(len(data))}

        async def body() -> AsyncIterator[bytes]:
            yield data

        response = await self._transport.open("PUT", name, f"manifests/{name}", headers, body=body)
        await response.aclose()
        told: str = response.headers.get("docker-content-digest", "")
        if digests.is_digest(told) and told != descriptor.digest:
            raise DataLoss(
                f"registry {self._reference.domain} took {descriptor.digest} as {quoted(told)}",
                subject=descriptor.digest,
                hint="the registry or something on the way to it changes what is pushed",
            )
