"""What a container changed of its image.

overlayfs: its own layer is read, marks and all. native: the two trees are compared. Both by descriptor, links not
followed: the container may be running.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from corten_shared.errors import ResourceExhausted
from corten_shared.models.snapshot import Mount
from cortend.core.containerfiles import Change
from cortend.linux.files import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

MODIFIED, ADDED, DELETED = 0, 1, 2
_MOST = 2_000_000
_OPAQUE = "trusted.overlay.opaque"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_INSIDE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
_GONE = (FileNotFoundError, NotADirectoryError)
_MOUNT_POINTS = frozenset(
    {
        "/.dockerenv", "/dev", "/dev/console", "/dev/pts", "/dev/shm",  # noqa: S108
        "/dev/mqueue", "/proc", "/sys", "/etc/hosts",
        "/etc/hostname", "/etc/resolv.conf",
    }
)  # fmt: skip
"""Empty files and directories that every start makes to mount on: not the user's doing (docker has them lower)."""


def changes(mounts: Sequence[Mount], parent: Sequence[Mount]) -> list[Change]:
    """See `core.containerfiles.Archiver`."""
    own, lower = _layers(mounts)
    with ExitStack() as stack:
        top = _open(stack, own)
        if lower:
            found = list(_Overlay(_Lower([_open(stack, layer) for layer in lower])).walk(top, ""))
        else:
            below = [_open(stack, layer) for layer in _sources(parent)]
            found = list(_Compare().walk(top, below[0] if below else -1, ""))
    return sorted(set(found))


def _open(stack: ExitStack, path: str) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return fd


def _sources(mounts: Sequence[Mount]) -> list[str]:
    return [mount.source for mount in mounts if mount.type == "bind"]


def _layers(mounts: Sequence[Mount]) -> tuple[str, list[str]]:
    """(the container's own directory, the layers below it, nearest first, for an overlay)."""
    options = dict(option.partition("=")[::2] for option in mounts[0].options)
    if "upperdir" in options:
        return options["upperdir"], options["lowerdir"].split(":")
    return mounts[0].source, []


def _names(fd: int) -> list[str]:
    return os.listdir(fd)


def _lstat(name: str, fd: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except _GONE:
        return None


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _is_start(path: str, found: os.stat_result) -> bool:
    """Whether this is an empty mount point that a start made."""
    if path not in _MOUNT_POINTS:
        return False
    return stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and not found.st_size)


def _same_owner(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_mode, one.st_uid, one.st_gid) == (other.st_mode, other.st_uid, other.st_gid)


class _Lower:
    """The layers below, as overlayfs would show them."""

    def __init__(self, layers: list[int]) -> None:
        self._layers = layers

    def find(self, path: str) -> os.stat_result | None:
        """What `path` is there; None when no layer has it, or one deletes it before another has it."""
        for layer in self._layers:
            found = self._stat(layer, path)
            if found is not None:
                return None if _is_whiteout(found) else found
            if self._hides(layer, path):
                return None
        return None

    def names(self, path: str) -> set[str]:
        """What the directory holds."""
        shown: set[str] = set()
        for layer in self._layers:
            try:
                fd = openat2(path.lstrip("/") or ".", _DIRECTORY, resolve=_INSIDE, dir_fd=layer)
            except OSError:
                if self._hides(layer, path):
                    break
                continue
            try:
                shown.update(os.listdir(fd))
                if _opaque(fd):
                    break
            finally:
                os.close(fd)
        return {name for name in shown if self.find(f"{path}/{name}") is not None}

    @staticmethod
    def _stat(layer: int, path: str) -> os.stat_result | None:
        try:
            fd = openat2(path.lstrip("/") or ".", os.O_PATH | os.O_NOFOLLOW, resolve=_INSIDE, dir_fd=layer)
        except OSError:
            return None
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def _hides(self, layer: int, path: str) -> bool:
        """Whether a directory above `path` is replaced or opaque in this layer."""
        parts = path.strip("/").split("/")
        for count in range(1, len(parts)):
            found = self._stat(layer, "/".join(parts[:count]))
            if found is None:
                return False
            if not stat.S_ISDIR(found.st_mode):
                return True
            fd = openat2("/".join(parts[:count]), _DIRECTORY, resolve=_INSIDE, dir_fd=layer)
            try:
                if _opaque(fd):
                    return True
            finally:
                os.close(fd)
        return False


def _opaque(fd: int) -> bool:
    try:
        return os.getxattr(fd, _OPAQUE) == b"y"
    except OSError:
        return False


class _Counted:
    """Bounds a walk: what a container may have made knows no end."""

    def __init__(self) -> None:
        self._count = 0

    def count(self, path: str) -> None:
        """Note one more file."""
        self._count += 1
        if self._count > _MOST or path.count("/") > 400:
            raise ResourceExhausted(f"the container has too many files to compare (at {path[:200]!r})")


class _Overlay(_Counted):
    """Reads an upper directory."""

    def __init__(self, lower: _Lower) -> None:
        super().__init__()
        self._lower = lower

    def walk(self, fd: int, path: str) -> Iterator[Change]:
        """Changes below the open directory."""
        for name in _names(fd):
            inside = f"{path}/{name}"
            self.count(inside)
            found = _lstat(name, fd)
            if found is None:
                continue
            before = self._lower.find(inside)
            if _is_whiteout(found):
                if before is not None:
                    yield Change(inside, DELETED)
            elif stat.S_ISDIR(found.st_mode):
                yield from self._directory(fd, name, inside, found, before)
            elif before is not None:
                yield Change(inside, MODIFIED)
            elif not _is_start(inside, found):
                yield Change(inside, ADDED)

    def _directory(
        self, fd: int, name: str, path: str, found: os.stat_result, before: os.stat_result | None
    ) -> Iterator[Change]:
        try:
            inner = os.open(name, _DIRECTORY, dir_fd=fd)
        except OSError:
            return  # it went meanwhile
        try:
            below = list(self.walk(inner, path))
            if before is not None and _opaque(inner):
                gone = self._lower.names(path) - set(os.listdir(inner))
                below += [Change(f"{path}/{other}", DELETED) for other in gone]
        finally:
            os.close(inner)
        if before is None:
            if below or not _is_start(path, found):
                yield Change(path, ADDED)
        elif below or not _same_owner(found, before):
            yield Change(path, MODIFIED)
        yield from below


class _Compare(_Counted):
    """Compares two trees; -1 stands for an empty one."""

    def walk(self, new: int, old: int, path: str) -> Iterator[Change]:
        """Changes below two open directories of one name."""
        before = set(os.listdir(old)) if old >= 0 else set()
        after = set(os.listdir(new))
        for name in before - after:
            yield Change(f"{path}/{name}", DELETED)
        for name in after:
            inside = f"{path}/{name}"
            self.count(inside)
            found = _lstat(name, new)
            if found is not None:
                yield from self._one(new, old, name, inside, found, _lstat(name, old) if name in before else None)

    def _one(
        self, new: int, old: int, name: str, path: str, found: os.stat_result, before: os.stat_result | None
    ) -> Iterator[Change]:
        if not stat.S_ISDIR(found.st_mode):
            if before is None:
                if not _is_start(path, found):
                    yield Change(path, ADDED)
            elif _differs(found, before):
                yield Change(path, MODIFIED)
            return
        both = before is not None and stat.S_ISDIR(before.st_mode)
        with ExitStack() as stack:
            try:
                inner = stack.enter_context(_Closing(os.open(name, _DIRECTORY, dir_fd=new))).fd
            except OSError:
                return
            outer = stack.enter_context(_Closing(os.open(name, _DIRECTORY, dir_fd=old))).fd if both else -1
            below = list(self.walk(inner, outer, path))
        if before is None:
            if below or not _is_start(path, found):
                yield Change(path, ADDED)
        elif below or not _same_owner(found, before):
            yield Change(path, MODIFIED)
        yield from below


class _Closing:
    """A descriptor for the length of a block."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __enter__(self) -> _Closing:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self.fd)


def _differs(one: os.stat_result, other: os.stat_result) -> bool:
    if not _same_owner(one, other) or one.st_rdev != other.st_rdev:
        return True
    return (one.st_size, one.st_mtime_ns) != (other.st_size, other.st_mtime_ns)
