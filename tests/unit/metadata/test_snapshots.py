"""Named snapshots: what a crash or a race leaves, and that it is cleared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from corten_shared.errors import AlreadyExists, NotFound, ResourceExhausted
from corten_shared.models.snapshot import Kind
from cortend.metadata.db import Database
from cortend.metadata.snapshots import DatabaseSnapshotter
from suites.directory_driver import DirectoryDriver


class HookedDriver(DirectoryDriver):
    """Calls `hook` in the middle of making, syncing or removing a directory."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.hook = lambda step: None

    def create(self, sid: int, kind: Kind, parents: Sequence[int]) -> None:
        super().create(sid, kind, parents)
        self.hook("create")

    def sync(self, sids: Sequence[int]) -> None:
        super().sync(sids)
        self.hook("sync")

    def remove(self, sid: int) -> None:
        self.hook("remove")
        super().remove(sid)


@pytest.fixture
def driver(tmp_path: Path) -> HookedDriver:
    return HookedDriver(tmp_path / "snapshots")


@pytest.fixture
def snapshotter(metadata: Database, driver: HookedDriver) -> DatabaseSnapshotter:
    return DatabaseSnapshotter(metadata, driver)


def test_cleanup_frees_orphans_and_nothing_else(snapshotter: DatabaseSnapshotter, driver: HookedDriver) -> None:
    snapshotter.prepare("a", "key")
    driver.create(77, Kind.ACTIVE, [])
    assert snapshotter.cleanup() == 1
    assert list(driver.ids()) == [1]


def test_cleanup_spares_a_snapshot_that_is_being_prepared(
    snapshotter: DatabaseSnapshotter, driver: HookedDriver
) -> None:
    freed: list[int] = []
    driver.hook = lambda step: freed.append(snapshotter.cleanup()) if step == "create" else None
    snapshotter.prepare("a", "key")
    assert freed == [0]
    assert list(driver.ids()) == [1]


def test_cleanup_frees_nothing_a_second_time_while_it_is_removed(
    snapshotter: DatabaseSnapshotter, driver: HookedDriver
) -> None:
    snapshotter.prepare("a", "key")
    freed: list[int] = []
    driver.hook = lambda step: freed.append(snapshotter.cleanup()) if step == "remove" else None
    snapshotter.remove("a", "key")
    assert freed == [0]


def test_a_number_is_not_used_again_while_its_directory_is_there(metadata: Database, driver: HookedDriver) -> None:
    driver.create(41, Kind.ACTIVE, [])
    snapshotter = DatabaseSnapshotter(metadata, driver)
    snapshotter.prepare("a", "key")
    assert sorted(driver.ids()) == [41, 42]
    assert DatabaseSnapshotter(metadata, driver).prepare("a", "next")[0].source.endswith("/43")


def test_two_snapshotters_share_the_database(metadata: Database, tmp_path: Path) -> None:
    one, two = (
        DatabaseSnapshotter(metadata, DirectoryDriver(tmp_path / name, name=name)) for name in ("one", "two")
    )
    for snapshotter in (one, two):
        snapshotter.prepare("a", "same")
    assert one.cleanup() == two.cleanup() == 0
    one.remove("a", "same")
    assert [info.name for info in two.walk("a")] == ["same"]


def test_the_loser_of_a_race_for_a_name_leaves_no_directory(
    snapshotter: DatabaseSnapshotter, driver: HookedDriver
) -> None:
    def race(step: str) -> None:
        if step == "create":
            driver.hook = lambda step: None
            snapshotter.prepare("a", "key")

    driver.hook = race
    with pytest.raises(AlreadyExists, match="key"):
        snapshotter.prepare("a", "key")
    assert len(list(driver.ids())) == 1


def test_a_parent_that_goes_meanwhile_is_missed(snapshotter: DatabaseSnapshotter, driver: HookedDriver) -> None:
    snapshotter.prepare("a", "making")
    snapshotter.commit("a", "base", "making")
    driver.hook = lambda step: snapshotter.remove("a", "base") if step == "create" else None
    with pytest.raises(NotFound, match="parent"):
        snapshotter.prepare("a", "top", "base")
    assert list(driver.ids()) == []


def test_what_is_replaced_while_it_is_synced_is_not_committed(
    snapshotter: DatabaseSnapshotter, driver: HookedDriver
) -> None:
    def replace(step: str) -> None:
        if step == "sync":
            snapshotter.remove("a", "key")
            snapshotter.prepare("a", "key")

    snapshotter.prepare("a", "key")
    driver.hook = replace
    with pytest.raises(NotFound, match="key"):
        snapshotter.commit("a", "name", "key")
    assert snapshotter.stat("a", "key").kind is Kind.ACTIVE


def test_a_snapshot_is_synced_before_it_is_committed(snapshotter: DatabaseSnapshotter, driver: HookedDriver) -> None:
    kinds: list[Kind] = []
    snapshotter.prepare("a", "key")
    driver.hook = lambda step: kinds.append(snapshotter.stat("a", "key").kind)
    snapshotter.commit("a", "name", "key")
    assert (driver.synced, kinds) == ([1], [Kind.ACTIVE])


def test_a_disk_that_is_full_leaves_no_row(snapshotter: DatabaseSnapshotter, driver: HookedDriver) -> None:
    def full(step: str) -> None:
        raise ResourceExhausted("no space left on device")

    driver.hook = full
    with pytest.raises(ResourceExhausted):
        snapshotter.prepare("a", "key")
    assert snapshotter.walk("a") == []


def test_a_directory_that_cannot_be_removed_is_left_to_the_next_cleanup(
    snapshotter: DatabaseSnapshotter, driver: HookedDriver
) -> None:
    def busy(step: str) -> None:
        raise OSError("Device or resource busy")

    snapshotter.prepare("a", "key")
    driver.hook = busy
    snapshotter.remove("a", "key")
    assert snapshotter.cleanup() == 0
    driver.hook = lambda step: None
    assert snapshotter.cleanup() == 1


def test_what_a_power_cut_took_of_an_active_snapshot_is_made_again(
    metadata: Database, snapshotter: DatabaseSnapshotter, driver: HookedDriver, caplog: pytest.LogCaptureFixture
) -> None:
    snapshotter.prepare("a", "making")
    snapshotter.commit("a", "base", "making")
    snapshotter.prepare("a", "key", "base")
    driver.path(1).rmdir()
    driver.path(2).rmdir()
    again = DatabaseSnapshotter(metadata, driver)
    assert list(driver.ids()) == [2]
    assert again.mounts("a", "key")[0].options[1:] == [str(driver.path(1))]
    assert caplog.text.count("directory is gone") == 2
