"""Namespaces: their removal, which wants them empty of everything, whoever keeps it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from corten_shared.errors import Conflict
from cortend.core.content import ContentStore
from cortend.core.metadata import Metadata
from cortend.core.workers import Workers
from cortend.services.volumes import VolumeService


class NamespaceService:
    """What concerns more than the database's rows."""

    def __init__(
        self,
        *,
        metadata: Metadata,
        content: ContentStore,
        volumes: VolumeService,
        workers: Workers,
        collect: Callable[[], Awaitable[object]],
    ) -> None:
        self._metadata = metadata
        self._content = content
        self._volumes = volumes
        self._workers = workers
        self._collect = collect

    async def delete(self, name: str) -> None:
        """Remove an empty namespace; what is only garbage is collected first.

        Raises NotFound; Conflict, saying what is left, and for `default`.
        """
        await self._workers.run(self._find, name)  # first: the name becomes part of a path
        try:
            await self._delete(name)
        except Conflict:
            await self._collect()
            await self._delete(name)

    def _find(self, name: str) -> None:
        with self._metadata.view() as tx:
            tx.namespaces.get(name)

    async def _delete(self, name: str) -> None:
        def check() -> None:
            with self._metadata.view() as tx:
                tx.namespaces.get(name)  # before it becomes part of a path

        await self._workers.run(check)
        others = {
            "volumes": len(await self._volumes.list(name)),
            "ingests": len(await self._workers.run(self._content.statuses, name)),
        }

        def delete() -> None:
            with self._metadata.update() as tx:
                tx.namespaces.delete(name, others)
                tx.emit(name, "/namespaces/delete", name)

        await self._workers.run(delete)
