"""Content that clients send: written piece by piece, resumed where it broke off, made a blob in the end."""

from __future__ import annotations

from collections.abc import AsyncIterator

from corten_shared import digest as digests
from corten_shared.errors import AlreadyExists, Conflict, DataLoss, InvalidArgument
from corten_shared.models.content import BlobInfo, IngestStatus
from cortend.core.content import ContentStore
from cortend.core.workers import Workers
from cortend.services.finish import finished
from cortend.services.hops import Hops
from cortend.services.leases import given_lease


class IngestService:
    """The use cases of ingests; `ref` is any text that names one."""

    def __init__(self, *, content: ContentStore, workers: Workers) -> None:
        self._content = content
        self._workers = workers

    async def write(
        self, ns: str, ref: str, chunks: AsyncIterator[bytes], *, offset: int | None, expected: str = "", size: int = 0
    ) -> IngestStatus:
        """Write `chunks` from `offset` on, where the ingest must have ended; from the start without one.

        What came stays when the sender goes away. Raises Conflict (another offset than the ingest's, which is in
        `details["offset"]`), AlreadyExists (the blob `expected` is here), Unavailable (somebody writes it now),
        ResourceExhausted (disk full, or more than `size`).
        """
        if expected:
            digests.parse(expected)
        opening = self._workers.run_slow(
            self._content.writer, ns, ref, lease=given_lease(), expected=expected or None, size=size
        )
        hops = Hops(self._workers, await finished(opening, lambda writer: writer.close()))
        try:
            await self._position(hops, ref, offset)
            try:
                async for chunk in chunks:
                    await hops.gather(chunk)
            finally:
                await hops.flush()
        finally:
            await hops.close()
        return await self._workers.run(self._content.status, ns, ref)

    async def _position(self, hops: Hops, ref: str, offset: int | None) -> None:
        present = hops.writer.offset
        if offset is None:
            await hops.truncate(0)
        elif offset != present:
            raise Conflict(
                f"ingest {ref} has {present} bytes, not {offset}",
                hint="go on at its offset, or begin again",
                subject=ref,
                details={"offset": present},
            )

    async def commit(self, ns: str, ref: str, *, expected: str, size: int, labels: dict[str, str]) -> BlobInfo:
        """Make the ingest a blob. When the blob is here already, the labels are added to it.

        Raises NotFound (no such ingest), InvalidArgument (the bytes are not what `expected` or `size` say; they
        are dropped), Unavailable (somebody writes it now).
        """
        if expected:
            digests.parse(expected)
        return await finished(self._workers.run_slow(self._commit, ns, ref, expected, size, labels))

    def _commit(self, ns: str, ref: str, expected: str, size: int, labels: dict[str, str]) -> BlobInfo:
        status = self._content.status(ns, ref)
        try:
            writer = self._content.writer(
                ns, ref, lease=given_lease(), expected=status.expected or None, size=status.total
            )
            with writer:
                digest = writer.commit(size or None, expected or None, labels)
        except AlreadyExists as error:
            digest = error.subject or expected
            self._content.update(ns, digest, {**labels})
        except DataLoss as error:  # nothing of ours was lost: the client sent something else
            raise InvalidArgument(error.message, hint=error.hint, subject=error.subject) from error
        return self._content.info(ns, digest)

    async def abort(self, ns: str, ref: str) -> None:
        """Drop an ingest and its bytes. Raises NotFound, Unavailable."""
        await self._workers.run(self._content.abort, ns, ref)

    async def status(self, ns: str, ref: str) -> IngestStatus:
        """How far it is. Raises NotFound."""
        return await self._workers.run(self._content.status, ns, ref)
