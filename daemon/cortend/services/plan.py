"""What a removal would take along, and what it would free: asked of the collector's graph, and nothing is removed.

What a removal does to names is not worked out a second time: it is done, in a transaction that is rolled back. What
nothing keeps then is what the graph says without those names.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from corten_shared.errors import Conflict, CortenError, InvalidArgument, NotFound
from corten_shared.models.container import ContainerRecord
from corten_shared.models.image import ImageRecord
from corten_shared.models.volume import VolumeRecord
from corten_shared.models.why import Plan, PlanItem, PlanRequest
from cortend.core import gc
from cortend.core.content import ContentStore
from cortend.core.gc import Node
from cortend.core.graph import TARGET, Graphs
from cortend.core.metadata import Metadata, Transaction
from cortend.core.volumes import VolumeStore
from cortend.core.workers import Workers
from cortend.linux.files import disk_usage
from cortend.services.containers import ContainerService
from cortend.services.image_catalog import ImageCatalog, ImageView
from cortend.services.image_removal import prune_plan, remove_image
from cortend.services.keepers import VOLUME, Names
from cortend.services.settings import ContainerSettings
from cortend.services.snapshots import SnapshotService
from cortend.services.views import ContainerView
from cortend.services.volumes import VolumeService

_ORDER = {gc.CONTAINER: 0, gc.IMAGE: 1, gc.LEASE: 2, VOLUME: 3, gc.CONTENT: 4}


@dataclass(frozen=True, slots=True)
class Accept:
    """What a prune's filters let pass."""

    container: Callable[[ContainerView], bool] | None = None
    image: Callable[[ImageView], bool] | None = None
    volume: Callable[[VolumeRecord], bool] | None = None


@dataclass
class _Removal:
    """What goes by itself, before the collector comes: `nodes` of the graph, `volumes`, bytes of `directories`.

    `names` are names of images that come about: a dangling image's.
    """

    nodes: set[Node] = field(default_factory=set)
    volumes: set[str] = field(default_factory=set)
    directories: dict[Node, str] = field(default_factory=dict)
    names: list[ImageRecord] = field(default_factory=list)


class PlanService:
    """Plans removals."""

    def __init__(
        self,
        *,
        metadata: Metadata,
        graphs: Graphs,
        catalog: ImageCatalog,
        containers: ContainerService,
        settings: ContainerSettings,
        volumes: VolumeService,
        volume_store: VolumeStore,
        content: ContentStore,
        snapshots: SnapshotService,
        workers: Workers,
    ) -> None:
        self._metadata = metadata
        self._graphs = graphs
        self._catalog = catalog
        self._containers = containers
        self._settings = settings
        self._volumes = volumes
        self._volume_store = volume_store
        self._content = content
        self._snapshots = snapshots
        self._workers = workers

    async def plan(self, ns: str, request: PlanRequest, accept: Accept) -> Plan:
        """What would go, and the bytes that would be free. Raises as the removal itself."""
        await self._workers.run(self._check_namespace, ns)
        views = await self._containers.list(ns, all=True) if request.action.startswith("containers.") else []
        return await self._workers.run_slow(self._plan, ns, request, accept, views)

    def _check_namespace(self, ns: str) -> None:
        """Before it becomes part of a path."""
        with self._metadata.view() as tx:
            tx.namespaces.get(ns)

    def _plan(self, ns: str, request: PlanRequest, accept: Accept, views: Sequence[ContainerView]) -> Plan:
        match request.action:
            case "containers.remove":
                named = [self._view(ns, views, name) for name in request.objects]
                removal = self._containers_removed(ns, request, named)
            case "containers.prune":
                removal = self._containers_removed(ns, request, [one for one in views if _prunable(one, accept)])
            case "images.remove":
                removal = self._images_removed(ns, request.objects, force=request.force)
            case "images.prune":
                removal = self._images_pruned(ns, dangling=not request.all, accept=accept.image)
            case "volumes.remove":
                removal = _Removal(volumes={self._unused(ns, name) for name in request.objects})
            case "volumes.prune":
                removal = _Removal(volumes=self._volumes_pruned(ns, request, accept))
            case "snapshots.remove":
                removal = self._snapshots_removed(ns, request)
            case "content.remove":
                removal = self._content_removed(ns, request.objects)
            case "leases.remove":
                removal = self._leases_removed(ns, request.objects)
            case "gc":
                removal = _Removal()
        return self._consequences(ns, removal, garbage=request.action == "gc")

    # -- what goes by itself ----------------------------------------------------------------------------------------

    def _view(self, ns: str, views: Sequence[ContainerView], name: str) -> ContainerView:
        with self._metadata.view() as tx:
            found = tx.containers.find(ns, name)
        for view in views:
            if view.record.id == found.id:
                return view
        raise NotFound(f"No such container: {name}", subject=name)

    def _containers_removed(self, ns: str, request: PlanRequest, views: Sequence[ContainerView]) -> _Removal:
        removal = _Removal()
        for view in views:
            record = view.record
            if view.running:
                self._containers.refuse_running(view, record.name, request.force)
            node = Node(ns, gc.CONTAINER, record.id)
            removal.nodes |= {node, Node(ns, gc.snapshot_kind(record.snapshotter), record.snapshot_key)}
            removal.directories[node] = str(self._settings.directory(ns, record.id))
        if request.volumes:
            removal.volumes = self._anonymous(ns, [view.record for view in views])
        return removal

    def _anonymous(self, ns: str, gone: Sequence[ContainerRecord]) -> set[str]:
        """The anonymous volumes that only containers which go use."""
        ids = {record.id for record in gone}
        mounted = {mount.source for record in gone for mount in record.spec.mounts if mount.type == "volume"}
        known = {volume.name: volume for volume in self._volume_store.list(ns)}
        return {
            name for name in mounted
            if name in known and known[name].anonymous and ids.issuperset(self._volumes.users(ns, name))
        }  # fmt: skip

    def _images_removed(self, ns: str, texts: Sequence[str], *, force: bool) -> _Removal:
        views = self._catalog.views(ns, sizes=False)

        def remove(tx: Transaction) -> None:
            for text in texts:
                left = _still_there(tx, ns, views)
                image, record = self._catalog.select(left, text)
                remove_image(tx, ns, image, record, text, (), force=force)

        return self._rehearsed(ns, remove)

    def _images_pruned(self, ns: str, *, dangling: bool, accept: Callable[[ImageView], bool] | None) -> _Removal:
        views = self._catalog.views(ns, sizes=False)

        def remove(tx: Transaction) -> None:
            for view in prune_plan(views, dangling, accept):
                with contextlib.suppress(CortenError):
                    remove_image(tx, ns, view, None, view.id, (), force=False, every_name=True)

        return self._rehearsed(ns, remove)

    def _rehearsed(self, ns: str, remove: Callable[[Transaction], None]) -> _Removal:
        """Remove names for the time of a transaction, and see which are gone and which are new."""
        with _rolled_back(self._metadata) as tx:
            before = {image.name for image in tx.images.list(ns)}
            remove(tx)
            after = {image.name: image for image in tx.images.list(ns)}
        gone = {Node(ns, gc.IMAGE, name) for name in before - after.keys()}
        return _Removal(nodes=gone, names=[after[name] for name in after.keys() - before])

    def _unused(self, ns: str, name: str) -> str:
        self._volume_store.get(ns, name)
        if users := self._volumes.users(ns, name):
            raise Conflict(
                f"remove {name}: volume is in use - [{', '.join(users)}]", hint="remove these containers first"
            )
        return name

    def _volumes_pruned(self, ns: str, request: PlanRequest, accept: Accept) -> set[str]:
        return {
            volume.name for volume in self._volume_store.list(ns)
            if (request.all or volume.anonymous) and (accept.volume is None or accept.volume(volume))
            and self._volumes.unused(ns, volume)
        }  # fmt: skip

    def _snapshots_removed(self, ns: str, request: PlanRequest) -> _Removal:
        """One after the other: what was refused as a parent may go once its children have."""
        removal = _Removal()
        for key in request.objects:
            found = self._snapshots.named(request.snapshotter)
            kind = gc.snapshot_kind(found.name)
            self._snapshots.check_removable(found, ns, key)
            for child in found.walk(ns):
                if child.parent == key and Node(ns, kind, child.name) not in removal.nodes:
                    raise Conflict(f"snapshot {key} is the parent of {child.name}", hint="remove that first")
            removal.nodes.add(Node(ns, kind, key))
        return removal

    def _content_removed(self, ns: str, digests: Iterable[str]) -> _Removal:
        return _Removal({Node(ns, gc.CONTENT, self._content.info(ns, digest).digest) for digest in digests})

    def _leases_removed(self, ns: str, ids: Iterable[str]) -> _Removal:
        with self._metadata.view() as tx:
            return _Removal({Node(ns, gc.LEASE, tx.leases.get(ns, lease).id) for lease in ids})

    # -- what follows -----------------------------------------------------------------------------------------------

    def _consequences(self, ns: str, removal: _Removal, *, garbage: bool) -> Plan:
        graph = self._graphs.graph()
        for image in removal.names:
            node = Node(ns, gc.IMAGE, image.name)
            graph.roots[node] = None
            graph.hold(node, Node(ns, gc.CONTENT, image.target.digest), TARGET)
        dead = set(graph.dead(without=removal.nodes)) | removal.nodes
        kept = {node.id for node in graph.objects - dead if node.kind == gc.CONTENT}
        if not garbage:
            dead -= set(graph.dead()) - removal.nodes
        sizes = {**self._sizes(dead, kept), **{node: disk_usage(path) for node, path in removal.directories.items()}}
        with self._metadata.view() as tx:
            names = Names(tx)
            items = [_item(node, names.name(node), sizes.get(node, 0)) for node in dead]
        items += [_item(Node(ns, VOLUME, name), "", self._volume_size(ns, name)) for name in removal.volumes]
        items.sort(key=lambda item: (_ORDER.get(item.kind, 9), item.namespace, item.kind, item.id))
        return Plan(items=items, bytes_freed=sum(item.bytes for item in items))

    def _sizes(self, dead: set[Node], kept: set[str]) -> dict[Node, int]:
        """Bytes on disk; of a blob that several namespaces lose, once, and none while one of them has it `kept`."""
        lost = [node for node in sorted(dead, reverse=True) if node.kind == gc.CONTENT and node.id not in kept]
        sizes = {node: self._blob_size(node) for node in {node.id: node for node in lost}.values()}
        for node in dead:
            if node.kind.startswith(gc.SNAPSHOT):
                sizes[node] = self._snapshot_size(node)
        return sizes

    def _blob_size(self, node: Node) -> int:
        with contextlib.suppress(CortenError, OSError), self._content.open(node.ns, node.id) as file:
            return os.fstat(file.fileno()).st_blocks * 512
        return 0

    def _snapshot_size(self, node: Node) -> int:
        with contextlib.suppress(CortenError, OSError):
            snapshotter = self._snapshots.named(node.kind.removeprefix(gc.SNAPSHOT))
            return snapshotter.usage(node.ns, node.id).size
        return 0

    def _volume_size(self, ns: str, name: str) -> int:
        return disk_usage(str(Path(self._volume_store.get(ns, name).mountpoint).parent))


def _item(node: Node, name: str, size: int) -> PlanItem:
    return PlanItem(namespace=node.ns, kind=node.kind, id=node.id, name=name, bytes=size)


def _prunable(view: ContainerView, accept: Accept) -> bool:
    """As ContainerService.prune has it."""
    return not (view.running or view.restarting) and (accept.container is None or accept.container(view))


def _still_there(tx: Transaction, ns: str, views: Sequence[ImageView]) -> list[ImageView]:
    """The views without the names that are gone, and without those that have none left."""
    names: Mapping[str, ImageRecord] = {image.name: image for image in tx.images.list(ns)}
    left = [view._replace(records=[one for one in view.records if one.name in names]) for view in views]
    return [view for view in left if view.records]


class _RolledBackError(Exception):
    """Ends a rehearsal."""


@contextlib.contextmanager
def _rolled_back(metadata: Metadata) -> Iterator[Transaction]:
    """A write transaction of which nothing stays."""
    with contextlib.suppress(_RolledBackError), metadata.update() as tx:
        yield tx
        raise _RolledBackError


def check_request(request: PlanRequest) -> None:
    """Raises InvalidArgument for a removal of nothing, and for objects where none are named."""
    removal = request.action.endswith(".remove")
    if removal is not bool(request.objects):
        problem = "needs the objects that are meant" if removal else "takes no objects"
        raise InvalidArgument(f"a plan of {request.action} {problem}", subject="objects")
