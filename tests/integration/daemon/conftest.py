"""The file's daemon, and containers that are gone after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from daemon import Cortend
from support_registry import registry_fixture as registry_fixture


@pytest.fixture
def engine(cortend: Cortend) -> Iterator[Cortend]:
    """The file's daemon; removes the containers and volumes that the test left."""
    yield cortend
    cortend.remove_all()

