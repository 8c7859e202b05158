"""The check of the database: is the file sound, can every row be read, does every row have what it belongs to?

What cannot be read is made anew from the rest of its row and from content where that is possible, and dropped where it
says nothing that is not found again. A container's record is never dropped: its files would be lost with it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from corten_shared import digest as digests
from corten_shared import times
from corten_shared.errors import CortenError, DataLoss
from corten_shared.models.check import Finding
from corten_shared.models.container import ContainerRecord, ContainerSpec
from corten_shared.models.oci import INDEXES, Descriptor
from cortend.core import limits
from cortend.core.check import StoreInspector, TornRow
from cortend.core.content import BlobStore
from cortend.core.documents import load_json, parse_config, parse_index, parse_manifest, sniff_media_type
from cortend.core.gc import EXPIRE
from cortend.core.snapshots import Snapshotter
from cortend.core.workers import Workers
from cortend.services.check_run import CheckRun
from cortend.services.image_documents import config_labels, content_references, manifest_labels
from cortend.services.leases import LIFE

_WORDS = {
    "images": "image", "content": "blob", "snapshots": "snapshot", "leases": "lease", "containers": "container",
    "tasks": "task of container", "endpoints": "endpoint of container", "events": "event",
    "namespaces": "namespace", "lease_resources": "object of lease",
}  # fmt: skip


class RowChecker:
    """Checks and mends rows."""

    def __init__(
        self, *, inspector: StoreInspector, blobs: BlobStore, snapshotters: Mapping[str, Snapshotter], workers: Workers
    ) -> None:
        self._inspector = inspector
        self._blobs = blobs
        self._snapshotters = snapshotters
        self._workers = workers

    async def check(self, run: CheckRun) -> None:
        """The whole database."""
        run.count("rows", await self._workers.run(self._inspector.count))
        await self._file(run)
        for row in await self._workers.run(self._inspector.torn):
            detail = f"the {row.column} of {_WORDS[row.table]} {row.name} cannot be read: {row.why}"
            finding = Finding(problem="row-damaged", subject=row.name, namespace=row.ns, detail=detail)
            await run.report(finding, lambda row=row: self._workers.run(self._mend, row))  # type: ignore[misc]
        await self._owners(run)
        for ns, name, column, target in await self._workers.run(self._inspector.targets):
            detail = f"image {name} is filed under {column}, and names {target}"
            finding = Finding(problem="row-wrong", subject=name, namespace=ns, detail=detail)

            async def file(ns: str = ns, name: str = name, target: str = target) -> str:
                await self._workers.run(self._inspector.set_target, ns, name, target)
                return "filed under what it names"

            await run.report(finding, file)

    async def _file(self, run: CheckRun) -> None:
        async def rebuild() -> str:
            await self._workers.run_slow(self._inspector.rebuild_indexes)
            if left := await self._workers.run_slow(self._inspector.integrity):
                raise DataLoss(f"still damaged: {left[0]}", hint="restore meta.db from a backup")
            return "every index was built again"

        if problems := await self._workers.run_slow(self._inspector.integrity):
            detail = f"{len(problems)} problems, the first: {problems[0]}"
            await run.report(Finding(problem="database-damaged", subject="meta.db", detail=detail), rebuild)

    async def _owners(self, run: CheckRun) -> None:
        for row in await self._workers.run(self._inspector.dangling):
            detail = f"{_WORDS[row.table]} {row.name} is there, but not its row in {row.wanted}"
            finding = Finding(problem="row-dangling", subject=row.name, namespace=row.ns, detail=detail)

            async def mend(row: Any = row) -> str:
                await self._workers.run(self._inspector.drop, row)
                return "the namespace was made again" if row.wanted == "namespaces" else "dropped"

            await run.report(finding, mend)

    # -- one torn row -----------------------------------------------------------------------------------------------

    def _mend(self, row: TornRow) -> str:
        match row.table, row.column:
            case "images", "target":
                return self._image(row)
            case "content", "labels":
                self._inspector.write(row, json.dumps(self._labels(row.ns, row.name)))
                return "made anew from the content"
            case "leases", "labels":
                end = times.format_rfc3339(times.now() + LIFE * 1_000_000_000)
                self._inspector.write(row, json.dumps({EXPIRE: end}))
                return "replaced: the lease ends in a day"
            case _, "labels":
                self._inspector.write(row, "{}")
                return "replaced by no labels"
            case "containers", "record":
                self._inspector.write(row, self._container(row).model_dump_json())
                return "made anew from its image: its files are kept, its settings are lost"
        self._inspector.drop(row)
        return "dropped"

    def _image(self, row: TornRow) -> str:
        digest = str(row.facts["digest"])
        try:
            data = self._read(digest)
            kind = sniff_media_type(data, f"content {digest}")
        except CortenError:
            self._inspector.drop(row)
            return "the name was removed: what it named is not known any more"
        target = Descriptor(mediaType=kind, digest=digest, size=len(data))
        self._inspector.write(row, target.model_dump_json(by_alias=True, exclude_none=True))
        return "made anew from the content"

    def _labels(self, ns: str, digest: str) -> dict[str, str]:
        """What a document keeps: a config the snapshots that there are, an index the manifests that there are."""
        try:
            data = self._read(digest)
            if "rootfs" in load_json(data, digest):
                return self._config_labels(ns, digests.chain_ids(parse_config(data, digest).rootfs.diff_ids))
            kind = sniff_media_type(data, digest)
            if kind not in INDEXES:
                return manifest_labels(parse_manifest(data, kind, digest))
            children = parse_index(data, kind, digest).manifests
            return content_references(
                {f"m.{number}": child.digest for number, child in enumerate(children) if self._has(child.digest)}
            )
        except CortenError:
            return {}  # a layer

    def _config_labels(self, ns: str, chain: Sequence[str]) -> dict[str, str]:
        labels: dict[str, str] = {}
        for name, snapshotter in self._snapshotters.items():
            with contextlib.suppress(CortenError, IndexError):
                snapshotter.stat(ns, chain[-1])
                labels.update(config_labels(name, chain))
        return labels

    def _has(self, digest: str) -> bool:
        try:
            self._blobs.stat(digest)
        except CortenError:
            return False
        return True

    def _container(self, row: TornRow) -> ContainerRecord:
        facts = row.facts
        digest = str(facts["image_digest"])
        image_id, spec = "", ContainerSpec()
        if digest:
            image_id, spec = self._spec(digest)
        return ContainerRecord(
            id=row.name,
            name=str(facts["name"]),
            image=image_id,
            image_id=image_id,
            image_digest=digest,
            snapshotter=str(facts["snapshotter"]),
            snapshot_key=str(facts["snapshot_key"]),
            spec=spec,
            created_at=int(facts["created_at"] or 0),
            updated_at=times.now(),
        )

    def _spec(self, digest: str) -> tuple[str, ContainerSpec]:
        """The image's id, and what it runs by itself; nothing where the image cannot be read."""
        try:
            data = self._read(digest)
            manifest = parse_manifest(data, sniff_media_type(data, digest), digest)
            config = parse_config(self._read(manifest.config.digest), manifest.config.digest).config
        except CortenError:
            return "", ContainerSpec()
        entrypoint, command = config.entrypoint or [], config.cmd or []
        spec = ContainerSpec(
            args=[*entrypoint, *command], env=config.env or [], cwd=config.working_dir or "", user=config.user or ""
        )
        return manifest.config.digest, spec

    def _read(self, digest: str) -> bytes:
        with self._blobs.open(digest) as file:
            return file.read(limits.images().document_size + 1)
