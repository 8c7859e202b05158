"""`erofs`: each layer is one file, an image of the read-only file system EROFS; overlayfs shows a chain of them.

    <id>/fs, work        of an active snapshot: overlayfs's upper directory, as the overlay driver has them
    <id>/unpacked.erofs  a layer that was unpacked into an image at once, not committed yet
    <id>/layer.erofs     the image of a committed snapshot
    <id>/l               where that is mounted

An image is written in one pass and removed by one unlink, where a layer's tens of thousands of files each cost several
writes of the journal, twice. Images are mounted when something asks for mounts that need them, by the kernel from
the file itself (Linux 6.12) or through a loop device, and unmounted when the snapshot goes or the daemon ends; an
overlay keeps the layers that it is made of, whatever happens to their mount points. After a kill or a reboot the
mounts are there, or are made again by the next who asks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from corten_shared.errors import (
    Conflict,
    DataLoss,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from corten_shared.models.snapshot import Kind, Mount, Usage
from cortend.core.snapshots import LAYER_IMAGE, OVERLAY_MARKS
from cortend.linux import erofs
from cortend.linux.loop import loop_device
from cortend.linux.mount import MNT_DETACH, MS_RDONLY, UMOUNT_NOFOLLOW, mount, umount
from cortend.linux.mountinfo import mounts_below, read_mounts
from cortend.snapshots.directories import Directories, layers_of
from cortend.snapshots.overlay import MAX_PARENTS, like, overlay_mount
from cortend.snapshots.tally import tally

_IMAGE, _UNPACKED, _LAYER = "layer.erofs", "unpacked.erofs", "l"
_START = "import sys; sys.path[:0] = [sys.argv[1]]; from cortend.snapshots.packing import main; main(sys.argv[2:])"
_PACKAGES = str(Path(__file__).resolve().parents[2])
_INOS_AT = 1024 + 16


class ErofsDriver:
    """See `core.snapshots.SnapshotDriver`."""

    name = "erofs"
    rebases = True

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._directories = Directories(root)
        self._mounting = threading.Lock()

    def create(self, sid: int, kind: Kind, parents: Sequence[int]) -> None:
        """Empty directories; `fs` of an active snapshot takes the nearest parent's owner and mode."""
        if len(parents) > MAX_PARENTS:
            raise InvalidArgument(f"{len(parents)} layers are more than overlayfs stacks ({MAX_PARENTS})")
        base = Path(self._layer(parents[0])) if parents and kind is Kind.ACTIVE else None

        def fill(new: Path) -> None:
            (new / "fs").mkdir()
            (new / "fs").chmod(0o755)
            if kind is Kind.ACTIVE:
                (new / "work").mkdir(mode=0o700)
                if base:
                    like(base, new / "fs")

        self._directories.create(sid, fill)

    def mounts(self, sid: int, kind: Kind, parents: Sequence[int]) -> list[Mount]:
        """One mount: bind or overlay, of images that are mounted when this returns."""
        own = self._directories.files(sid)
        lower = [self._layer(parent) for parent in parents]
        if kind is Kind.ACTIVE:
            if not lower:
                image = f"{LAYER_IMAGE}{self._directories.path(sid) / _UNPACKED}"
                return [Mount(type="bind", source=str(own), options=["rw", "rbind", OVERLAY_MARKS, image])]
            work = self._directories.path(sid) / "work"
            return [overlay_mount(lower, f"upperdir={own}", f"workdir={work}")]
        if kind is Kind.COMMITTED:
            lower.insert(0, self._layer(sid))
        if len(lower) > 1:
            return [overlay_mount(lower, "ro")]
        return [Mount(type="bind", source=lower[0] if lower else str(own), options=["ro", "rbind"])]

    def usage(self, sid: int) -> Usage:
        """Of the image where there is one, else of the files."""
        directory = self._directories.path(sid)
        for name in (_IMAGE, _UNPACKED):
            with contextlib.suppress(FileNotFoundError), (directory / name).open("rb") as image:
                head = image.read(erofs.BLOCK)
                (inodes,) = struct.unpack_from("<Q", head, _INOS_AT)
                return Usage(size=os.fstat(image.fileno()).st_blocks * 512, inodes=inodes)
        return self._directories.usage(sid)

    def seal(self, sid: int) -> None:
        """The image of what was unpacked or written."""
        directory = self._directories.path(sid)
        image, unpacked, making = directory / _IMAGE, directory / _UNPACKED, directory / f"{_IMAGE}.new"
        making.unlink(missing_ok=True)
        if unpacked.exists():
            if os.listdir(directory / "fs"):
                raise Conflict(
                    "a layer was unpacked into the snapshot, and files were written to it as well",
                    hint="commit the layer, then prepare a snapshot on it for the files",
                )
            making.hardlink_to(unpacked)
        else:
            _pack(directory / "fs", making)
        making.rename(image)

    def shed(self, sid: int) -> None:
        """The image is all that is needed."""
        self._directories.shed(sid, ("fs", "work", _UNPACKED))

    def sync(self, sids: Sequence[int]) -> None:
        """An image is one file: no need to wait for whatever else the file system has to write."""
        for sid in sids:
            directory = self._directories.path(sid)
            image = directory / _IMAGE
            if not image.exists():
                self._directories.sync([sid])
                return
            for path in (image, directory, self._directories.root):
                _fsync(path)

    def remove(self, sid: int) -> None:
        """As the contract says. An overlay that still uses the image keeps it until it is unmounted."""
        self._unmount(self._directories.path(sid) / _LAYER)
        self._directories.remove(sid)

    def tally(self, sid: int, *, deep: bool = False) -> str:
        """Of the image; deep: of the files in it, because two images of one layer differ."""
        image = self._directories.path(sid) / _IMAGE
        try:
            return tally(self._layer(sid), deep=True) if deep else tally(image)
        except (FileNotFoundError, DataLoss) as error:
            raise NotFound(f"snapshot image {image} is gone", subject=str(sid)) from error
        except OSError as error:
            return f"unreadable: {error.strerror}"  # not what it was, then

    def exchange(self, sid: int, other: int) -> None:
        """As the contract says. Mounts would go with their directories, and show what they did."""
        with self._mounting:
            for number in (sid, other):
                self._unmount(self._directories.path(number) / _LAYER)
            self._directories.exchange(sid, other)

    def strays(self) -> list[str]:
        """As the contract says."""
        return self._directories.strays()

    def remove_stray(self, name: str) -> None:
        """As the contract says."""
        self._directories.remove_stray(name)

    def targets(self, sid: int) -> list[str]:
        """Where `fs`, or the image, is mounted, the driver's own mount left out."""
        layer = os.fspath(self._directories.path(sid) / _LAYER)
        mounts = read_mounts()
        devices = {entry.device for entry in mounts if entry.target == layer}
        found = [
            entry.target
            for entry in mounts
            if entry.target != layer and (entry.device in devices or layer in layers_of(entry.super_options))
        ]
        return self._directories.targets(sid) + found

    def ids(self) -> Iterator[int]:
        """As the contract says."""
        return self._directories.ids()

    def settle(self) -> None:
        """Wait until what was removed is off the disk."""
        self._directories.settle()

    def close(self) -> None:
        """Unmount every image."""
        for entry in list(mounts_below(self._directories.root)):
            self._unmount(Path(entry.target))

    def _layer(self, sid: int) -> str:
        """Where the image of `sid` is mounted."""
        directory = self._directories.path(sid)
        target = directory / _LAYER
        with self._mounting:
            try:
                if target.stat().st_dev != directory.stat().st_dev:
                    return os.fspath(target)
                mount_image(directory / _IMAGE, target)
            except FileNotFoundError:
                self._first(sid, target)
        return os.fspath(target)

    def _first(self, sid: int, target: Path) -> None:
        image = target.parent / _IMAGE
        if not image.exists():
            raise DataLoss(
                f"the image of layer {sid} is gone: {image}",
                hint="cortenctl system check --repair, or remove the image and pull it again",
            )
        target.mkdir(mode=0o700, exist_ok=True)
        mount_image(image, target)

    @staticmethod
    def _unmount(target: Path) -> None:
        """Nothing mounted is fine."""
        while True:
            try:
                umount(os.fspath(target), MNT_DETACH | UMOUNT_NOFOLLOW)
            except OSError as error:
                if error.errno in (errno.EINVAL, errno.ENOENT):
                    return
                raise


def mount_image(image: Path, target: Path) -> None:
    """Mount an EROFS image read-only: from the file where the kernel can, else through a loop device."""
    try:
        mount(os.fspath(image), os.fspath(target), "erofs", MS_RDONLY)
    except OSError as error:
        if error.errno != errno.ENOTBLK:
            raise
        with loop_device(image) as device:
            mount(device, os.fspath(target), "erofs", MS_RDONLY)


def require_support(root: str | os.PathLike[str]) -> None:
    """Write, mount and read a small image below `root`; raises Unavailable, saying why, where that does not work."""
    base = Path(root)
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="probe-", dir=base) as directory:
        image, target = Path(directory) / "image", Path(directory) / "mnt"
        target.mkdir()
        with image.open("wb") as file:
            erofs.Image(file.fileno()).finish(erofs.Directory(erofs.Attributes(0o40755)))
        try:
            mount_image(image, target)
            umount(os.fspath(target), MNT_DETACH | UMOUNT_NOFOLLOW)
        except OSError as error:
            known = error.errno in (errno.ENODEV, errno.ENOENT)
            reason = "the kernel has no erofs (or no loop devices)" if known else error.strerror
            raise Unavailable(
                f"erofs does not work on {base}: {reason}",
                hint="load the modules erofs and loop, or use the overlayfs snapshotter",
            ) from error


def _pack(source: Path, image: Path) -> None:
    """An image of a directory's files, made by a child: a big one keeps the daemon's interpreter for minutes."""
    argv = [sys.executable, "-I", "-S", "-c", _START, _PACKAGES, os.fspath(source), os.fspath(image), str(os.getpid())]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, env={"LC_ALL": "C.UTF-8"}, cwd="/", start_new_session=True
    )
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
        text = f"cannot make an image of a snapshot's files: {(reason or ['the child was killed'])[-1][:300]}"
        raise ResourceExhausted(text) if done.returncode == os.EX_IOERR else Internal(text)


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
