"""Real stores in one directory, with a clock that tests move, and whole operations as services do them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from corten_shared import digest as digests
from corten_shared.errors import AlreadyExists
from corten_shared.models.container import ContainerRecord, ContainerSpec
from corten_shared.models.image import ImageRecord
from corten_shared.models.lease import Lease, Resource
from corten_shared.models.oci import OCI_MANIFEST, Descriptor
from corten_shared.times import format_rfc3339
from cortend.content.local import LocalBlobStore
from cortend.events.exchange import Exchange
from cortend.metadata.collector import StoreCollector
from cortend.metadata.content import NamespacedContent
from cortend.metadata.db import Database
from cortend.metadata.snapshots import DatabaseSnapshotter
from cortend.snapshots.native import NativeDriver
from suites.directory_driver import DirectoryDriver

HOUR = 3600 * 1_000_000_000
START = 1_700_000_000 * 1_000_000_000


class World:
    """The stores; `time` is what their clock says (ns). Files keep the machine's time."""

    def __init__(self, root: Path, driver: type[DirectoryDriver] | type[NativeDriver] = DirectoryDriver) -> None:
        self.time = START
        self.database = Database(root / "meta.db", Exchange(), clock=lambda: self.time)
        self.blobs = LocalBlobStore(root / "content")
        self.content = NamespacedContent(self.database, self.blobs)
        self.driver = driver(root / "snapshots")
        self.snapshotter = DatabaseSnapshotter(self.database, self.driver)
        self.collector = StoreCollector(self.database, self.content, [self.snapshotter])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.database.close()

    def refs(self, blobs: Sequence[str] = (), snapshot: str = "") -> dict[str, str]:
        """Labels that refer to blobs and to a snapshot of this world's driver."""
        return refs(blobs, snapshot, self.snapshotter.name)

    def in_hours(self, hours: float) -> str:
        """A time to come, as labels have it."""
        return format_rfc3339(self.time + int(hours * HOUR))

    def lease(
        self,
        ns: str,
        lease: str,
        *,
        hours: float | None = None,
        flat: bool = False,
        labels: dict[str, str] | None = None,
    ) -> str:
        """Create a lease that ends after `hours`; its id."""
        labels = {**(labels or {}), **({"gc.flat": ""} if flat else {})}
        if hours is not None:
            labels["gc.expire"] = self.in_hours(hours)
        with self.database.update() as tx:
            tx.leases.create(ns, Lease(id=lease, labels=labels, created_at=self.time))
        return lease

    def hold(self, ns: str, lease: str, *, content: str = "", snapshot: str = "") -> None:
        """Have a lease hold a blob, a snapshot, or both."""
        with self.database.update() as tx:
            if content:
                tx.leases.add(ns, lease, Resource(type="content", id=content))
            if snapshot:
                tx.leases.add(ns, lease, Resource(type=f"snapshots/{self.snapshotter.name}", id=snapshot))

    def unlease(self, ns: str, lease: str) -> None:
        """End a lease."""
        with self.database.update() as tx:
            tx.leases.delete(ns, lease)

    def put(self, ns: str, data: bytes, labels: dict[str, str] | None = None, lease: str | None = None) -> str:
        """Commit a blob, or find it; its digest."""
        with self.content.writer(ns, f"put-{lease}-{digests.of(data)}", lease=lease) as writer:
            writer.write(data)
            try:
                return writer.commit(labels=labels)
            except AlreadyExists as error:
                assert error.subject is not None
                return error.subject

    def layer(self, ns: str, name: str, parent: str = "", lease: str | None = None) -> str:
        """Commit a snapshot, or find it; its name."""
        if lease is not None:  # held before it is looked for, so that it cannot go in between
            with self.database.update() as tx:
                tx.leases.add(ns, lease, Resource(type=f"snapshots/{self.snapshotter.name}", id=name))
        key = f"making-{name}-{lease}"
        with suppress(AlreadyExists):
            self.snapshotter.prepare(ns, key, parent, lease=lease)
            try:
                self.snapshotter.commit(ns, name, key, lease=lease)
            except AlreadyExists:
                self.snapshotter.remove(ns, key)
                raise
        return name

    def tag(self, ns: str, name: str, digest: str, labels: dict[str, str] | None = None) -> None:
        """Let an image name a blob."""
        target = Descriptor(media_type=OCI_MANIFEST, digest=digest, size=1)
        image = ImageRecord(
            name=name, target=target, labels=labels or {}, created_at=self.time, updated_at=self.time
        )
        with self.database.update() as tx:
            tx.images.put(ns, image)

    def untag(self, ns: str, name: str) -> None:
        """Remove an image's name."""
        with self.database.update() as tx:
            tx.images.delete(ns, name)

    def container(self, ns: str, name: str, key: str, image_digest: str = "") -> None:
        """Record a container that uses snapshot `key`."""
        record = ContainerRecord(
            id=name,
            name=name,
            image_digest=image_digest,
            snapshotter=self.snapshotter.name,
            snapshot_key=key,
            labels={"gc.ref.content": digests.of(b"containers' labels hold nothing")},
            spec=ContainerSpec(),
            created_at=self.time,
            updated_at=self.time,
        )
        with self.database.update() as tx:
            tx.containers.create(ns, record)

    def digests(self, ns: str) -> set[str]:
        """The blobs that a namespace sees."""
        return {info.digest for info in self.content.walk(ns)}

    def names(self, ns: str) -> set[str]:
        """The snapshots of a namespace."""
        return {info.name for info in self.snapshotter.walk(ns)}

    def stored(self) -> set[str]:
        """The blobs on disk."""
        return {blob.digest for blob in self.blobs.walk()}


def refs(blobs: Sequence[str] = (), snapshot: str = "", driver: str = "directories") -> dict[str, str]:
    """Labels that refer to blobs and to a snapshot."""
    labels = {f"gc.ref.content.{index}": digest for index, digest in enumerate(blobs)}
    return labels | ({f"gc.ref.snapshot.{driver}": snapshot} if snapshot else {})
