"""The check of what work leaves beside the stores: old ingests, directories and bundles of containers that are gone."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from corten_shared import times
from corten_shared.models.check import Finding
from corten_shared.models.content import IngestStatus
from cortend.core import gc
from cortend.core.content import ContentStore
from cortend.core.metadata import Metadata, Transaction
from cortend.core.runtime import TaskKey, TaskRuntime
from cortend.core.workers import Workers
from cortend.services.check_run import CheckRun

INGEST_AGE = 24 * 3600 * 1_000_000_000
"""How old (ns) the last write of an ingest is that nobody will resume."""


class LeftoverChecker:
    """Checks and clears leftovers. `containers` is where containers' files are, `tear_down` clears a bundle."""

    def __init__(
        self,
        *,
        content: ContentStore,
        metadata: Metadata,
        runtime: TaskRuntime,
        workers: Workers,
        containers: Path,
        tear_down: Callable[[TaskKey], Awaitable[None]],
    ) -> None:
        self._content = content
        self._metadata = metadata
        self._runtime = runtime
        self._workers = workers
        self._containers = containers
        self._tear_down = tear_down

    async def check(self, run: CheckRun) -> None:
        """Everything."""
        for ns, status in await self._workers.run(self._old_ingests):
            detail = f"ingest {status.ref} has {status.offset} bytes and was last written {_age(status)} hours ago"
            finding = Finding(problem="ingest-stale", subject=status.ref, namespace=ns, detail=detail)

            async def abort(ns: str = ns, ref: str = status.ref) -> str:
                await self._workers.run(self._content.abort, ns, ref)
                return "dropped"

            await run.report(finding, abort)
        await self._directories(run)
        await self._bundles(run)

    def _old_ingests(self) -> list[tuple[str, IngestStatus]]:
        found: list[tuple[str, IngestStatus]] = []
        now = times.now()
        with self._metadata.view() as tx:
            for namespace in tx.namespaces.list():
                leased = _leased(tx, namespace.name)
                found += [
                    (namespace.name, status)
                    for status in self._content.statuses(namespace.name)
                    if now - status.updated_at > INGEST_AGE and status.ref not in leased
                ]
        return found

    async def _directories(self, run: CheckRun) -> None:
        for path in await self._workers.run(self._unknown):
            subject = f"{path.parent.name}/{path.name}"
            detail = f"containers/{subject} has the files of no container"
            finding = Finding(problem="leftover", subject=subject, detail=detail)

            async def remove(path: Path = path) -> str:
                await self._workers.run_slow(shutil.rmtree, path)
                return "removed"

            await run.report(finding, remove)

    def _unknown(self) -> list[Path]:
        return [path for path in sorted(self._containers.glob("*/*")) if not self._known(path.parent.name, path.name)]

    def _known(self, ns: str, container: str) -> bool:
        """Asked of each directory anew: a container that was made meanwhile has its record first."""
        with self._metadata.view() as tx:
            return container in tx.containers.ids(ns)

    async def _bundles(self, run: CheckRun) -> None:
        for key in await self._runtime.leftovers():
            if await self._workers.run(self._lives, key):
                continue
            subject = f"{key.ns}/{key.id}"
            detail = f"the bundle {subject} (its mounts, cgroup and monitor) belongs to no running task"
            finding = Finding(problem="leftover", subject=subject, namespace=key.ns, detail=detail)

            async def clear(key: TaskKey = key) -> str:
                await self._tear_down(key)
                return "cleared"

            await run.report(finding, clear)

    def _lives(self, key: TaskKey) -> bool:
        """Whether it is, or may be, somebody's: a container that is being started has a bundle before its task."""
        return self._known(key.ns, key.id)


def _leased(tx: Transaction, ns: str) -> set[str]:
    return {
        resource.id
        for lease in tx.leases.list(ns)
        for resource in tx.leases.resources(ns, lease.id)
        if resource.type == gc.INGEST
    }


def _age(status: IngestStatus) -> int:
    return (times.now() - status.updated_at) // 3_600_000_000_000
