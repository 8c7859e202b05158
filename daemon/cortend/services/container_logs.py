"""A container's log from its creation to its end: what was asked for is checked, files are kept small, copies leave."""

from __future__ import annotations

import asyncio

from corten_shared.models.container import ContainerRecord, LogSpec
from cortend.core.logsinks import LogSinks
from cortend.core.runtime import TaskKey, TaskRuntime
from cortend.core.workers import Workers
from cortend.services import log_options
from cortend.services.log_keeper import LogKeeper
from cortend.services.log_shipping import LogShipper
from cortend.services.settings import ContainerSettings


class ContainerLogs:
    """The logs of all containers. One per daemon, on its event loop."""

    def __init__(
        self, *, settings: ContainerSettings, sinks: LogSinks, runtime: TaskRuntime, workers: Workers
    ) -> None:
        self._settings = settings
        self._sinks = sinks
        self._keeper = LogKeeper(settings=settings, runtime=runtime, workers=workers)
        self._shipper = LogShipper(settings=settings, sinks=sinks, workers=workers)

    def checked(self, spec: LogSpec) -> LogSpec:
        """What a new container asks for, with defaults; raises InvalidArgument."""
        made = log_options.checked(spec, self._settings.log)
        self._sinks.check(made.driver, made.options)
        return made

    async def before_start(self, record: ContainerRecord) -> None:
        """Whether a receiver of the log is there, if one was asked for. Raises Unavailable, InvalidArgument."""
        await self._shipper.check(record)

    def add(self, key: TaskKey, record: ContainerRecord) -> None:
        """The container runs."""
        self._keeper.add(key, record)
        self._shipper.add(key, record)

    async def discard(self, key: TaskKey) -> None:
        """The container has ended."""
        await self._shipper.discard(key)
        await self._keeper.discard(key)

    def forget(self, key: TaskKey) -> None:
        """The container was removed; its files go with it."""

    async def run(self) -> None:
        """Look after all of them until cancelled; lets go of everything then."""
        try:
            await asyncio.gather(self._keeper.run(), self._shipper.run())
        finally:
            await self._shipper.close()
            self._keeper.close()
