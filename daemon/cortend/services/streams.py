"""Attachments made before a container's process exists.

`docker run` attaches first and starts afterwards, so that the first byte is not lost. Such an
attachment waits here; when the process has been created, and before it runs, it is bound to the
real one.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable

from corten_shared.errors import Conflict, CortenError
from cortend.core.runtime import Attachment, Chunk, TaskKey, TaskRuntime


class PendingAttachment:
    """An attachment to a process that does not exist yet (implements core.runtime.Attachment)."""

    def __init__(self, forget: Callable[[PendingAttachment], None], *, stdin: bool) -> None:
        self.stdin = stdin
        self._forget = forget
        self._target: asyncio.Future[Attachment | None] = asyncio.get_running_loop().create_future()

    def bind(self, target: Attachment | None) -> None:
        """Connect to the real attachment; None: there will never be one, so the output ends."""
        if not self._target.done():
            self._target.set_result(target)

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        target = await asyncio.shield(self._target)
        if target is not None:
            async for chunk in target:
                yield chunk

    async def write(self, data: bytes) -> None:
        """Write to stdin once there is one."""
        target = await asyncio.shield(self._target)
        if target is None:
            raise Conflict("the container was removed before it started")
        await target.write(data)

    async def close_stdin(self) -> None:
        """End the input once there is one."""
        target = await asyncio.shield(self._target)
        if target is not None:
            await target.close_stdin()

    async def close(self) -> None:
        """Detach, or give up waiting."""
        self._forget(self)
        if not self._target.done():
            self._target.set_result(None)
        elif (target := self._target.result()) is not None:
            await target.close()


class PendingAttachments:
    """Attachments waiting for their container's next start."""

    def __init__(self) -> None:
        self._waiting: dict[TaskKey, list[PendingAttachment]] = defaultdict(list)

    def add(self, key: TaskKey, *, stdin: bool) -> PendingAttachment:
        """An attachment that becomes real at the next start of `key`."""

        def forget(attachment: PendingAttachment) -> None:
            if attachment in self._waiting.get(key, []):
                self._waiting[key].remove(attachment)

        attachment = PendingAttachment(forget, stdin=stdin)
        self._waiting[key].append(attachment)
        return attachment

    async def bind(self, key: TaskKey, runtime: TaskRuntime) -> None:
        """Connect all that wait for `key` to its process, which has been created and does not run yet."""
        for pending in self._waiting.pop(key, []):
            try:
                pending.bind(await runtime.attach(key, stdin=pending.stdin))
            except CortenError:
                pending.bind(None)
                raise

    def end(self, key: TaskKey) -> None:
        """There will be no process for those who wait: its start failed, or the container is gone."""
        for pending in self._waiting.pop(key, []):
            pending.bind(None)
