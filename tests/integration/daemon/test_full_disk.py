"""A full disk under the data root, through the running daemon: one clear line, no harm, and the space comes back."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import import_busybox
from corten_shared.models.snapshot import Mount
from cortend.linux.mount import mounted
from daemon import Cortend, eventually
from images import busybox_image, make_layer
from support_registry import LyingRegistry

pytestmark = pytest.mark.root

MIB = 1 << 20


@pytest.fixture
def small(tmp_path: Path, busybox_tar: bytes) -> Iterator[Cortend]:
    """A daemon whose data root has 32 MiB."""
    daemon = Cortend(tmp_path / "d", config="[gc]\ndelay = 0.05\n")
    disk = tmp_path / "disk"
    disk.mkdir()
    daemon.root.symlink_to(disk)
    with mounted([Mount(type="tmpfs", source="tmpfs", options=["size=32m", "mode=710"])], disk):
        try:
            daemon.start()
            import_busybox(daemon, busybox_tar)
            yield daemon
        finally:
            daemon.destroy()


def free(daemon: Cortend) -> int:
    found = os.statvfs(daemon.root)
    return found.f_bavail * found.f_frsize


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize(
    "content",
    [noise(40 * MIB), bytes(60 * MIB)],
    ids=["the download does not fit", "what is unpacked does not fit"],
)
def test_a_pull_that_does_not_fit_fails_in_one_line_and_gives_its_space_back(small: Cortend, content: bytes) -> None:
    before = free(small)
    with LyingRegistry() as registry:
        registry.serve_image(busybox_image(make_layer([("large", content)])), "large")
        name = f"{registry.host}/large"
        done = small.corten("pull", name, check=False)
        said = done.stderr.decode()
        assert done.returncode == 1
        assert "no space left on device" in said.lower() and said.count("\n") == 1, said
        eventually(lambda: free(small) >= before - MIB, "the space is free again")
        assert b"large" not in small.corten("images").stdout
        # The daemon goes on, with what fits.
        registry.serve_image(busybox_image(make_layer([("small", b"fits\n")])), "small")
        said = small.corten("run", "--rm", f"{registry.host}/small", "cat", "/small").stdout.decode()
        assert said == "fits\n"
    assert small.corten("run", "--rm", "busybox", "echo", "on").stdout == b"on\n"


def test_without_any_space_every_answer_is_clear_and_removal_still_works(small: Cortend) -> None:
    small.corten("run", "--name", "filler", "busybox", "sh", "-c",
                 "for size in 64k 4k; do dd if=/dev/zero of=/fill$size bs=$size 2>/dev/null; done; true")  # fmt: skip
    assert free(small) == 0
    for words in (["run", "--rm", "busybox", "true"], ["import", "/bin/busybox", "more"]):
        done = small.corten(*words, check=False)
        said = done.stderr.decode().splitlines()[0]
        assert done.returncode != 0 and "no space left on device" in said.lower(), said
        assert "free some space" in said, said
    small.corten("ps", "-a")
    small.corten("version")
    small.corten("rm", "filler")
    eventually(lambda: free(small) > 4 * MIB, "the space is free again")
    assert small.corten("run", "--rm", "busybox", "echo", "on").stdout == b"on\n"


def test_the_container_that_fills_the_disk_is_told_and_no_other_is_harmed(small: Cortend) -> None:
    small.corten("run", "-d", "--name", "other", "-i", "busybox", "cat")
    done = small.corten("run", "--rm", "busybox", "sh", "-c", "dd if=/dev/zero of=/fill bs=64k", check=False)
    assert done.returncode == 1 and b"No space left on device" in done.stderr
    assert small.inspect("other")["State"]["Running"]
    assert shutil.disk_usage(small.root).used > 0
    assert small.corten("exec", "other", "echo", "fine").stdout == b"fine\n"
