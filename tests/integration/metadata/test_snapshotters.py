"""The snapshotter suite over the real drivers, with real mounts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from corten_shared.models.snapshot import Mount
from cortend.events.exchange import Exchange
from cortend.linux.mount import mounted
from cortend.metadata.db import Database
from cortend.metadata.snapshots import DatabaseSnapshotter
from cortend.snapshots import overlay
from cortend.snapshots.erofs import ErofsDriver
from cortend.snapshots.native import NativeDriver
from cortend.snapshots.overlay import OverlayDriver
from suites.snapshotter import SnapshotterSuite

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts file systems"),
]


class TestSnapshotters(SnapshotterSuite):
    """Named snapshots on overlayfs and on copies."""

    @pytest.fixture
    def metadata(self, tmp_path: Path) -> Iterator[Database]:
        with Database(tmp_path / "meta.db", Exchange()) as database:
            yield database

    @pytest.fixture(params=["overlayfs", "native", "erofs"])
    def snapshotter(
        self, metadata: Database, tmp_path: Path, request: pytest.FixtureRequest
    ) -> Iterator[DatabaseSnapshotter]:
        self.target = tmp_path / "mnt"
        self.target.mkdir()
        root = tmp_path / "snapshots"
        driver: OverlayDriver | NativeDriver | ErofsDriver
        if request.param == "overlayfs":
            overlay.require_support(root)
            driver = OverlayDriver(root)
        elif request.param == "erofs":
            driver = ErofsDriver(root)
        else:
            driver = NativeDriver(root)
        yield DatabaseSnapshotter(metadata, driver)
        driver.settle()
        if isinstance(driver, ErofsDriver):
            driver.close()

    def write(self, mounts: Sequence[Mount], name: str) -> None:
        with mounted(mounts, self.target):
            (self.target / name).write_text("x")

    def files(self, mounts: Sequence[Mount]) -> set[str]:
        with mounted(mounts, self.target):
            return {path.name for path in self.target.iterdir()}
