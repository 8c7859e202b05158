"""Pushing an image: from what is here to a name in a registry.

    lease -> plan -> layers and configs (several at once) -> manifests -> indexes -> names

Everything goes out byte for byte as it is stored, so digests stay what they are. Nothing is written here but the
lease, and in the end where the blobs can now be mounted from: a push that ends early leaves nothing half done, and
the next one finds in the registry what this one brought there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from corten_shared.errors import NotFound
from corten_shared.models.image import Pushed, PushProgress
from corten_shared.models.oci import Descriptor
from corten_shared.reference import Reference
from cortend.core import trace
from cortend.core.content import ContentStore
from cortend.core.metadata import Metadata
from cortend.core.registry import Credentials, Pusher, Read, Registries
from cortend.core.workers import Workers
from cortend.services import sources
from cortend.services.finish import finished
from cortend.services.leases import temporary_lease
from cortend.services.locks import Locks
from cortend.services.progress import ProgressBoard, short
from cortend.services.push_plan import Document, PushOrder, PushPlan, PushPlanner, Top, reduced
from cortend.services.unpack import single_error

Board = ProgressBoard[PushProgress]

MOUNT_ATTEMPTS = 3
"""Repositories asked for one blob before it is sent."""


@dataclass(frozen=True)
class _Run:
    """One push under way."""

    ns: str
    target: Reference
    pusher: Pusher
    plan: PushPlan
    board: Board
    own_slots: asyncio.Semaphore | None


class PushService:
    """Pushes images; at most `concurrent` blobs at a time in the whole daemon."""

    def __init__(
        self,
        *,
        registries: Registries,
        planner: PushPlanner,
        content: ContentStore,
        metadata: Metadata,
        workers: Workers,
        concurrent: int = 5,
    ) -> None:
        self._registries = registries
        self._planner = planner
        self._content = content
        self._metadata = metadata
        self._workers = workers
        self._slots = asyncio.Semaphore(concurrent)
        self._locks = Locks()

    def configure(self, *, concurrent: int) -> None:
        """Use another figure from the next blob on; those under way keep their places."""
        self._slots = asyncio.Semaphore(concurrent)

    def push(
        self, ns: str, order: PushOrder, *, credentials: Credentials | None = None, concurrent: int = 0
    ) -> AsyncGenerator[PushProgress, None]:
        """Push and tell how it goes; each name that the registry has now is a line with `pushed`.

        What cannot be pushed at all (no such image) is an error of the first step, what the registry says one of a
        later step. Ending the iteration early (`aclose`) cancels the push. `concurrent` bounds this push further.
        Raises as PushPlanner.plan and core.registry.Pusher.
        """
        slots = asyncio.Semaphore(concurrent) if concurrent else None

        async def run(board: Board) -> None:
            async with self._lease(ns) as lease:
                plan = await finished(self._workers.run_slow(self._planner.plan, ns, order, lease))
                await self._push(ns, order.target, plan, credentials, board, slots)

        return self._told(run, f"push {order.target}")

    def push_object(
        self, ns: str, target: Reference, digest: str, media_type: str, *, credentials: Credentials | None = None
    ) -> AsyncGenerator[PushProgress, None]:
        """Push one blob by itself, or as a manifest or index (`media_type` says so) to the target's tag.

        Raises NotFound when it is not here; otherwise as `push`.
        """

        async def run(board: Board) -> None:
            async with self._lease(ns) as lease:
                plan = await finished(
                    self._workers.run(self._planner.plan_object, ns, target, digest, media_type, lease)
                )
                await self._push(ns, target, plan, credentials, board)

        return self._told(run, f"push {digest}")

    async def _told(
        self, work: Callable[[Board], Coroutine[Any, Any, None]], name: str
    ) -> AsyncGenerator[PushProgress, None]:
        """What is said while the work goes on as a task, which ends with this."""
        board: Board = ProgressBoard(PushProgress)
        task = asyncio.create_task(work(board), name=name)
        task.add_done_callback(lambda _: board.close())
        try:
            async for line in board.lines():
                yield line
            await task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task

    def _lease(self, ns: str) -> AbstractAsyncContextManager[str]:
        return temporary_lease(self._metadata, self._workers, ns, "push", transient=True)

    async def _push(
        self,
        ns: str,
        target: Reference,
        plan: PushPlan,
        credentials: Credentials | None,
        board: Board,
        slots: asyncio.Semaphore | None = None,
    ) -> None:
        board.say(f"The push refers to repository [{target.name}]")
        trace.point("push.planned")
        async with self._registries.pusher(target, credentials) as pusher:
            run = _Run(ns, target, pusher, plan, board, slots)
            await self._send_blobs(run)
            for document in plan.documents.values():
                await self._send_document(run, document)
            trace.point("push.parts.sent")
            for top in plan.tops:
                await self._name(run, top)
        await finished(self._workers.run(self._record, run))

    # -- blobs ------------------------------------------------------------------------------------------------------

    async def _send_blobs(self, run: _Run) -> None:
        """Layers and configs, each once, several at a time."""
        for digest in run.plan.layers:
            run.board.say("Preparing", short(digest))
        with single_error():
            async with asyncio.TaskGroup() as group:
                for digest, blob in {**run.plan.layers, **run.plan.configs}.items():
                    group.create_task(self._send_blob(run, blob, shown=digest in run.plan.layers))

    async def _send_blob(self, run: _Run, blob: Descriptor, *, shown: bool) -> None:
        def say(status: str) -> None:
            if shown:
                run.board.say(status, short(blob.digest))

        async with contextlib.AsyncExitStack() as stack:
            for slots in (run.own_slots, self._slots):
                if slots is not None:
                    if slots.locked():
                        say("Waiting")
                    await stack.enter_async_context(slots)
            # Two pushes of one blob to one place: the second one finds it there.
            await stack.enter_async_context(self._locks.hold((run.target.name, blob.digest)))
            say(await self._place(run, blob, shown=shown))

    async def _place(self, run: _Run, blob: Descriptor, *, shown: bool) -> str:
        """Have the blob in the repository; how it came there."""
        if await run.pusher.has(blob):
            return "Layer already exists"
        if blob.digest in run.plan.gone:
            raise NotFound(
                f"content {blob.digest} of the image is neither here nor in {run.target.name}",
                subject=blob.digest,
                hint="pull the image again, then push it",
            )
        for source in sources.candidates(run.plan.labels[blob.digest], run.target)[:MOUNT_ATTEMPTS]:
            if await run.pusher.mount(blob, source):
                return f"Mounted from {source}"

        def progress(sent: int) -> None:
            if shown:
                run.board.count("Pushing", short(blob.digest), sent, blob.size)

        progress(0)
        async with self._opened(run.ns, blob.digest) as read:
            await run.pusher.upload(blob, read, progress)
        trace.point("push.blob.sent")
        return "Pushed"

    @asynccontextmanager
    async def _opened(self, ns: str, digest: str) -> AsyncIterator[Read]:
        """The blob's file, read in pieces on worker threads."""
        file = await finished(self._workers.run_slow(self._content.open, ns, digest), lambda file: file.close())

        async def read(offset: int, size: int) -> bytes:
            return await finished(self._workers.run(os.pread, file.fileno(), size, offset))

        try:
            yield read
        finally:
            file.close()

    # -- documents --------------------------------------------------------------------------------------------------

    async def _send_document(self, run: _Run, document: Document) -> None:
        if not await run.pusher.has(document.descriptor):
            await run.pusher.put(document.descriptor, document.data)

    async def _name(self, run: _Run, top: Top) -> None:
        """Put what has a name: as it is when nothing of it is missing, else what of it is here."""
        document = await self._complete(run, top) if top.missing else top.document
        await run.pusher.put(document.descriptor, document.data, top.tag)
        trace.point("push.image.named")
        digest, size = document.descriptor.digest, len(document.data)
        named = top.tag or digest
        pushed = Pushed(tag=top.tag, digest=digest, size=size)
        run.board.say(f"{named}: digest: {digest} size: {size}", pushed=pushed)

    async def _complete(self, run: _Run, top: Top) -> Document:
        """The index itself when the registry has what is missing here; else what is here, and words about it."""
        absent = [child for child in top.missing if not await run.pusher.has(child)]
        for child in top.missing:
            told = "left out, it is neither here nor in the registry" if child in absent else "in the registry already"
            run.board.say(f"{child.platform or child.media_type} ({child.digest}): {told}")
        if not absent:
            return top.document
        document = reduced(run.plan, top)
        what = "its only image that is here" if len(top.here) == 1 else f"its {len(top.here)} images that are here"
        run.board.say(f"Index {top.document.descriptor.digest} is not whole: pushing {what}")
        return document

    # -- record -----------------------------------------------------------------------------------------------------

    def _record(self, run: _Run) -> None:
        """Remember where the blobs are now, and tell of the push."""
        sources.remember(self._content, run.ns, run.target, (*run.plan.layers, *run.plan.configs))
        if not run.plan.tops:
            return
        with self._metadata.update() as tx:
            for top in run.plan.tops:
                name = (run.target if run.target.digest else run.target._replace(tag=top.tag)).familiar
                tx.emit(run.ns, "/images/push", str(run.target), {"action": "push", "name": name})
