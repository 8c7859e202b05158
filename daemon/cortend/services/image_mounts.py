"""An image's files on the host: a snapshot of its top layer, mounted on a directory.

The snapshot's key is the directory, as with ctr, and a lease without an end holds it, so that the collector leaves it
to the mount whatever happens to the image. Both last until `unmount`, also when the daemon ends or the host reboots;
after that `mount` mounts what is there again. Mounts are `nosuid` and `nodev`: the directory may be open to
people who must not get an image's setuid programs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
from pathlib import Path
from typing import NamedTuple

from corten_shared import times
from corten_shared.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from corten_shared.models.lease import Lease
from corten_shared.models.snapshot import Kind, Mount
from cortend.core.metadata import Metadata
from cortend.core.snapshots import Snapshotter
from cortend.core.workers import Workers
from cortend.linux.mount import MNT_DETACH, UMOUNT_NOFOLLOW, mount_all, umount
from cortend.linux.mountinfo import MountPoint, read_mounts
from cortend.linux.process import boot_id
from cortend.services.finish import finished
from cortend.services.images import ImageService
from cortend.services.locks import Locks
from cortend.services.snapshots import TARGET, SnapshotService

SNAPSHOTTER = "corten.mount.snapshotter"
"""Label of the lease, as TARGET is."""
ROOT = "corten.mount.root"
"""Label of the snapshot: what is seen where it is mounted."""
_HARMLESS = ["nosuid", "nodev"]


class Mounted(NamedTuple):
    """An image's snapshot and where it belongs."""

    target: str
    snapshotter: str
    kind: Kind


class ImageMounts:
    """Mounts images on directories of the host."""

    def __init__(
        self, *, metadata: Metadata, images: ImageService, snapshots: SnapshotService, workers: Workers
    ) -> None:
        self._metadata = metadata
        self._images = images
        self._snapshots = snapshots
        self._workers = workers
        self._locks = Locks()

    async def mount(
        self, ns: str, reference: str, target: str, *, writable: bool = False, platform: str = "", snapshotter: str = ""
    ) -> str:
        """Mount the image on the existing directory `target`, an absolute path; returns it, cleaned.

        Raises NotFound (image, directory), InvalidArgument, Conflict when something is mounted there.
        """
        path = _cleaned(target)
        found = self._snapshots.named(snapshotter)
        image = await self._images.for_container(ns, reference, platform)
        async with self._locks.hold((path,)):
            await self._workers.run(_check_directory, path)
            top = await self._images.ensure_unpacked(ns, image, found.name)
            kind = Kind.ACTIVE if writable else Kind.VIEW
            await finished(self._workers.run_slow(self._mount, ns, found, path, top, kind))
        return path

    async def unmount(self, ns: str, target: str, *, keep: bool = False) -> None:
        """Unmount what `mount` mounted on `target`, and remove its snapshot unless `keep`. Raises NotFound."""
        path = _cleaned(target)
        async with self._locks.hold((path,)):
            await finished(self._workers.run_slow(self._unmount, ns, path, keep))

    def _mount(self, ns: str, snapshotter: Snapshotter, path: str, top: str, kind: Kind) -> None:
        lease = lease_of(path)
        if _top(path) is not None:
            ours = self._lease(ns, path) is not None
            hint = f"cortenctl images unmount {path}" if ours else "choose another directory"
            raise Conflict(f"something is mounted on {path} already", hint=hint, subject=path)
        self._hold(ns, path, snapshotter.name)
        try:
            mounts = self._snapshot(ns, snapshotter, path, top, kind, lease)
            mount_all([_harmless(entry) for entry in mounts], path)
            try:
                snapshotter.update(ns, path, {ROOT: _root_of(path)})
            except BaseException:
                umount(path, MNT_DETACH | UMOUNT_NOFOLLOW)
                raise
        except BaseException:
            self._drop(ns, snapshotter, path)
            raise

    def _snapshot(
        self, ns: str, snapshotter: Snapshotter, path: str, top: str, kind: Kind, lease: str
    ) -> list[Mount]:
        """A fresh snapshot, or the one that an unmounted mount left, when it is of the same image."""
        make = snapshotter.prepare if kind is Kind.ACTIVE else snapshotter.view
        try:
            return make(ns, path, top, lease=lease)
        except AlreadyExists:
            info = snapshotter.stat(ns, path)
            if (info.kind, info.parent) == (kind, top):
                return snapshotter.mounts(ns, path)
            snapshotter.remove(ns, path)  # of another image, and not mounted
            return make(ns, path, top, lease=lease)

    def _unmount(self, ns: str, path: str, keep: bool) -> None:
        lease = self._lease(ns, path)
        if lease is None:
            raise NotFound(f"no image is mounted on {path}", subject=path, hint="see: cortenctl leases ls")
        snapshotter = self._snapshots.named(lease.labels.get(SNAPSHOTTER, ""))
        with contextlib.suppress(NotFound):  # removed by hand
            label = snapshotter.stat(ns, path).labels.get(ROOT)
            # After a reboot there may be something else, or nothing; without the label, the daemon died as it mounted.
            if _top(path) is not None and label in (None, _root_of(path)):
                umount(path, MNT_DETACH | UMOUNT_NOFOLLOW)
        if not keep:
            self._drop(ns, snapshotter, path)

    def _lease(self, ns: str, path: str) -> Lease | None:
        try:
            with self._metadata.view() as tx:
                return tx.leases.get(ns, lease_of(path))
        except NotFound:
            return None

    def _hold(self, ns: str, path: str, snapshotter: str) -> None:
        if self._lease(ns, path) is not None:
            return
        labels = {TARGET: path, SNAPSHOTTER: snapshotter}
        with self._metadata.update() as tx:
            tx.namespaces.ensure(ns)
            tx.leases.create(ns, Lease(id=lease_of(path), labels=labels, created_at=times.now()))

    def _drop(self, ns: str, snapshotter: Snapshotter, path: str) -> None:
        """The snapshot first: a lease that is left over is seen, a snapshot that nothing holds is the collector's."""
        with contextlib.suppress(NotFound):
            snapshotter.remove(ns, path)
        with self._metadata.update() as tx:
            tx.leases.delete(ns, lease_of(path))


def lease_of(path: str) -> str:
    """The id of the lease for a mount on `path`: ids are short words, paths are not."""
    return f"image-mount-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}"


def _cleaned(target: str) -> str:
    if not target.startswith("/") or "\0" in target:
        raise InvalidArgument(f"not an absolute path: {target[:200]!r}", hint="name a directory of the daemon's host")
    return posixpath.realpath(target)  # as mountinfo shows it


def _check_directory(path: str) -> None:
    if not Path(path).is_dir():
        raise NotFound(f"no such directory: {path}", hint=f"mkdir -p {path}", subject=path)


def _top(path: str) -> MountPoint | None:
    """What is mounted on the path, if anything (also where it is a bind mount, which no `st_dev` betrays)."""
    return next((entry for entry in reversed(read_mounts()) if entry.target == path), None)


def _root_of(path: str) -> str:
    """What is at the path, in words that nothing else has until the host's next start."""
    found = Path(path).stat()
    return f"{boot_id()} {found.st_dev} {found.st_ino}"


def _harmless(entry: Mount) -> Mount:
    return entry.model_copy(update={"options": [*entry.options, *_HARMLESS]})
