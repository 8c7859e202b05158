"""The composition root's part for the check of the store, which needs the concrete stores from behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from cortend.content.inspector import LocalBlobInspector
from cortend.content.local import LocalBlobStore
from cortend.core.registry import Registries
from cortend.core.runtime import TaskKey, TaskRuntime
from cortend.core.workers import Workers
from cortend.metadata.content import NamespacedContent
from cortend.metadata.db import Database
from cortend.metadata.inspector import DatabaseInspector
from cortend.metadata.snapshot_inspector import DatabaseSnapshotInspector
from cortend.metadata.snapshots import DatabaseSnapshotter
from cortend.services.check import CheckService
from cortend.services.check_content import ContentChecker
from cortend.services.check_leftovers import LeftoverChecker
from cortend.services.check_rows import RowChecker
from cortend.services.check_snapshots import SnapshotChecker
from cortend.services.download import Downloader
from cortend.services.image_documents import DocumentStore
from cortend.services.refetch import Refetcher
from cortend.services.unpack import Unpacker


def build_checks(
    *,
    root: Path,
    database: Database,
    blobs: LocalBlobStore,
    content: NamespacedContent,
    snapshotters: Mapping[str, DatabaseSnapshotter],
    registries: Registries,
    documents: DocumentStore,
    downloader: Downloader,
    unpacker: Unpacker,
    runtime: TaskRuntime,
    tear_down: Callable[[TaskKey], Awaitable[None]],
    workers: Workers,
    request_gc: Callable[[], None],
) -> CheckService:
    """The service over the parts that there are."""
    inspector, files = DatabaseInspector(database), LocalBlobInspector(root / "content")
    return CheckService(
        rows=RowChecker(inspector=inspector, blobs=blobs, snapshotters=snapshotters, workers=workers),
        content=ContentChecker(
            inspector=inspector,
            bytes_=files,
            blobs=blobs,
            content=content,
            documents=documents,
            refetcher=Refetcher(
                registries=registries, documents=documents, downloader=downloader, inspector=files, workers=workers
            ),
            metadata=database,
            workers=workers,
            free=content.free,
        ),
        snapshots=SnapshotChecker(
            inspectors=[DatabaseSnapshotInspector(database, found.driver, found) for found in snapshotters.values()],
            snapshotters=snapshotters,
            unpacker=unpacker,
            documents=documents,
            metadata=database,
            workers=workers,
        ),
        leftovers=LeftoverChecker(
            content=content,
            metadata=database,
            runtime=runtime,
            workers=workers,
            containers=root / "containers",
            tear_down=tear_down,
        ),
        metadata=database,
        workers=workers,
        request_gc=request_gc,
    )
