"""The database: every record, in transactions.

`with metadata.update() as tx:` is one durable transaction (one commit to disk: group what one
operation writes); `with metadata.view() as tx:` reads a consistent state. Stores raise NotFound
and AlreadyExists with the object named. Nothing done in an `update` that raises is kept, and
events emitted in it are published only after it was committed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from corten_shared.models.container import ContainerRecord
from corten_shared.models.event import Event
from corten_shared.models.image import ImageRecord
from corten_shared.models.lease import Lease, Resource
from corten_shared.models.namespace import Namespace
from corten_shared.models.network import Endpoint
from corten_shared.models.postmortem import Postmortem
from corten_shared.models.task import TaskRecord


class NamespaceStore(Protocol):
    """Namespaces; `default` and any that a write names come into being by themselves."""

    def get(self, name: str) -> Namespace:
        """Raises NotFound."""
        ...

    def list(self) -> list[Namespace]:
        """Every namespace, by name."""
        ...

    def create(self, namespace: Namespace) -> None:
        """Raises AlreadyExists, InvalidArgument."""
        ...

    def ensure(self, name: str) -> None:
        """Create it when missing. Raises InvalidArgument for a malformed name (containerd's identifier grammar)."""
        ...

    def update(self, name: str, labels: dict[str, str | None]) -> Namespace:
        """Set labels (None removes one). Raises NotFound."""
        ...

    def delete(self, name: str, others: Mapping[str, int] | None = None) -> None:
        """Raises Conflict, saying what is left, while the namespace holds anything; `others` are counts of what is
        not in the database."""
        ...


class ImageStore(Protocol):
    """Names of images."""

    def get(self, ns: str, name: str) -> ImageRecord:
        """Raises NotFound."""
        ...

    def list(self, ns: str) -> list[ImageRecord]:
        """Every image of the namespace, by name."""
        ...

    def create(self, ns: str, image: ImageRecord) -> None:
        """Raises AlreadyExists."""
        ...

    def put(self, ns: str, image: ImageRecord) -> ImageRecord | None:
        """Create or replace by name; returns what was there before."""
        ...

    def update(self, ns: str, name: str, labels: dict[str, str | None]) -> ImageRecord:
        """Set labels (None removes one). Raises NotFound."""
        ...

    def delete(self, ns: str, name: str) -> None:
        """Remove the name. Raises NotFound."""
        ...


class ContainerStore(Protocol):
    """Containers; id and name are each unique within a namespace."""

    def get(self, ns: str, container_id: str) -> ContainerRecord:
        """By whole id. Raises NotFound."""
        ...

    def find(self, ns: str, reference: str) -> ContainerRecord:
        """By whole id, by name (with or without a leading slash), or by a unique prefix of the
        id, in this order (as docker).

        Raises NotFound (`No such container: x`), InvalidArgument when the prefix is ambiguous.
        """
        ...

    def list(self, ns: str) -> list[ContainerRecord]:
        """Newest first."""
        ...

    def ids(self, ns: str) -> set[str]:
        """The ids of all, also of those whose records are damaged, which `list` leaves out."""
        ...

    def create(self, ns: str, container: ContainerRecord) -> None:
        """Raises AlreadyExists in docker's words when the name is taken (by whom in `details["container_id"]`)."""
        ...

    def put(self, ns: str, container: ContainerRecord) -> None:
        """Replace by id. Raises NotFound; AlreadyExists when a new name is taken."""
        ...

    def delete(self, ns: str, container_id: str) -> None:
        """Also deletes its task. Its endpoint stays: the address must not go to another before the
        network is taken down."""
        ...


class TaskStore(Protocol):
    """The last task of each container."""

    def get(self, ns: str, container_id: str) -> TaskRecord:
        """Raises NotFound."""
        ...

    def find(self, ns: str, container_id: str) -> TaskRecord | None:
        """As get, None when there is none."""
        ...

    def list(self, ns: str) -> list[TaskRecord]:
        """The last task of every container of the namespace."""
        ...

    def put(self, ns: str, task: TaskRecord) -> None:
        """Create or replace."""
        ...

    def delete(self, ns: str, container_id: str) -> None:
        """Forget the task. Raises NotFound."""
        ...


class EndpointStore(Protocol):
    """Containers on networks; an address is unique in its network."""

    def get(self, ns: str, container_id: str) -> Endpoint:
        """The container's endpoint; raises NotFound."""
        ...

    def find(self, ns: str, container_id: str) -> Endpoint | None:
        """As get, None when there is none."""
        ...

    def list(self) -> list[tuple[str, Endpoint]]:
        """Every endpoint of every namespace, with the namespace."""
        ...

    def put(self, ns: str, endpoint: Endpoint) -> None:
        """Create or replace; raises AlreadyExists when another endpoint of the network has the address."""
        ...

    def delete(self, ns: str, container_id: str) -> None:
        """Missing is fine."""
        ...

    def last_address(self, network: str) -> str:
        """The address handed out last on the network, or empty."""
        ...


class LeaseStore(Protocol):
    """Leases and what they hold."""

    def get(self, ns: str, lease_id: str) -> Lease:
        """Raises NotFound."""
        ...

    def resources(self, ns: str, lease_id: str) -> list[Resource]:
        """What the lease holds. Raises NotFound."""
        ...

    def list(self, ns: str) -> list[Lease]:
        """Every lease of the namespace, expired ones that were not collected yet included."""
        ...

    def create(self, ns: str, lease: Lease) -> None:
        """Raises AlreadyExists."""
        ...

    def delete(self, ns: str, lease_id: str) -> None:
        """End the lease; what only it held is garbage. Raises NotFound."""
        ...

    def add(self, ns: str, lease_id: str, resource: Resource) -> None:
        """Idempotent. Raises NotFound for the lease."""
        ...

    def remove(self, ns: str, lease_id: str, resource: Resource) -> None:
        """Let go of one resource. Idempotent. Raises NotFound for the lease."""
        ...


class EventStore(Protocol):
    """The journal, bounded in number and age."""

    def list(self, *, since: int = 0, until: int | None = None, after_seq: int = 0) -> list[Event]:
        """Events with since <= time < until (ns) and seq > after_seq, in order."""
        ...


class PostmortemStore(Protocol):
    """What is told of removed containers; bounded in number and age."""

    def put(self, ns: str, postmortem: Postmortem) -> None:
        """Keep it, signed by the client whose request is served."""
        ...

    def find(self, ns: str, reference: str) -> Postmortem:
        """The one removed last of this name, or whose id begins so. Raises NotFound."""
        ...

    def list(self, ns: str) -> list[Postmortem]:
        """Newest first."""
        ...


class Transaction(Protocol):
    """Stores that read and write within one transaction. Valid inside its `with` only, on its thread only."""

    @property
    def namespaces(self) -> NamespaceStore:
        """Namespaces."""
        ...

    @property
    def images(self) -> ImageStore:
        """Images."""
        ...

    @property
    def containers(self) -> ContainerStore:
        """Containers."""
        ...

    @property
    def tasks(self) -> TaskStore:
        """Tasks."""
        ...

    @property
    def endpoints(self) -> EndpointStore:
        """Endpoints."""
        ...

    @property
    def leases(self) -> LeaseStore:
        """Leases."""
        ...

    @property
    def events(self) -> EventStore:
        """The journal."""
        ...

    @property
    def postmortems(self) -> PostmortemStore:
        """Removed containers."""
        ...

    def emit(self, ns: str, topic: str, object_id: str, attributes: dict[str, str] | None = None) -> None:
        """Write an event to the journal with this transaction; it is published after the commit."""
        ...


class Metadata(Protocol):
    """The database."""

    def view(self) -> AbstractContextManager[Transaction]:
        """A consistent read-only transaction; never waits for writers."""
        ...

    def update(self) -> AbstractContextManager[Transaction]:
        """A read-write transaction; one at a time, others wait. Durable when the `with` ends."""
        ...


class Collected(NamedTuple):
    """What one garbage collection removed: blobs, snapshots, leases, ingests, and names of images that had an end.

    `bytes_freed` are those of content and of committed snapshots.
    """

    blobs: int
    snapshots: int
    leases: int
    ingests: int
    bytes_freed: int
    images: int = 0


class Collector(Protocol):
    """Mark and sweep over content and snapshots of all namespaces.

    `locked`: for how many seconds the last collection may have kept writers waiting, in all; `next_end`: when the first
    of the objects it saw expires (ns since the epoch; None: none does).
    """

    locked: float
    next_end: int | None

    def watch(self, written: Callable[[], None]) -> None:
        """Have `written` called after every commit to the database, on the thread that wrote; it must be quick."""
        ...

    def collect(self) -> Collected:
        """Remove what no image, container, lease or label keeps. Safe while pulls run: they hold leases.

        Roots: containers, images and leases that have not expired, objects labelled `gc.root` or with a `gc.expire`
        to come. Edges: an image's target, a container's snapshot and manifest, what a lease holds, a snapshot's
        parent, and the labels that core.gc lists.
        Marks in a read transaction, deletes rows in write transactions that are short whatever there is to delete,
        sparing what was referred to meanwhile, and only then frees blobs and directories.
        """
        ...
