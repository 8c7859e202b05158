"""One transaction: every store over the same session, and the events that wait for its commit."""

from __future__ import annotations

from functools import cached_property

from corten_shared.models.event import Event
from cortend.metadata.blob_rows import BlobRows
from cortend.metadata.containers import Containers
from cortend.metadata.endpoints import Endpoints
from cortend.metadata.images import Images
from cortend.metadata.journal import Journal, JournalLimits
from cortend.metadata.leases import Leases
from cortend.metadata.namespaces import Namespaces
from cortend.metadata.postmortems import Postmortems
from cortend.metadata.session import Session
from cortend.metadata.snapshot_rows import SnapshotRows
from cortend.metadata.tasks import Tasks


class StoreTransaction:
    """core.metadata.Transaction; beyond it, the rows of content and snapshots, which only this package touches."""

    def __init__(self, session: Session, limits: JournalLimits) -> None:
        self.session = session
        self.emitted: list[Event] = []
        self._limits = limits

    @cached_property
    def namespaces(self) -> Namespaces:
        """Namespaces."""
        return Namespaces(self.session)

    @cached_property
    def images(self) -> Images:
        """Images."""
        return Images(self.session)

    @cached_property
    def containers(self) -> Containers:
        """Containers."""
        return Containers(self.session)

    @cached_property
    def tasks(self) -> Tasks:
        """Tasks."""
        return Tasks(self.session)

    @cached_property
    def endpoints(self) -> Endpoints:
        """Endpoints."""
        return Endpoints(self.session)

    @cached_property
    def leases(self) -> Leases:
        """Leases."""
        return Leases(self.session)

    @cached_property
    def events(self) -> Journal:
        """The journal."""
        return Journal(self.session, self._limits)

    @cached_property
    def postmortems(self) -> Postmortems:
        """Removed containers."""
        return Postmortems(self.session, self._limits)

    @cached_property
    def blobs(self) -> BlobRows:
        """Content."""
        return BlobRows(self.session)

    @cached_property
    def snapshots(self) -> SnapshotRows:
        """Snapshots."""
        return SnapshotRows(self.session)

    def emit(self, ns: str, topic: str, object_id: str, attributes: dict[str, str] | None = None) -> None:
        """Write to the journal now, publish after the commit."""
        self.emitted.append(self.events.append(ns, topic, object_id, attributes or {}))
