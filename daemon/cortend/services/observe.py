"""Looking at containers: find, list, attach, logs, processes, metrics.

The base of `ContainerService`: everything here leaves a container's state as it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from corten_shared.errors import Conflict, InvalidArgument, NotFound
from corten_shared.models.task import Metrics, Process
from cortend.core.metadata import Metadata
from cortend.core.runtime import Attachment, Chunk, TaskKey, TaskRuntime
from cortend.core.workers import Workers
from cortend.linux.inotify import DirectoryWatch
from cortend.services.logs import LogReader
from cortend.services.requests import LogLine, LogOptions
from cortend.services.settings import ContainerSettings
from cortend.services.supervisor import Supervisor
from cortend.services.views import ContainerView, view_of, views_of

Views = list[ContainerView]
Processes = list[Process]


class ContainerObserver:
    """Read-only use cases of containers."""

    def __init__(
        self,
        *,
        settings: ContainerSettings,
        metadata: Metadata,
        runtime: TaskRuntime,
        supervisor: Supervisor,
        workers: Workers,
    ) -> None:
        self._settings = settings
        self._metadata = metadata
        self._runtime = runtime
        self._supervisor = supervisor
        self._workers = workers

    # -- find -------------------------------------------------------------------------------------------------------

    async def get(self, ns: str, ref: str) -> ContainerView:
        """One container by id, name or unique prefix. Raises NotFound."""
        return await self._workers.run(self._view, ns, ref)

    def _view(self, ns: str, ref: str) -> ContainerView:
        with self._metadata.view() as tx:
            record = tx.containers.find(ns, ref)
            return view_of(tx, ns, record, record.id in self._supervisor.restarting())

    async def list(self, ns: str, *, all: bool = False) -> Views:
        """Containers, newest first; only running ones unless `all`."""
        views = await self._workers.run(self._views, ns)
        return views if all else [view for view in views if view.running or view.restarting]

    def _views(self, ns: str) -> Views:
        with self._metadata.view() as tx:
            return views_of(tx, ns, self._supervisor.restarting())

    def log_directory(self, view: ContainerView) -> Path:
        """Where the container's log files are."""
        return self._settings.logs(view.ns, view.record.id)

    def directory(self, view: ContainerView) -> Path:
        """Where the container's own files (hosts, hostname, resolv.conf, log) are."""
        return self._settings.directory(view.ns, view.record.id)

    async def _running(self, ns: str, ref: str) -> ContainerView:
        view = await self.get(ns, ref)
        if not view.running:
            raise Conflict(f"container {view.record.id} is not running", hint=f"start it with: corten start {ref}")
        return view

    # -- streams ----------------------------------------------------------------------------------------------------

    async def attach(self, ns: str, ref: str, *, stdin: bool, logs: bool = False, stream: bool = True) -> Attachment:
        """The container's streams, now or, when it does not run, from its next start on.

        `logs` replays what was written so far; without `stream` that is all.
        """
        view = await self.get(ns, ref)
        key = TaskKey(ns, view.record.id)
        if view.status in ("paused", "restarting"):
            raise Conflict(f"container {ref} is {view.status}, unpause the container before attach")
        replay = self.logs_of(view, LogOptions()) if logs else None
        live: Attachment | None = None
        if stream:
            live = await self._live(key, view, stdin=stdin)
        return live if live is not None and replay is None else Replayed(replay, live)

    async def _live(self, key: TaskKey, view: ContainerView, *, stdin: bool) -> Attachment:
        stdin = stdin and view.record.spec.open_stdin
        if not view.running:
            return self._supervisor.pending.add(key, stdin=stdin)
        try:
            return await self._runtime.attach(key, stdin=stdin)
        except NotFound:  # it ended since we looked
            return self._supervisor.pending.add(key, stdin=stdin)

    async def logs(self, ns: str, ref: str, options: LogOptions) -> AsyncIterator[LogLine]:
        """The container's log; everything is checked before the first line. With `follow` until it ends."""
        view = await self.get(ns, ref)
        if not (options.stdout or options.stderr):
            raise InvalidArgument("you must choose at least one stream")
        if view.record.spec.log.driver == "none":
            raise Conflict(
                "configured logging driver does not support reading", hint="it was created with --log-driver none"
            )
        return self.logs_of(view, options)

    async def logs_of(self, view: ContainerView, options: LogOptions) -> AsyncIterator[LogLine]:
        """The log of a container that was looked up before."""
        directory = self.log_directory(view)
        reader = LogReader(directory, options)
        ended = self._supervisor.waiters.next_exit(TaskKey(view.ns, view.record.id))
        try:
            with contextlib.ExitStack() as stack:
                watch = stack.enter_context(DirectoryWatch(str(directory))) if options.follow else None
                if watch is not None:
                    ended.add_done_callback(lambda _: watch.wake())
                while True:
                    last = watch is None or ended.done() or not await self._exists_running(view)
                    while lines := await self._workers.run(reader.read):
                        for line in lines:
                            yield line
                    if last or watch is None:
                        return
                    await watch.changed()
        finally:
            ended.cancel()
            reader.close()

    async def _exists_running(self, view: ContainerView) -> bool:
        try:
            return (await self.get(view.ns, view.record.id)).running
        except NotFound:
            return False

    async def resize(self, ns: str, ref: str, width: int, height: int) -> None:
        """Set the size of the container's terminal, in characters."""
        view = await self._running(ns, ref)
        await self._runtime.resize(TaskKey(ns, view.record.id), width, height)

    # -- figures ----------------------------------------------------------------------------------------------------

    async def processes(self, ns: str, ref: str) -> Processes:
        """Every process of the container, as the host sees it."""
        view = await self._running(ns, ref)
        return await self._runtime.processes(TaskKey(ns, view.record.id))

    async def metrics(self, ns: str, ref: str) -> Metrics:
        """What the container uses now."""
        view = await self._running(ns, ref)
        return await self._runtime.metrics(TaskKey(ns, view.record.id))


class Replayed:
    """An attachment that begins with the log so far (implements core.runtime.Attachment)."""

    def __init__(self, history: AsyncIterator[LogLine] | None, live: Attachment | None) -> None:
        self._history = history
        self._live = live

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        if self._history is not None:
            async for line in self._history:
                yield Chunk(line.stream, line.data)
        if self._live is not None:
            async for chunk in self._live:
                yield chunk

    async def write(self, data: bytes) -> None:
        """Write to stdin."""
        if self._live is None:
            raise Conflict("this attachment replays the log only; it has no stdin")
        await self._live.write(data)

    async def close_stdin(self) -> None:
        """End the input."""
        if self._live is not None:
            await self._live.close_stdin()

    async def close(self) -> None:
        """Detach."""
        if self._live is not None:
            await self._live.close()
