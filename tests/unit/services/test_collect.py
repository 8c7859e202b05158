"""When garbage is collected: the schedule, without a clock of its own, and the service that follows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cortend.core.metadata import Collected
from cortend.services.collect import CollectService, CollectSettings, Schedule
from cortend.workers import ThreadWorkers

SETTINGS = CollectSettings(
    schedule_delay=1, startup_delay=5, pause_threshold=0.02, mutation_threshold=10, interval=1000
)


def rested() -> Schedule:
    """A schedule at time 100, long after its last collection."""
    schedule = Schedule(SETTINGS, 0)
    schedule.ended(50, took=0.01, locked=0.001, end=None)
    return schedule


def test_nothing_is_collected_before_the_start_is_over() -> None:
    schedule = Schedule(SETTINGS, 0)
    schedule.deleted(0.1)
    assert schedule.due() == 5


def test_a_deletion_is_followed_by_a_collection_after_the_delay() -> None:
    schedule = rested()
    assert schedule.due() == 1050
    schedule.deleted(100)
    schedule.deleted(100.9)
    assert schedule.due() == 101


def test_writes_cause_a_collection_when_they_are_many() -> None:
    schedule = rested()
    schedule.mutated(100, 9)
    assert schedule.due() == 1050
    schedule.mutated(102, 10)
    assert schedule.due() == 103


def test_collections_keep_their_share_of_time() -> None:
    schedule = rested()
    schedule.ended(100, took=0.1, locked=0.1, end=None)
    schedule.deleted(100)
    assert abs(schedule.due() - 104.9) < 1e-9  # 0.1 s of 5 s are 2 %
    schedule.ended(200, took=10, locked=0.1, end=None)
    schedule.deleted(200)
    assert schedule.due() == 240  # marking was long: it rests, too


def test_many_deletions_do_not_wait_for_that() -> None:
    schedule = Schedule(CollectSettings(schedule_delay=1, deletion_threshold=2), 0)
    schedule.ended(100, took=10, locked=10, end=None)
    schedule.deleted(100)
    assert schedule.due() > 500
    schedule.deleted(100.5)
    assert schedule.due() == 101


def test_the_end_of_a_lease_is_waited_for() -> None:
    schedule = rested()
    schedule.ended(100, took=0, locked=0, end=160)
    assert schedule.due() == 160
    schedule.ended(160, took=0, locked=0, end=10_000)
    assert schedule.due() == 1160


def test_the_end_of_what_was_just_made_is_waited_for() -> None:
    schedule = rested()
    schedule.expiring(200)
    schedule.expiring(300)
    assert schedule.due() == 200


def test_what_is_removed_while_a_collection_runs_has_another_one_follow() -> None:
    schedule = rested()
    schedule.deleted(100)
    schedule.begun()
    schedule.deleted(102)
    schedule.ended(103, took=2, locked=0, end=None)
    assert schedule.due() == 111
    schedule.begun()
    schedule.ended(112, took=1, locked=0, end=None)
    assert schedule.due() == 1112


class Counting:
    """A collector that says when it ran."""

    locked = 0.0
    next_end: int | None = None

    def __init__(self) -> None:
        self.runs: asyncio.Queue[None] = asyncio.Queue()
        self.loop = asyncio.get_running_loop()
        self.written: Callable[[], None] = lambda: None

    def watch(self, written: Callable[[], None]) -> None:
        self.written = written

    def collect(self) -> Collected:
        self.loop.call_soon_threadsafe(self.runs.put_nowait, None)
        return Collected(0, 0, 0, 0, 0)


def test_the_service_follows_the_schedule() -> None:
    async def scenario() -> None:
        workers, collector = ThreadWorkers(), Counting()
        settings = CollectSettings(schedule_delay=0.01, startup_delay=0.01, mutation_threshold=3)
        service = CollectService(collector=collector, workers=workers, settings=settings)
        running = asyncio.create_task(service.run())
        service.request()
        await asyncio.wait_for(collector.runs.get(), 10)
        for _ in range(3):
            await asyncio.to_thread(collector.written)
        await asyncio.wait_for(collector.runs.get(), 10)
        service.configure(CollectSettings(interval=0.01))
        await asyncio.wait_for(collector.runs.get(), 10)
        running.cancel()
        workers.close()

    asyncio.run(scenario())
