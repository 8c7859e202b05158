"""What every test may use: a daemon with an image in it, and a registry."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import daemon as daemons

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need root say so and are skipped without."""
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="needs root")
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def busybox_tar() -> bytes:
    """The root file system of the first-run image, as a tar."""
    return subprocess.run(
        [ROOT / "docs/first-run/image.sh"], capture_output=True, check=True
    ).stdout


def import_busybox(daemon: daemons.Cortend, busybox_tar: bytes) -> None:
    """Make the image `busybox` in a daemon, as `make run` does."""
    daemon.corten("import", "--change", 'CMD ["/bin/sh"]', "-", "busybox", input=busybox_tar)


@pytest.fixture(scope="module")
def cortend(busybox_tar: bytes) -> Iterator[daemons.Cortend]:
    """A daemon for the tests of one file, with the image `busybox`; they remove the containers they make.

    Not for the session: which files share a worker is chance, and what one left would fail another.
    """
    with daemons.running() as daemon:
        import_busybox(daemon, busybox_tar)
        yield daemon


@pytest.fixture
def make_cortend(busybox_tar: bytes) -> Iterator[Callable[..., daemons.Cortend]]:
    """Makes daemons of a test's own, for tests that kill, configure or restart them."""
    with ExitStack() as stack:

        def make(config: str = "", *, image: bool = True) -> daemons.Cortend:
            daemon = stack.enter_context(daemons.running(config))
            if image:
                import_busybox(daemon, busybox_tar)
            return daemon

        yield make
