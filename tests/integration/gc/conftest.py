"""A daemon of this directory's own, for what is collected by one test must not be another's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conftest import import_busybox
from daemon import Cortend, running
from support_registry import Registry, run_registry


@pytest.fixture(scope="package")
def engine(busybox_tar: bytes) -> Iterator[Cortend]:
    """It collects soon after a removal, and has the image `busybox`."""
    with running("[gc]\nschedule_delay = 0.05\n") as daemon:
        import_busybox(daemon, busybox_tar)
        yield daemon


@pytest.fixture(scope="package")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A docker-registry for these tests."""
    with run_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry
