"""What remains of containers that were removed: how they were made, how they ended, their last words."""

from __future__ import annotations

from collections.abc import Callable

from corten_shared import times
from corten_shared.models.container import ContainerRecord
from corten_shared.models.postmortem import LogTail, Postmortem
from corten_shared.models.task import TaskRecord
from cortend.core.metadata import Metadata
from cortend.core.runtime import TaskKey
from cortend.core.workers import Workers
from cortend.services.logs import LogReader
from cortend.services.requests import LogOptions
from cortend.services.settings import ContainerSettings

LINES = 20
"""Lines of the log that are kept."""
_LINE = 1024
"""Characters of one of them."""

Write = Callable[[TaskKey, ContainerRecord, TaskRecord | None], Postmortem]


def postmortem_of(
    settings: ContainerSettings, key: TaskKey, record: ContainerRecord, task: TaskRecord | None
) -> Postmortem:
    """What is kept of a container that is being removed; its log is still there. Blocks."""
    names = [f"{entry.partition('=')[0]}=" for entry in record.spec.env]
    kept = record.model_copy(update={"spec": record.spec.model_copy(update={"env": names}), "extensions": {}})
    return Postmortem(container=kept, task=task, log=_tail(settings, key), removed_at=times.now())


def _tail(settings: ContainerSettings, key: TaskKey) -> list[LogTail]:
    reader = LogReader(settings.logs(*key), LogOptions(tail=LINES))
    try:
        lines = reader.read(LINES * 8)
    except OSError:
        return []
    finally:
        reader.close()
    return [
        LogTail(
            time=line.time_ns,
            stream="stdout" if line.stream == 1 else "stderr",
            text=line.data.decode("utf-8", "replace").rstrip("\n")[:_LINE],
        )
        for line in lines[-LINES:]
    ]


class PostmortemService:
    """Looks removed containers up."""

    def __init__(self, *, metadata: Metadata, workers: Workers) -> None:
        self._metadata = metadata
        self._workers = workers

    async def find(self, ns: str, reference: str) -> Postmortem:
        """The one removed last of this name or id. Raises NotFound."""

        def read() -> Postmortem:
            with self._metadata.view() as tx:
                return tx.postmortems.find(ns, reference)

        return await self._workers.run(read)
