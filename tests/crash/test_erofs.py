"""Images of layers through crashes: kills at every point of a snapshot's life, and cuts of the power."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cortend.core import trace
from crash.power import LoopDisk, PoweredDaemon
from crash.test_power import check_whole, empty, image_of
from daemon import Cortend
from images import busybox_image, make_layer
from support_registry import LyingRegistry

pytestmark = [pytest.mark.root, pytest.mark.skipif(not shutil.which("mkfs.ext4"), reason="needs mkfs.ext4")]

DRIVER = '[snapshots]\ndriver = "erofs"\n'
SEED = secrets.randbelow(1 << 30)
REMOVING = [point for point in trace.POINTS if point.startswith("snapshot.remove.")]
SHORT = {"snapshot.commit.sealed", "snapshot.remove.recorded"}


def _points() -> list[object]:
    """Every point of a snapshot's life; some only under `soak`."""
    points = [point for point in trace.POINTS if point.startswith("snapshot.")]
    return [point if point in SHORT else pytest.param(point, marks=pytest.mark.soak) for point in points]


@pytest.fixture
def liar() -> Iterator[LyingRegistry]:
    with LyingRegistry() as registry:
        yield registry


@pytest.fixture
def powered(tmp_path: Path) -> Iterator[PoweredDaemon]:
    base = Path(tempfile.mkdtemp(prefix="corten-"))
    with LoopDisk(base) as disk:
        daemon = PoweredDaemon(base / "d", disk, config=DRIVER)
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.destroy()
    shutil.rmtree(base, ignore_errors=True)


def _left(daemon: Cortend) -> tuple[list[str], list[str]]:
    """(directories of snapshots, mounts of images) after a collection."""
    daemon.cortenctl("gc")
    root = daemon.root.resolve() / "snapshots" / "erofs"
    proc = Path(f"/proc/{daemon.pid}")  # its disk may be in a mount namespace of its own
    mounted = [line.split()[4] for line in (proc / "mountinfo").read_text().splitlines()]
    names = os.listdir(f"{proc}/root{root}")
    return [name for name in names if name.isdigit()], [path for path in mounted if path.startswith(f"{root}/")]


@pytest.mark.parametrize("point", _points())
def test_killed_in_the_middle(make_cortend: Callable[..., Cortend], liar: LyingRegistry, point: str) -> None:
    """What was begun is completed by the next attempt, and nothing of it is left after removal."""
    daemon = make_cortend(DRIVER, image=False)
    liar.serve_image(busybox_image(make_layer([("extra", b"x" * 9000)])), "app", "1")
    name = f"{liar.host}/app:1"
    words = ["pull", name]
    if point in REMOVING:
        daemon.corten("pull", name)
        daemon.corten("create", "--name", "box", name)
        words = ["rm", "box"]
    daemon.kill()
    daemon.start(env={trace.VARIABLE: f"{point}=kill"})
    daemon.corten(*words, check=False)
    assert daemon.process is not None and daemon.process.wait(30) == -9
    daemon.process = None
    daemon.start()
    daemon.corten("pull", name)
    assert daemon.corten("run", "--rm", name, "wc", "-c", "/extra").stdout == b"9000 /extra\n"
    daemon.corten("rm", "-f", "box", check=False)
    daemon.corten("rmi", name)
    for lease in daemon.cortenctl("leases", "ls", "-q").stdout.decode().split():
        daemon.cortenctl("leases", "rm", lease)  # of the pull that died: a day is long
    assert _left(daemon) == ([], [])


@pytest.mark.parametrize("round_", [0, *(pytest.param(n, marks=pytest.mark.soak) for n in range(1, 20))])
def test_an_acknowledged_pull_is_whole(powered: PoweredDaemon, liar: LyingRegistry, round_: int) -> None:
    name = f"{liar.host}/app:{round_}"
    liar.serve_image(image_of(SEED + round_), "app", str(round_))
    powered.corten("pull", name)
    powered.lose_power()
    powered.boot()
    check_whole(powered, name, SEED + round_)
    empty(powered)
    assert _left(powered) == ([], [])
