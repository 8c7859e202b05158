"""Sending logs away: a copy of what a container writes, read from its own log, so that nobody waits for a receiver.

    log/shipped      up to which byte of the log's stream it was handed over

A receiver that is away is tried again with growing pauses; what was written meanwhile follows, also after a restart of
the daemon. A line may arrive twice then, none is left out unless it was rotated away before the receiver came back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from pathlib import Path

from corten_shared.errors import CortenError, Unavailable
from corten_shared.models.container import ContainerRecord
from cortend.core.logsinks import LogEntry, LogSink, LogSinks, LogSource
from cortend.core.runtime import TaskKey
from cortend.core.workers import Workers
from cortend.linux.inotify import DirectoriesWatch
from cortend.services.background import Background
from cortend.services.log_options import SHIPPED, attributes, tag_of
from cortend.services.logs import LogReader
from cortend.services.requests import LogLine, LogOptions
from cortend.services.settings import ContainerSettings

log = logging.getLogger(__name__)

_POSITION = "shipped"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_FAREWELL = 3.0
"""Seconds that the last lines have to leave when their container has ended."""
_BATCH = 500


@dataclass
class _Shipment:
    """One running container's log on its way."""

    record: ContainerRecord
    directory: Path
    grown: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False
    task: asyncio.Task[None] | None = None


class LogShipper:
    """Ships the logs of containers whose driver says so. One per daemon, on its event loop."""

    def __init__(self, *, settings: ContainerSettings, sinks: LogSinks, workers: Workers) -> None:
        self._settings = settings
        self._sinks = sinks
        self._workers = workers
        self._shipments: dict[TaskKey, _Shipment] = {}
        self._watch = DirectoriesWatch[TaskKey]()
        self._background = Background()

    async def check(self, record: ContainerRecord) -> None:
        """Whether the receiver is there: asked before a start, as docker does. Raises Unavailable, InvalidArgument."""
        if record.spec.log.driver in SHIPPED:
            try:
                await (await self._open(record)).close()
            except CortenError as error:
                raise Unavailable(
                    f"failed to create task for container: failed to initialize logging driver: {error.message}",
                    hint=error.hint,
                ) from error

    def add(self, key: TaskKey, record: ContainerRecord) -> None:
        """A container runs: ship what it wrote and writes."""
        if record.spec.log.driver not in SHIPPED:
            return
        shipment = self._shipments[key] = _Shipment(record, self._settings.logs(*key))
        with contextlib.suppress(OSError):
            self._watch.add(key, str(shipment.directory))
        shipment.task = self._background.spawn(self._ship(shipment), f"ship the log of {key.ns}/{key.id[:12]}")

    async def discard(self, key: TaskKey) -> None:
        """The container has ended: let its last lines leave, if the receiver takes them in time."""
        shipment = self._shipments.pop(key, None)
        self._watch.discard(key)
        if shipment is None or shipment.task is None:
            return
        shipment.ended = True
        shipment.grown.set()
        done, _ = await asyncio.wait([shipment.task], timeout=_FAREWELL)
        if not done:
            log.warning("the last log lines of container %s were not taken", shipment.record.name)
            shipment.task.cancel()

    async def run(self) -> None:
        """Tell shipments that their logs grew, until cancelled."""
        while True:
            for key in await self._watch.changed():
                if (shipment := self._shipments.get(key)) is not None:
                    shipment.grown.set()
            await asyncio.sleep(0.02)  # lines that come together leave together

    async def close(self) -> None:
        """Stop shipping; the next daemon goes on."""
        await self._background.cancel()
        self._watch.close()

    async def _open(self, record: ContainerRecord) -> LogSink:
        spec = record.spec.log
        source = LogSource(
            id=record.id,
            name=record.name,
            image=record.image,
            tag=tag_of(spec, record),
            attributes=attributes(spec, record.labels, record.spec.env),
        )
        return await self._sinks.open(spec.driver, spec.options, source)

    async def _ship(self, shipment: _Shipment) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._ship_on(shipment)
                return
            except CortenError as error:
                log.warning("log of container %s: %s", shipment.record.name, error.message)
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)

    async def _ship_on(self, shipment: _Shipment) -> None:
        """From where it stands to the container's end. Raises Unavailable."""
        position = await self._workers.run(_load, shipment.directory)
        reader = LogReader(shipment.directory, LogOptions(follow=True), position=position)
        sink = await self._open(shipment.record)
        try:
            while True:
                last = shipment.ended
                shipment.grown.clear()
                while lines := await self._workers.run(reader.read, _BATCH):
                    await sink.send([_entry(line) for line in lines])
                    await self._workers.run(_save, shipment.directory, reader.consumed)
                if last:
                    return
                await shipment.grown.wait()
        finally:
            reader.close()
            await sink.close()


def _entry(line: LogLine) -> LogEntry:
    partial = not line.data.endswith(b"\n")
    return LogEntry(line.time_ns, line.stream, line.data if partial else line.data[:-1], partial)


def _load(directory: Path) -> int:
    try:
        return int((directory / _POSITION).read_text())
    except (FileNotFoundError, ValueError):
        return 0


def _save(directory: Path, position: int) -> None:
    """Not synced: after a power cut lines come again, and that is what is promised."""
    with contextlib.suppress(FileNotFoundError):  # the container was removed
        temporary = directory / f".{_POSITION}"
        temporary.write_text(str(position))
        temporary.rename(directory / _POSITION)
