"""Blobs from a registry into the content store: resumed, shared, verified."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable

from corten_shared.errors import AlreadyExists, DataLoss, NotFound, ResourceExhausted, Unavailable
from corten_shared.models.oci import Descriptor
from cortend.core.content import ContentStore
from cortend.core.limits import PULL_PATIENCE
from cortend.core.registry import Fetcher
from cortend.core.workers import Workers
from cortend.services.finish import finished
from cortend.services.hops import Hops, writing
from cortend.services.locks import Locks

log = logging.getLogger(__name__)

ATTEMPTS = 5
"""How often a blob's download is begun or continued without getting any further (docker's figure)."""
Progress = Callable[[int], None]


class Patience:
    """How long one pull may wait altogether, over all its blobs, for what broke off."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    async def wait(self, seconds: float, problem: Exception) -> None:
        """Pause; raises `problem` when there is no patience left for it."""
        if seconds > self._left:
            raise problem
        self._left -= seconds
        await asyncio.sleep(seconds)


class _Transfer:
    """A download that one pull makes and others may wait for."""

    def __init__(self) -> None:
        self.received = 0
        self.watchers: list[Progress] = []

    def tell(self, received: int) -> None:
        """Say to everyone how far it is."""
        self.received = received
        for watcher in self.watchers:
            watcher(received)


class Downloader:
    """Fetches blobs; at most `concurrent` at a time in the whole daemon, each digest once.

    An ingest that was broken off stays and is continued: by the next attempt, pull or daemon.
    """

    def __init__(
        self,
        *,
        content: ContentStore,
        workers: Workers,
        concurrent: int = 3,
        attempts: int = ATTEMPTS,
        pause: float = 1.0,
    ) -> None:
        self._content = content
        self._workers = workers
        self._slots = asyncio.Semaphore(concurrent)
        self._attempts = attempts
        self._locks = Locks()
        self._pause = pause
        self._transfers: dict[str, _Transfer] = {}

    def configure(self, *, concurrent: int, attempts: int) -> None:
        """Use other figures from the next download on; those under way keep their places."""
        self._slots = asyncio.Semaphore(concurrent)
        self._attempts = attempts

    async def fetch(
        self,
        ns: str,
        fetcher: Fetcher,
        blob: Descriptor,
        lease: str,
        progress: Progress,
        patience: Patience | None = None,
    ) -> bool:
        """Have the blob in the namespace and under the lease; False when this call did not fetch it.

        One that somebody is fetching already is waited for, with the same progress; when that one is cancelled this
        call goes on. Raises as Fetcher.blob; DataLoss when the bytes do not have the digest (they are dropped then),
        ResourceExhausted when the disk is full (the ingest is dropped, its room is needed).
        """
        transfer = self._transfers.setdefault(blob.digest, _Transfer())
        transfer.watchers.append(progress)
        if transfer.received:
            progress(transfer.received)
        try:
            async with self._locks.hold(blob.digest):
                if await self._adopt(ns, blob, lease):
                    return False
                return await self._attempt(ns, fetcher, blob, lease, patience or Patience(PULL_PATIENCE))
        finally:
            transfer.watchers.remove(progress)
            if not transfer.watchers:
                del self._transfers[blob.digest]

    async def _attempt(self, ns: str, fetcher: Fetcher, blob: Descriptor, lease: str, patience: Patience) -> bool:
        """Download, again and again while it gets on; as often as configured where it does not."""
        reached = best = 0

        def progress(received: int) -> None:
            nonlocal reached
            reached = max(reached, received)
            self._transfers[blob.digest].tell(received)

        attempt = 0
        while True:
            attempt += 1
            try:
                async with self._slots:
                    return await self._download(ns, fetcher, blob, lease, progress)
            except Unavailable as error:
                if reached > best:
                    attempt, best = 1, reached
                if attempt >= self._attempts:
                    raise
                log.info("download broke off", extra={"fields": {"digest": blob.digest, "error": str(error)}})
                await patience.wait(self._pause * attempt, error)

    async def forget(self, ns: str, blobs: Iterable[Descriptor]) -> None:
        """Drop what came of these blobs so far; one that somebody else is fetching is left alone."""

        def forget() -> None:
            for digest in {blob.digest for blob in blobs}:
                with contextlib.suppress(NotFound, Unavailable):
                    self._content.abort(ns, _ref(digest))

        await finished(self._workers.run(forget))

    async def _adopt(self, ns: str, blob: Descriptor, lease: str) -> bool:
        """Whether the bytes were here; with another size than promised somebody lies, or they are damaged."""

        def adopt() -> bool:
            if not self._content.adopt(ns, blob.digest, lease=lease):
                return False
            size = self._content.info(ns, blob.digest).size
            if size != blob.size:
                raise DataLoss(
                    f"content {blob.digest} has {size} bytes, the manifest says {blob.size}", subject=blob.digest
                )
            return True

        return await self._workers.run(adopt)

    async def _download(
        self, ns: str, fetcher: Fetcher, blob: Descriptor, lease: str, progress: Progress
    ) -> bool:
        try:
            async with writing(
                self._content, self._workers, ns, _ref(blob.digest), lease=lease, expected=blob.digest, size=blob.size
            ) as hops:
                return await self._fill(fetcher, blob, hops, progress)
        except AlreadyExists:
            return not await self._adopt(ns, blob, lease)

    async def _fill(self, fetcher: Fetcher, blob: Descriptor, hops: Hops, progress: Progress) -> bool:
        resumed = hops.writer.offset
        try:
            if resumed < blob.size:
                await self._copy(fetcher, blob, hops, progress)
            await hops.commit(blob.size, blob.digest)
        except DataLoss as error:
            if resumed:  # what an earlier daemon left may be damaged: start over once
                hops.drop = True
                raise Unavailable(f"resumed download of {blob.digest} was damaged", subject=blob.digest) from error
            if fetcher.distrust(blob):  # a mirror's bytes; the registry itself may have better ones
                hops.drop = True
                raise Unavailable(error.message, subject=blob.digest) from error
            raise
        except ResourceExhausted:
            hops.drop = True
            raise
        return True

    async def _copy(self, fetcher: Fetcher, blob: Descriptor, hops: Hops, progress: Progress) -> None:
        async with fetcher.blob(blob, hops.writer.offset) as stream:
            if stream.offset != hops.writer.offset:
                await hops.truncate(stream.offset)
            received = stream.offset
            progress(received)
            try:
                async for chunk in stream.chunks:
                    received += len(chunk)
                    await hops.gather(chunk)
                    progress(received)
            finally:
                await hops.flush()  # also when the connection broke: what came is worth keeping


def _ref(digest: str) -> str:
    """The ingest of a blob: the same for every pull, so that any continues what another left."""
    return f"blob-{digest}"
