"""`overlayfs`: each snapshot is one layer's directory; the kernel shows a chain of them as one tree.

No parent: `fs` is bind-mounted as it is. Active on parents: an overlay with `fs` on top. View: the parents
alone, read-only. Layers keep their whiteouts as overlayfs's marks, so one may be unpacked before its parents are.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from corten_shared.errors import InvalidArgument, Unavailable
from corten_shared.models.snapshot import Kind, Mount, Usage
from cortend.core.snapshots import OVERLAY_MARKS
from cortend.linux.mount import mounted
from cortend.snapshots.directories import Directories

MAX_PARENTS = 500
"""What the kernel stacks (OVL_MAX_STACK)."""


class OverlayDriver:
    """See `core.snapshots.SnapshotDriver`."""

    name = "overlayfs"
    rebases = True

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._directories = Directories(root)

    def create(self, sid: int, kind: Kind, parents: Sequence[int]) -> None:
        """Empty directories; `fs` of an active snapshot takes the nearest parent's owner and mode."""
        if len(parents) > MAX_PARENTS:
            raise InvalidArgument(f"{len(parents)} layers are more than overlayfs stacks ({MAX_PARENTS})")
        base = self._directories.files(parents[0]) if parents else None

        def fill(new: Path) -> None:
            (new / "fs").mkdir()
            (new / "fs").chmod(0o755)
            if kind is Kind.ACTIVE:
                (new / "work").mkdir(mode=0o700)
                if base:
                    like(base, new / "fs")

        self._directories.create(sid, fill)

    def mounts(self, sid: int, kind: Kind, parents: Sequence[int]) -> list[Mount]:
        """One mount: bind or overlay."""
        own = self._directories.files(sid)
        lower = [str(self._directories.files(parent)) for parent in parents]
        if kind is Kind.ACTIVE:
            if not lower:
                return [Mount(type="bind", source=str(own), options=["rw", "rbind", OVERLAY_MARKS])]
            work = self._directories.path(sid) / "work"
            return [overlay_mount(lower, f"upperdir={own}", f"workdir={work}")]
        if kind is Kind.COMMITTED:
            lower.insert(0, str(own))
        if len(lower) > 1:
            return [overlay_mount(lower, "ro")]
        return [Mount(type="bind", source=lower[0] if lower else str(own), options=["ro", "rbind"])]

    def usage(self, sid: int) -> Usage:
        """Of the snapshot's own layer."""
        return self._directories.usage(sid)

    def seal(self, sid: int) -> None:
        """A directory is as good below as above."""

    def shed(self, sid: int) -> None:
        """Nothing is left over."""

    def sync(self, sids: Sequence[int]) -> None:
        """As the contract says."""
        self._directories.sync(sids)

    def remove(self, sid: int) -> None:
        """As the contract says; deletion goes on behind."""
        self._directories.remove(sid)

    def tally(self, sid: int, *, deep: bool = False) -> str:
        """As the contract says."""
        return self._directories.tally(sid, deep=deep)

    def exchange(self, sid: int, other: int) -> None:
        """As the contract says."""
        self._directories.exchange(sid, other)

    def strays(self) -> list[str]:
        """As the contract says."""
        return self._directories.strays()

    def remove_stray(self, name: str) -> None:
        """As the contract says."""
        self._directories.remove_stray(name)

    def targets(self, sid: int) -> list[str]:
        """As the contract says."""
        return self._directories.targets(sid)

    def ids(self) -> Iterator[int]:
        """As the contract says."""
        return self._directories.ids()

    def settle(self) -> None:
        """Wait until what was removed is off the disk."""
        self._directories.settle()


def require_support(root: str | os.PathLike[str]) -> None:
    """Mount a small overlay below `root`; raises Unavailable, saying why, where that does not work."""
    base = Path(root)
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="probe-", dir=base) as directory:
        paths = {name: Path(directory) / name for name in ("one", "two", "upper", "work", "merged")}
        for path in paths.values():
            path.mkdir()
        (paths["two"] / "file").touch()
        mount = overlay_mount(
            [str(paths["one"]), str(paths["two"])], f"upperdir={paths['upper']}", f"workdir={paths['work']}"
        )
        try:
            with mounted([mount], paths["merged"]):
                (paths["merged"] / "file").unlink()
        except OSError as error:
            raise Unavailable(
                f"overlayfs does not work on {base}: {error.strerror}",
                hint="use ext4 or xfs (with ftype=1), or the native snapshotter",
            ) from error


def supported(root: str | os.PathLike[str]) -> bool:
    """Whether `require_support` passes."""
    try:
        require_support(root)
    except Unavailable:
        return False
    return True


def overlay_mount(lower: Sequence[str], *options: str) -> Mount:
    """An overlay of these layers, the topmost first."""
    # index=off: many mounts share a layer. The others off: a layer must make sense by itself, in any stack.
    fixed = ["index=off", "redirect_dir=off", "metacopy=off"]
    return Mount(type="overlay", source="overlay", options=[*options, f"lowerdir={':'.join(lower)}", *fixed])


def like(source: Path, target: Path) -> None:
    """Owner and mode: the topmost directory's are what the merged root shows."""
    found = source.stat()
    os.chown(target, found.st_uid, found.st_gid)
    target.chmod(found.st_mode & 0o7777)
