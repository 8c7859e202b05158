"""Committing a container: what it changed becomes a layer on its image's, its settings a configuration.

    pause -> compare -> layer blob -> resume -> config, manifest -> snapshot -> image record + events

Everything made is under a lease until the image has its record. The container's lock is held while its files are read:
a removal in between would make a layer of half of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from corten_shared import times
from corten_shared.errors import InvalidArgument, NotFound
from corten_shared.models.container import ContainerRecord
from corten_shared.models.image import ImageRecord
from corten_shared.models.oci import History, RunConfig
from corten_shared.models.snapshot import Mount
from corten_shared.models.task import TaskStatus
from corten_shared.reference import Reference, parse_normalized
from cortend.core import instructions, trace
from cortend.core.containerfiles import MOUNT_POINTS
from cortend.core.content import ContentStore
from cortend.core.diff import Comparer, Packed
from cortend.core.metadata import Metadata
from cortend.core.runtime import TaskKey
from cortend.core.snapshots import Snapshotter
from cortend.core.workers import Workers
from cortend.services.commit_image import MadeImage, config_of, made, merged
from cortend.services.containers import ContainerService
from cortend.services.finish import finished
from cortend.services.hops import writing
from cortend.services.image_documents import DocumentStore, ImageDocuments, config_labels, manifest_labels
from cortend.services.image_names import DANGLING, put_image
from cortend.services.leases import temporary_lease
from cortend.services.supervisor import Supervisor, event_attributes
from cortend.services.unpack import Unpacker
from cortend.services.views import ContainerView


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """What to make of a container: `name` is the image's (empty: none), `changes` are Dockerfile instructions.

    `config`, when given, is the image's instead of the container's, which fills in what it leaves open.
    """

    name: str = ""
    author: str = ""
    message: str = ""
    pause: bool = True
    changes: Sequence[str] = ()
    config: RunConfig | None = None
    compression: str = "gzip"


class Committed(NamedTuple):
    """A new image: its record, and its id (the config's digest)."""

    record: ImageRecord
    id: str


class CommitService:
    """Makes images of containers."""

    def __init__(
        self,
        *,
        comparer: Comparer,
        containers: ContainerService,
        supervisor: Supervisor,
        metadata: Metadata,
        content: ContentStore,
        documents: DocumentStore,
        unpacker: Unpacker,
        snapshotters: Mapping[str, Snapshotter],
        workers: Workers,
    ) -> None:
        self._comparer = comparer
        self._containers = containers
        self._supervisor = supervisor
        self._metadata = metadata
        self._content = content
        self._documents = documents
        self._unpacker = unpacker
        self._snapshotters = snapshotters
        self._workers = workers

    async def commit(self, ns: str, ref: str, request: CommitRequest) -> Committed:
        """The image, unpacked and ready to run. Volumes, binds and the host's files in the container are not in it.

        Raises NotFound (container, or its image's content), InvalidArgument (name, a change, a file that no layer can
        have), ResourceExhausted. When it fails nothing is kept, and the container goes on.
        """
        name = _reference(request.name)
        record = (await self._containers.get(ns, ref)).record
        key = TaskKey(ns, record.id)
        config = instructions.apply(request.changes, merged(request.config, config_of(record)))
        async with temporary_lease(self._metadata, self._workers, ns, "commit") as lease:
            async with self._supervisor.locks.hold(key):
                view = await self._containers.get(ns, key.id)
                base = await self._workers.run(self._base, ns, record, lease)
                async with self._paused(view, wanted=request.pause):
                    packed = await self._layer(view, request.compression, lease)
            trace.point("commit.layer.stored")
            step = History(
                created_by=" ".join(record.spec.cmd or ()),
                author=request.author or None,
                comment=request.message or None,
            )
            image = made(base, self._documents.host, config, packed, request.compression, step)
            await finished(self._workers.run(self._store, ns, record.snapshotter, image, lease))
            await self._unpacker.unpack(ns, record.snapshotter, image.documents, lease, _at_once, _unwatched)
            trace.point("commit.layer.unpacked")
            named = await finished(self._workers.run(self._name, view, name, image, request.message))
            trace.point("commit.image.named")
            return Committed(named, image.documents.id)

    # -- reading the container ----------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _paused(self, view: ContainerView, *, wanted: bool) -> AsyncIterator[None]:
        """The container frozen for the length of the block, if it runs; one that somebody paused stays so."""
        if not wanted or view.task is None or view.task.status is not TaskStatus.RUNNING:
            yield
            return
        try:
            await finished(self._containers.freeze(view, TaskStatus.PAUSED, held=True))
            trace.point("commit.layer.paused")
            yield
        finally:
            await finished(self._resume(view))

    async def _resume(self, view: ContainerView) -> None:
        now = await self._containers.get(view.ns, view.record.id)
        if now.task is not None and now.task.status is TaskStatus.PAUSED:
            await self._containers.freeze(now, TaskStatus.RUNNING)

    def _base(self, ns: str, record: ContainerRecord, lease: str) -> ImageDocuments | None:
        """The container's image, which may have lost its name; held by the lease with all that it is made of."""
        if not record.image_digest:
            return None
        if not self._content.adopt(ns, record.image_digest, lease=lease):
            raise NotFound(
                f"the image of container {record.name} is not here any more",
                subject=record.image_digest,
                hint="pull it again",
            )
        return self._documents.load_manifest(ns, record.image_digest)

    async def _layer(self, view: ContainerView, compression: str, lease: str) -> Packed:
        """The container's changes as a blob; an empty layer is not kept."""
        lower, upper = await self._workers.run(self._mounts, view.ns, view.record)
        reading = await self._comparer.compare(lower, upper, compression=compression, skip=MOUNT_POINTS)
        try:
            ref = f"commit-{lease}"
            async with writing(self._content, self._workers, view.ns, ref, lease=lease) as hops:
                hops.drop = True
                async for chunk in reading:
                    await hops.gather(chunk)
                packed = reading.packed
                if packed.entries:
                    await hops.commit(packed.size, packed.digest)
            return packed
        finally:
            await reading.aclose()

    def _mounts(self, ns: str, record: ContainerRecord) -> tuple[list[Mount], list[Mount]]:
        snapshotter = self._snapshotters[record.snapshotter]
        parent = snapshotter.stat(ns, record.snapshot_key).parent
        return snapshotter.mounts(ns, parent) if parent else [], snapshotter.mounts(ns, record.snapshot_key)

    # -- making the image ---------------------------------------------------------------------------------------------

    def _store(self, ns: str, snapshotter: str, image: MadeImage, lease: str) -> None:
        documents = image.documents
        # What was there already may have been held by another namespace only, or by nothing.
        for layer in documents.manifest.layers:
            self._content.adopt(ns, layer.digest, lease=lease)
        self._documents.store(ns, documents.id, image.config, config_labels(snapshotter, documents.chain), lease)
        self._documents.store(
            ns, image.target.digest, image.manifest, manifest_labels(documents.manifest), lease
        )

    def _name(
        self, view: ContainerView, name: Reference | None, image: MadeImage, message: str
    ) -> ImageRecord:
        """The record, and docker's events: the container's commit, the image's creation, its tag."""
        ns, image_id, now = view.ns, image.documents.id, times.now()
        full = str(name) if name else DANGLING + image.target.digest
        record = ImageRecord(name=full, target=image.target, created_at=now, updated_at=now)
        shown = name.familiar if name else ""
        with self._metadata.update() as tx:
            if name:
                put_image(tx, ns, record)
            else:
                tx.namespaces.ensure(ns)
                tx.images.put(ns, record)
            tx.emit(ns, "/images/create", full, {"action": "create", "name": image_id, "id": image_id})
            if name:
                tx.emit(ns, "/images/update", full, {"action": "tag", "name": shown, "id": image_id})
            facts = {"comment": message, "imageID": image_id, "imageRef": shown}
            tx.emit(ns, "/containers/commit", view.record.id, {**event_attributes(view.record), **facts})
        return record


def _reference(name: str) -> Reference | None:
    if not name:
        return None
    reference = parse_normalized(name)
    if reference.digest:
        raise InvalidArgument("refusing to create a tag with a digest reference", subject=name)
    return reference


async def _at_once(number: int) -> None:
    """Every layer is in the content store already."""


def _unwatched(number: int, word: str, read: int) -> None:
    """Nobody watches."""
