"""Volumes, and what a container's mounts come from."""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

from corten_shared.errors import Conflict, InvalidArgument, NotFound
from corten_shared.models.container import MountSpec
from corten_shared.models.volume import VolumeRecord
from cortend.core.metadata import Metadata
from cortend.core.volumes import VolumeStore
from cortend.core.workers import Workers

log = logging.getLogger(__name__)

Volumes = list[VolumeRecord]
Names = list[str]
Mounts = list[MountSpec]

_ANONYMOUS = re.compile(r"[0-9a-f]{64}\Z")


class VolumeService:
    """Use cases of volumes; the methods without `async` block and are for services that are on a worker already."""

    def __init__(self, *, store: VolumeStore, metadata: Metadata, workers: Workers) -> None:
        self._store = store
        self._metadata = metadata
        self._workers = workers

    async def get(self, ns: str, name: str) -> VolumeRecord:
        """Raises NotFound."""
        return await self._workers.run(self._store.get, ns, name)

    async def list(self, ns: str) -> Volumes:
        """Every volume, by name."""
        return await self._workers.run(self._store.list, ns)

    async def create(self, ns: str, name: str = "", labels: dict[str, str] | None = None) -> VolumeRecord:
        """A volume by this name, new or there already; without a name an anonymous one."""

        def create() -> VolumeRecord:
            volume = self._store.create(ns, name or secrets.token_hex(32), labels=labels, anonymous=not name)
            with self._metadata.update() as tx:
                tx.emit(ns, "/volumes/create", volume.name, {"driver": volume.driver})
            return volume

        return await self._workers.run(create)

    async def remove(self, ns: str, name: str, *, force: bool = False) -> None:
        """Remove a volume. Raises Conflict, saying by whom, while it is in use; NotFound without `force`."""

        def remove() -> None:
            users = self.users(ns, name)
            if users:
                raise Conflict(
                    f"remove {name}: volume is in use - [{', '.join(users)}]",
                    hint="remove these containers first",
                    subject=name,
                )
            try:
                self._delete(ns, name)
            except NotFound:
                if not force:
                    raise

        await self._workers.run_slow(remove)

    async def prune(self, ns: str, accept: Callable[[VolumeRecord], bool] | None = None) -> Names:
        """Remove the volumes that no container uses and that `accept` likes (default: anonymous ones)."""

        def prune() -> Names:
            removed: Names = []
            for volume in self._store.list(ns):
                wanted = volume.anonymous if accept is None else accept(volume)
                if wanted and self.unused(ns, volume):
                    self._delete(ns, volume.name)
                    removed.append(volume.name)
            return removed

        return await self._workers.run_slow(prune)

    # -- for the container service ----------------------------------------------------------------------------------

    def unused(self, ns: str, volume: VolumeRecord) -> bool:
        """Whether no container mounts it, and none that is being made will: that one owns it, and has no record yet."""
        return not volume.owner and not self.users(ns, volume.name)

    def users(self, ns: str, name: str) -> Names:
        """Ids of the containers that mount the volume."""
        with self._metadata.view() as tx:
            return [
                record.id
                for record in tx.containers.list(ns)
                if any(mount.type == "volume" and mount.source == name for mount in record.spec.mounts)
            ]

    def resolve(self, ns: str, mounts: Iterable[MountSpec], owner: str) -> Mounts:
        """The mounts of the container `owner` with every volume existing and named, and every bind source checked.

        Raises InvalidArgument for a bind source that is missing, relative, or not what it was said to be, and
        for two mounts of one target.
        """
        resolved: Mounts = []
        made: Mounts = []
        try:
            for mount in mounts:
                if any(other.target == mount.target for other in resolved):
                    raise InvalidArgument(f"Duplicate mount point: {mount.target}")
                if mount.type == "volume":
                    anonymous = not mount.source
                    mount = mount.model_copy(update={"source": mount.source or secrets.token_hex(32)})
                    self._store.create(ns, mount.source, anonymous=anonymous, owner=owner if anonymous else "")
                    made += [mount] if anonymous else []
                elif mount.type == "bind":
                    self._check_bind(mount)
                resolved.append(mount)
        except BaseException:
            self.remove_anonymous(ns, made)
            raise
        return resolved

    @staticmethod
    def _check_bind(mount: MountSpec) -> None:
        source = Path(mount.source)
        if not source.is_absolute():
            raise InvalidArgument(f"invalid mount path: '{mount.source[:200]}' mount path must be absolute")
        if mount.create_source:
            with contextlib.suppress(FileExistsError):
                source.mkdir(mode=0o755, parents=True)
        elif not source.exists():
            raise InvalidArgument(
                f'invalid mount config for type "bind": bind source path does not exist: {mount.source}'
            )

    def remove_anonymous(self, ns: str, mounts: Iterable[MountSpec]) -> None:
        """Remove the anonymous volumes among `mounts` that no other container uses."""
        for mount in mounts:
            if mount.type != "volume" or not _ANONYMOUS.match(mount.source):
                continue
            with contextlib.suppress(NotFound):
                if self._store.get(ns, mount.source).anonymous and not self.users(ns, mount.source):
                    self._delete(ns, mount.source)

    def keep_anonymous(self, ns: str, mounts: Iterable[MountSpec]) -> None:
        """The container of these mounts goes and leaves its anonymous volumes behind."""
        for mount in mounts:
            if mount.type == "volume" and _ANONYMOUS.match(mount.source):
                with contextlib.suppress(NotFound):
                    self._store.disown(ns, mount.source)

    def sweep(self) -> None:
        """Remove the volumes of containers that a crash kept from being made, or from being removed, whole."""
        with self._metadata.view() as tx:
            known = {container for namespace in tx.namespaces.list() for container in tx.containers.ids(namespace.name)}
        for ns, volume in self._store.walk():
            if volume.owner and volume.owner not in known and not self.users(ns, volume.name):
                log.warning("removing volume %s, whose container %s is gone", volume.name, volume.owner[:12])
                self._delete(ns, volume.name)

    def mountpoint(self, ns: str, name: str) -> str:
        """Where a volume's data is on the host; raises NotFound."""
        return self._store.get(ns, name).mountpoint

    def is_empty(self, ns: str, name: str) -> bool:
        """Whether the volume holds nothing yet."""
        return self._store.is_empty(ns, name)

    def _delete(self, ns: str, name: str) -> None:
        self._store.remove(ns, name)
        with self._metadata.update() as tx:
            tx.emit(ns, "/volumes/destroy", name, {"driver": "local"})
