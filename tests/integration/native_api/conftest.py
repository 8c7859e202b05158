"""Clients of the file's daemon, and containers that are gone after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import corten
from daemon import Cortend
from support_registry import Registry, registry_fixture

__all__ = ["Registry", "registry_fixture"]


@pytest.fixture
def client(cortend: Cortend) -> Iterator[corten.Client]:
    """The SDK's client; removes every container that the test left."""
    with corten.Client(cortend.host) as client:
        yield client
        for found in client.containers.list(all_namespaces=True):
            with corten.Client(cortend.host, namespace=found.namespace) as inside:
                inside.containers.remove(found.container.id, force=True, volumes=True)
