"""The check of snapshots: is every directory there, with the files that were committed, and on the right parent?

A broken layer is unpacked again beside the broken one, and the two are exchanged: the number stays, so what was made
on it, containers too, finds its parent whole. What a container wrote is looked at, never touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from corten_shared.errors import Conflict, CortenError, DataLoss, NotFound
from corten_shared.models.check import Finding
from corten_shared.models.container import ContainerRecord
from corten_shared.models.oci import Descriptor
from corten_shared.models.snapshot import Kind
from cortend.core.check import SnapshotInspector, SnapshotState
from cortend.core.documents import sniff_media_type
from cortend.core.metadata import Metadata
from cortend.core.snapshots import Snapshotter
from cortend.core.workers import Workers
from cortend.services.check_run import CheckRun, Mend
from cortend.services.image_documents import DocumentStore, ImageDocuments
from cortend.services.unpack import Unpacker


class SnapshotChecker:
    """Checks and mends snapshots."""

    def __init__(
        self,
        *,
        inspectors: Sequence[SnapshotInspector],
        snapshotters: Mapping[str, Snapshotter],
        unpacker: Unpacker,
        documents: DocumentStore,
        metadata: Metadata,
        workers: Workers,
    ) -> None:
        self._inspectors = inspectors
        self._snapshotters = snapshotters
        self._unpacker = unpacker
        self._documents = documents
        self._metadata = metadata
        self._workers = workers

    async def check(self, run: CheckRun) -> None:
        """Every snapshotter; the images' documents were followed before."""
        await self._wanted(run)
        for inspector in self._inspectors:
            states = await self._workers.run(inspector.states)
            for number, state in enumerate(states):
                run.count("snapshots")
                run.progress(inspector.name, number + 1, len(states))
                if state.orphaned:
                    await self._orphaned(run, inspector, state)
                await self._files(run, inspector, state)
            await self._leftovers(run, inspector)
        await self._containers(run)

    # -- what images want -------------------------------------------------------------------------------------------

    async def _wanted(self, run: CheckRun) -> None:
        """Snapshots that configs name, and that are not there."""
        for (ns, name, top), image in run.wanted.items():
            if name not in self._snapshotters or await self._exists(name, ns, top):
                continue
            finding = Finding(
                problem="snapshot-missing",
                subject=top,
                namespace=ns,
                detail=f"the {name} snapshot of image {image.id} is not there",
            )

            async def unpack(ns: str = ns, name: str = name, image: ImageDocuments = image) -> str:
                await self._unpack(run, ns, name, image)
                return "unpacked"

            await run.report(finding, unpack, "it is unpacked when a container needs it")

    async def _unpack(self, run: CheckRun, ns: str, snapshotter: str, image: ImageDocuments) -> None:
        async def arrival(number: int) -> None:
            """Whatever there is, is there."""

        lease = await run.lease(ns)
        await self._unpacker.unpack(ns, snapshotter, image, lease, arrival, lambda *_: None)

    async def _exists(self, snapshotter: str, ns: str, name: str) -> bool:
        try:
            await self._workers.run(self._snapshotters[snapshotter].stat, ns, name)
        except CortenError as error:
            return not isinstance(error, NotFound)
        return True

    # -- parents ----------------------------------------------------------------------------------------------------

    async def _orphaned(self, run: CheckRun, inspector: SnapshotInspector, state: SnapshotState) -> None:
        finding = Finding(
            problem="snapshot-damaged",
            subject=state.name,
            namespace=state.ns,
            detail=f"{state.kind} snapshot {state.name} ({inspector.name}) has lost its parent, number {state.parent}",
        )

        async def adopt() -> str:
            try:
                image, below = await self._line(run, state)
            except DataLoss:
                if state.kind is not Kind.COMMITTED:
                    raise
                await self._workers.run(self._snapshotters[inspector.name].remove, state.ns, state.name)
                return "removed: no image is known that it is of"
            await self._unpack(run, state.ns, inspector.name, _lowest(image, below))
            await self._workers.run(inspector.adopt, state.ns, state.name, image.chain[below - 1])
            return f"put on {image.chain[below - 1]}, unpacked again"

        await run.report(finding, adopt)

    async def _line(self, run: CheckRun, state: SnapshotState) -> tuple[ImageDocuments, int]:
        """The image that a snapshot is of, and how many of its layers lie below the snapshot."""
        if known := run.layers.get((state.ns, state.name)):
            return known
        for record in await self._workers.run(self._records, state.ns):
            if record.snapshot_key == state.name and record.image_digest:
                image = await self._workers.run(self._image, state.ns, record)
                return image, len(image.chain)
        raise DataLoss("no image is known that it is of", hint="remove the snapshot, or pull its image")

    def _image(self, ns: str, record: ContainerRecord) -> ImageDocuments:
        data = self._documents.read(ns, record.image_digest)
        kind = sniff_media_type(data, f"image {record.image_digest}")
        return self._documents.load(ns, Descriptor(mediaType=kind, digest=record.image_digest, size=len(data)))

    def _records(self, ns: str) -> list[ContainerRecord]:
        with self._metadata.view() as tx:
            return tx.containers.list(ns)

    # -- files ------------------------------------------------------------------------------------------------------

    async def _files(self, run: CheckRun, inspector: SnapshotInspector, state: SnapshotState) -> None:
        if state.kind is not Kind.COMMITTED:
            if state.sid not in await self._workers.run(inspector.numbers):
                await self._missing(run, inspector, state)
            return
        try:
            now = await self._workers.run_slow(inspector.tally, state.sid)
        except NotFound:
            await self._missing(run, inspector, state)
            return
        except OSError as error:
            await self._broken(run, inspector, state, f"cannot be read: {error.strerror}")
            return
        if state.tally and now != state.tally:
            await self._broken(run, inspector, state, _difference(state.tally, now))
        elif run.deep:
            await self._compare(run, inspector, state)

    async def _missing(self, run: CheckRun, inspector: SnapshotInspector, state: SnapshotState) -> None:
        if not await self._exists(inspector.name, state.ns, state.name):
            return  # removed meanwhile
        finding = Finding(
            problem="snapshot-missing",
            subject=state.name,
            namespace=state.ns,
            detail=f"the directory of {state.kind} snapshot {state.name} ({inspector.name}) is gone",
        )

        async def make() -> str:
            await self._workers.run(inspector.make_again, state.sid)
            return "made again, empty: what was written in it is lost"

        await run.report(finding, self._again(run, inspector, state) if state.kind is Kind.COMMITTED else make)

    async def _broken(self, run: CheckRun, inspector: SnapshotInspector, state: SnapshotState, why: str) -> None:
        finding = Finding(
            problem="snapshot-damaged",
            subject=state.name,
            namespace=state.ns,
            detail=f"snapshot {state.name} ({inspector.name}) is not as it was committed: {why}",
        )
        await run.report(finding, self._again(run, inspector, state))

    def _again(self, run: CheckRun, inspector: SnapshotInspector, state: SnapshotState) -> Mend:
        """Unpack the layer again and exchange; a snapshot that is no image's goes, if nothing stands on it."""

        async def mend() -> str:
            known = run.layers.get((state.ns, state.name))
            snapshotter = self._snapshotters[inspector.name]
            if known is None:
                await self._workers.run(snapshotter.remove, state.ns, state.name)
                return "removed: no image is known that it could be unpacked from"
            if mounted := await self._workers.run(snapshotter.targets, state.ns, state.name):
                raise Conflict(f"it is mounted on {mounted[0]}", hint="stop the container that uses it, then repair")
            lease = await run.lease(state.ns)
            fresh = await self._unpacker.unpack_again(state.ns, inspector.name, *known, lease)
            await self._workers.run(inspector.replace, state.ns, state.name, fresh)
            return "unpacked again"

        return mend

    async def _compare(self, run: CheckRun, inspector: SnapshotInspector, state: SnapshotState) -> None:
        """Byte by byte with what the layer says: it is unpacked beside, and both are read."""
        known = run.layers.get((state.ns, state.name))
        if known is None:
            return
        snapshotter = self._snapshotters[inspector.name]
        try:
            lease = await run.lease(state.ns)
            fresh = await self._unpacker.unpack_again(state.ns, inspector.name, *known, lease)
        except CortenError:
            return  # the layer is damaged itself, which was said
        try:
            number = await self._workers.run(self._number, inspector, state.ns, fresh)
            wanted = await self._workers.run_slow(inspector.tally, number, deep=True)
            found = await self._workers.run_slow(inspector.tally, state.sid, deep=True)
        finally:
            await self._workers.run_slow(snapshotter.remove, state.ns, fresh)
        if found != wanted:
            await self._broken(run, inspector, state, _difference(wanted, found))

    def _number(self, inspector: SnapshotInspector, ns: str, name: str) -> int:
        return next(state.sid for state in inspector.states() if (state.ns, state.name) == (ns, name))

    # -- the rest ---------------------------------------------------------------------------------------------------

    async def _leftovers(self, run: CheckRun, inspector: SnapshotInspector) -> None:
        for sid in await self._workers.run(inspector.orphans):
            finding = Finding(
                problem="snapshot-orphan",
                subject=f"{inspector.name}/{sid}",
                detail=f"directory {sid} of {inspector.name} has no row",
            )

            async def free() -> str:
                await self._workers.run_slow(self._snapshotters[inspector.name].cleanup)
                return "removed"

            await run.report(finding, free)
        for name in await self._workers.run(inspector.strays):
            subject = f"{inspector.name}/{name}"
            finding = Finding(problem="leftover", subject=subject, detail=f"snapshots/{subject} is no snapshot")

            async def remove(name: str = name) -> str:
                await self._workers.run_slow(inspector.remove_stray, name)
                return "removed"

            await run.report(finding, remove)

    async def _containers(self, run: CheckRun) -> None:
        """Containers whose snapshot has no row: nothing can bring back what they wrote."""
        for ns in await self._workers.run(self._namespaces):
            for record in await self._workers.run(self._records, ns):
                if record.snapshotter not in self._snapshotters or not record.snapshot_key:
                    continue
                if not await self._exists(record.snapshotter, ns, record.snapshot_key):
                    name = record.name or record.id
                    detail = f"the snapshot of container {name} is gone"
                    finding = Finding(problem="container-incomplete", subject=name, namespace=ns, detail=detail)
                    await run.report(finding, None, "what it wrote is lost: remove the container")

    def _namespaces(self) -> list[str]:
        with self._metadata.view() as tx:
            return [namespace.name for namespace in tx.namespaces.list()]


def _lowest(image: ImageDocuments, layers: int) -> ImageDocuments:
    """The image's lowest layers alone."""
    rootfs = image.config.rootfs.model_copy(update={"diff_ids": image.config.rootfs.diff_ids[:layers]})
    config = image.config.model_copy(update={"rootfs": rootfs})
    manifest = image.manifest.model_copy(update={"layers": image.manifest.layers[:layers]})
    return image._replace(manifest=manifest, config=config)


def _difference(before: str, now: str) -> str:
    """What two tallies say of what changed (core.snapshots.SnapshotDriver.tally: a word, entries, bytes, a sum)."""
    words, words_now = before.split(), now.split()
    for name, was, found in zip(("entries", "bytes"), words[1:3], words_now[1:3], strict=False):
        if was != found:
            return f"{found} {name} where there were {was}"
    return "other files"
