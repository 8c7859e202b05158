"""The conformance suites over the database-backed stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pytest

from corten_shared.models.content import IngestStatus
from corten_shared.models.snapshot import Mount
from cortend.core.content import BlobStat, IngestWriter
from cortend.metadata.content import NamespacedContent
from cortend.metadata.db import Database
from cortend.metadata.snapshots import DatabaseSnapshotter
from suites import directory_driver
from suites.blob_store import BlobStoreSuite
from suites.content_store import ContentStoreSuite
from suites.directory_driver import DirectoryDriver
from suites.metadata import MetadataSuite
from suites.snapshotter import SnapshotterSuite


class TestMetadata(MetadataSuite):
    """The database."""


class TestContentStore(ContentStoreSuite):
    """Namespaces over the local blob store."""


class OneNamespace:
    """A namespace's content as a blob store: the wrapped store keeps the same promises."""

    def __init__(self, content: NamespacedContent) -> None:
        self._content = content

    def stat(self, digest: str) -> BlobStat:
        info = self._content.info("one", digest)
        return BlobStat(digest, info.size, info.created_at)

    def open(self, digest: str) -> BinaryIO:
        return self._content.open("one", digest)

    def walk(self) -> Iterator[BlobStat]:
        return (BlobStat(info.digest, info.size, info.created_at) for info in self._content.walk("one"))

    def delete(self, digest: str) -> None:
        self._content.delete("one", digest)
        self._content.free_unseen()

    def writer(self, ref: str, *, expected: str | None = None, size: int = 0) -> IngestWriter:
        return self._content.writer("one", ref, expected=expected, size=size)

    def status(self, ref: str) -> IngestStatus:
        return self._content.status("one", ref)

    def statuses(self) -> list[IngestStatus]:
        return self._content.statuses("one")

    def abort(self, ref: str) -> None:
        self._content.abort("one", ref)


class TestContentOfOneNamespace(BlobStoreSuite):
    """The blob store's promises, through the content store."""

    @pytest.fixture
    def store(self, content: NamespacedContent) -> OneNamespace:
        return OneNamespace(content)


class TestSnapshotter(SnapshotterSuite):
    """Named snapshots over plain directories, with and without new parents."""

    @pytest.fixture(params=[True, False], ids=["rebases", "fixed"])
    def snapshotter(self, metadata: Database, tmp_path: Path, request: pytest.FixtureRequest) -> DatabaseSnapshotter:
        return DatabaseSnapshotter(metadata, DirectoryDriver(tmp_path / "snapshots", rebases=request.param))

    def write(self, mounts: Sequence[Mount], name: str) -> None:
        directory_driver.write(mounts, name)

    def files(self, mounts: Sequence[Mount]) -> set[str]:
        return directory_driver.files(mounts)
