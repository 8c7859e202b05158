"""The file's daemon, and containers that are gone after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import daemon as daemons
from daemon import Cortend
from support_registry import registry_fixture as registry_fixture


@pytest.fixture(scope="module")
def own(busybox_tar: bytes) -> Iterator[Cortend]:
    """A daemon of one module's own, for what counts all that a daemon holds: tests of other modules may leave something
    in the session's, on purpose or not."""
    with daemons.running() as daemon:
        daemon.corten("import", "--change", 'CMD ["/bin/sh"]', "-", "busybox", input=busybox_tar)
        yield daemon


@pytest.fixture
def engine(cortend: Cortend) -> Iterator[Cortend]:
    """The file's daemon; removes the containers and volumes that the test left."""
    yield cortend
    cortend.remove_all()

