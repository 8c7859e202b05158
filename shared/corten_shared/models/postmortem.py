"""What is told of a container that was removed."""

from __future__ import annotations

from corten_shared.models.base import Record
from corten_shared.models.container import ContainerRecord
from corten_shared.models.event import Actor
from corten_shared.models.task import TaskRecord
from corten_shared.times import Timestamp


class LogTail(Record):
    """A line of the log: when, `stdout` or `stderr`, its text without the newline."""

    time: Timestamp
    stream: str
    text: str


class Postmortem(Record):
    """A removed container: as it was made, how its last run ended, its last lines, who removed it (None: the engine).

    Environment values are left out: they may be secrets, and outlive nobody.
    """

    container: ContainerRecord
    task: TaskRecord | None = None
    log: list[LogTail] = []
    removed_at: Timestamp
    removed_by: Actor | None = None
