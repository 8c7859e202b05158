"""A stack of the real parts below the image services, on a temporary root.

    with ImageStack(tmp_path) as stack:
        lines = stack.pull("127.0.0.1:5000/app:1")
        stack.run(stack.images.list("default"))
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from corten_shared.models.image import Progress, PullProgress, PushProgress
from corten_shared.reference import parse_name, parse_normalized
from cortend.content.local import LocalBlobStore
from cortend.core import platforms
from cortend.core.registry import Credentials
from cortend.diff.apply import ChildApplier
from cortend.diff.recoder import ChildRecoder
from cortend.events.exchange import Exchange
from cortend.metadata.collector import StoreCollector
from cortend.metadata.content import NamespacedContent
from cortend.metadata.db import Database
from cortend.metadata.snapshots import DatabaseSnapshotter
from cortend.registry.client import RegistryClient
from cortend.registry.settings import RegistrySettings
from cortend.registry.source import WebSource
from cortend.services.download import Downloader
from cortend.services.image_catalog import ImageCatalog
from cortend.services.image_documents import DocumentStore
from cortend.services.images import ImageService
from cortend.services.pull import PullService
from cortend.services.push import PushService
from cortend.services.push_plan import PushOrder, PushPlanner
from cortend.services.unpack import Unpacker
from cortend.snapshots.native import NativeDriver
from cortend.snapshots.overlay import OverlayDriver
from cortend.workers import ThreadWorkers

T = TypeVar("T")
Line = TypeVar("Line", bound=Progress)
NS = "default"

FAST = RegistrySettings(backoff=0.001, header_timeout=5, idle_timeout=1)


class ImageStack:
    """Content, snapshots, metadata and the image services over them."""

    def __init__(self, root: Path, *, snapshotter: str = "overlayfs", settings: RegistrySettings = FAST) -> None:
        self.root = root
        self.database = Database(root / "meta.db", Exchange())
        self.content = NamespacedContent(self.database, LocalBlobStore(root / "content"))
        self.drivers = {"overlayfs": OverlayDriver(root / "overlayfs"), "native": NativeDriver(root / "native")}
        self.snapshotters = {
            name: DatabaseSnapshotter(self.database, driver) for name, driver in self.drivers.items()
        }
        self.snapshotter = self.snapshotters[snapshotter]
        self.collector = StoreCollector(self.database, self.content, list(self.snapshotters.values()))
        self.workers = ThreadWorkers()
        self._name = snapshotter
        self._settings = settings
        self.collections_wanted = 0
        self.concurrent = 5
        self._build()

    def _build(self) -> None:
        """The services: bound to one event loop, so made anew for each `run`."""
        documents = DocumentStore(self.content, platforms.of_machine(os.uname().machine))
        self.unpacker = Unpacker(
            content=self.content,
            snapshotters=self.snapshotters,
            applier=ChildApplier(),
            metadata=self.database,
            workers=self.workers,
        )
        self.pulls = PullService(
            request_gc=self._count_request,
            registries=RegistryClient(self._settings),
            documents=documents,
            downloader=Downloader(content=self.content, workers=self.workers, pause=0.001),
            unpacker=self.unpacker,
            metadata=self.database,
            workers=self.workers,
            snapshotter=self._name,
        )
        self.images = ImageService(
            recoder=ChildRecoder(),
            source=WebSource(user_agent="corten-tests"),
            metadata=self.database,
            content=self.content,
            documents=documents,
            unpacker=self.unpacker,
            workers=self.workers,
            snapshotter=self._name,
            request_gc=self._count_request,
        )

        catalog = ImageCatalog(self.database, documents, self.snapshotter)
        self.pushes = PushService(
            registries=RegistryClient(self._settings),
            planner=PushPlanner(self.database, self.content, documents, catalog),
            content=self.content,
            metadata=self.database,
            workers=self.workers,
            concurrent=self.concurrent,
        )

    def _count_request(self) -> None:
        self.collections_wanted += 1

    def __enter__(self) -> ImageStack:
        return self

    def __exit__(self, *exc: object) -> None:
        self.workers.close()
        for driver in self.drivers.values():
            driver.settle() if hasattr(driver, "settle") else None
        self.database.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the services to its end."""
        return asyncio.run(work)

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the image service."""
        self._build()
        return self.run(getattr(self.images, name)(NS, *args, **kwargs))

    def pull(
        self, reference: str, *, platform: str = "", credentials: Credentials | None = None, ns: str = NS
    ) -> list[PullProgress]:
        """Pull to the end; every line."""
        self._build()
        return self.run(collect(self.pulls.pull(ns, reference, platform=platform, credentials=credentials)))

    def push(
        self, target: str, *, every: bool = False, credentials: Credentials | None = None, **order: Any
    ) -> list[PushProgress]:
        """Push to the end; every line."""
        self._build()
        return self.run(collect(self.begin_push(target, every=every, credentials=credentials, **order)))

    def begin_push(
        self, target: str, *, every: bool = False, credentials: Credentials | None = None, **order: Any
    ) -> AsyncGenerator[PushProgress, None]:
        """The lines of a push, for a test that ends it early."""
        reference = parse_name(target) if every else parse_normalized(target)
        return self.pushes.push(NS, PushOrder(reference, **order), credentials=credentials)

    def leases(self) -> int:
        """How many leases there are."""
        with self.database.view() as tx:
            return len(tx.leases.list(NS))

    def image_names(self) -> list[str]:
        """The names of all image records."""
        with self.database.view() as tx:
            return [image.name for image in tx.images.list(NS)]

    def blobs(self) -> set[str]:
        """Digests of the namespace's blobs."""
        return {blob.digest for blob in self.content.walk(NS)}

    def snapshot_names(self) -> set[str]:
        """Names of the snapshotter's snapshots."""
        return {snapshot.name for snapshot in self.snapshotter.walk(NS)}

    def files(self, chain_id: str) -> Path:
        """The directory of one layer (overlayfs) or of the whole tree (native)."""
        mount = self.snapshotter.mounts(NS, chain_id)[0]
        if mount.type == "bind":
            return Path(mount.source)
        lower = next(option for option in mount.options if option.startswith("lowerdir="))
        return Path(lower.removeprefix("lowerdir=").partition(":")[0])


async def collect(lines: AsyncIterator[Line]) -> list[Line]:
    """Every line."""
    return [line async for line in lines]


async def chunked(data: bytes, size: int = 65536) -> AsyncIterator[bytes]:
    """`data` in pieces, as a request's body comes."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def close(lines: AsyncIterator[PullProgress]) -> None:
    """End an iteration early."""
    with contextlib.suppress(StopAsyncIteration):
        await lines.aclose()  # type: ignore[attr-defined]
