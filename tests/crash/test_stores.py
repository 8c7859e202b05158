"""kill -9 in the middle of writes: what was acknowledged is there, the rest is cleared."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from corten_shared import digest as digests
from suites.store_world import World

TESTS = Path(__file__).parent.parent


def write_until_killed(root: Path, acknowledged: int) -> list[tuple[str, str]]:
    """What the writer said before it was killed, somewhere after `acknowledged` lines."""
    process = subprocess.Popen(
        [sys.executable, "-m", "crash.writer", str(root)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert process.stdout is not None
    with process.stdout as said:
        lines = [said.readline() for _ in range(acknowledged)]
        process.send_signal(signal.SIGKILL)
        lines += said.readlines()
    assert process.wait(60) == -signal.SIGKILL
    words = [line.decode().split() for line in lines if line.endswith(b"\n")]
    return [(kind, name) for kind, name in words]


@pytest.mark.parametrize("round_", range(4))
def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path, round_: int) -> None:
    said = write_until_killed(tmp_path, 20 + secrets.randbelow(60))
    with World(tmp_path) as world:
        with world.database.view() as tx:
            images = {image.name for image in tx.images.list("a")}
            announced = {event.object_id for event in tx.events.list()}
        for kind, name in said:
            if kind == "image":
                assert f"image-{name}" in images
                assert name in announced
            elif kind == "blob":
                assert digests.of(world.content.read("a", name, 1 << 20)) == name
            else:
                assert world.snapshotter.usage("a", name).inodes == 0
        assert len(announced) == len(images)


def test_one_collection_clears_what_was_half_made(tmp_path: Path) -> None:
    write_until_killed(tmp_path, 30)
    write_until_killed(tmp_path, 30)
    with World(tmp_path) as world:
        world.collector.collect()
        assert world.stored() == world.digests("a") == set()
        assert (list(world.driver.ids()), world.names("a")) == ([], set())
        assert len(world.content.statuses("a")) <= 2
