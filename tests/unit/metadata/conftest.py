"""Real stores in a temporary directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from corten_shared.models.event import Event
from cortend.content.local import LocalBlobStore
from cortend.events.exchange import Exchange
from cortend.metadata.content import NamespacedContent
from cortend.metadata.db import Database


class ListeningExchange(Exchange):
    """An exchange that also keeps what it is given."""

    def __init__(self, published: list[Event]) -> None:
        super().__init__()
        self._published = published

    def publish(self, event: Event) -> None:
        self._published.append(event)
        super().publish(event)


@pytest.fixture
def published() -> list[Event]:
    return []


@pytest.fixture
def metadata(tmp_path: Path, published: list[Event]) -> Iterator[Database]:
    with Database(tmp_path / "meta.db", ListeningExchange(published)) as database:
        yield database


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobStore:
    return LocalBlobStore(tmp_path / "content")


@pytest.fixture
def content(metadata: Database, blobs: LocalBlobStore) -> NamespacedContent:
    return NamespacedContent(metadata, blobs)
