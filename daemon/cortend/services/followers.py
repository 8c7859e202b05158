"""What watches running containers for their users: health checks and time limits, and what they then do."""

from __future__ import annotations

import contextlib
import signal

from corten_shared.errors import NotFound, NotModified
from corten_shared.models.container import ContainerRecord
from cortend.core.metadata import Metadata
from cortend.core.runtime import TaskKey, TaskRuntime
from cortend.core.workers import Workers
from cortend.services.containers import ContainerService
from cortend.services.exec import ExecService
from cortend.services.health import HealthMonitor
from cortend.services.time_limit import TimeLimits


class Followers:
    """A follower of the supervisor's tasks (services.supervisor) that is made of others."""

    def __init__(
        self,
        *,
        metadata: Metadata,
        runtime: TaskRuntime,
        containers: ContainerService,
        execs: ExecService,
        workers: Workers,
    ) -> None:
        self._runtime = runtime
        self._containers = containers
        remedies = {"kill": self._kill, "stop": self._stop, "restart": self._restart}
        self.health = HealthMonitor(metadata=metadata, execs=execs, workers=workers, remedies=remedies)
        self._limits = TimeLimits(metadata=metadata, workers=workers, end=self._stop)

    def add(self, key: TaskKey, record: ContainerRecord) -> None:
        """The container runs."""
        self.health.add(key, record)
        self._limits.add(key, record)

    async def discard(self, key: TaskKey) -> None:
        """The container has ended."""
        await self.health.discard(key)
        await self._limits.discard(key)

    def forget(self, key: TaskKey) -> None:
        """The container was removed."""
        self.health.forget(key)
        self._limits.forget(key)

    async def close(self) -> None:
        """Stop watching."""
        await self.health.close()
        await self._limits.close()

    async def _kill(self, key: TaskKey) -> None:
        """Not as a user would: the container's restart policy is to act."""
        with contextlib.suppress(NotFound):
            await self._runtime.kill(key, signal.SIGKILL)

    async def _stop(self, key: TaskKey) -> None:
        with contextlib.suppress(NotFound, NotModified):
            await self._containers.stop(key.ns, key.id)

    async def _restart(self, key: TaskKey) -> None:
        with contextlib.suppress(NotFound):
            await self._containers.restart(key.ns, key.id)
