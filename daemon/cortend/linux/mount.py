"""Mounting: mount(2), umount2(2), the descriptor-based mount calls, and lists of mounts as snapshots describe them.

`mount_all` is what performs a snapshot's `list[Mount]`. Options are fstab's: flags become MS_*, `x-…` is a remark for
programs and ignored, the rest is the file system's own data.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os

from cortend.linux.libc import (
    AT_FDCWD,
    LIBC,
    SYS_FSCONFIG,
    SYS_FSMOUNT,
    SYS_FSOPEN,
    SYS_MOUNT_SETATTR,
    SYS_MOVE_MOUNT,
    SYS_OPEN_TREE,
    check,
    encode,
    syscall,
)

TYPE_CHECKING = False  # the unpack child imports this module: `typing` would cost it milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Protocol

    class MountLike(Protocol):
        """What `mount_all` reads of a mount: `corten_shared.models.snapshot.Mount` has this shape."""

        @property
        def type(self) -> str:
            """A file system type, or `bind`."""

        @property
        def source(self) -> str:
            """A path or the file system's idea of a device."""

        @property
        def options(self) -> Sequence[str]:
            """As in fstab, not joined."""


MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_SYNCHRONOUS = 0x10
MS_REMOUNT = 0x20
MS_DIRSYNC = 0x80
MS_NOSYMFOLLOW = 0x100
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_SILENT = 0x8000
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

MNT_FORCE = 0x1
MNT_DETACH = 0x2
MNT_EXPIRE = 0x4
UMOUNT_NOFOLLOW = 0x8

FSOPEN_CLOEXEC = 0x1
FSMOUNT_CLOEXEC = 0x1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40
OPEN_TREE_CLONE = 0x1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
AT_RECURSIVE = 0x8000

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

CLONE_FS = 0x200
DATA_MAX = 4095
"""The bytes of file system data that mount(2) takes: one page, with its NUL."""

_SET = {
    "ro": MS_RDONLY, "nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC, "sync": MS_SYNCHRONOUS,
    "dirsync": MS_DIRSYNC, "remount": MS_REMOUNT, "noatime": MS_NOATIME, "nodiratime": MS_NODIRATIME,
    "bind": MS_BIND, "rbind": MS_BIND | MS_REC, "relatime": MS_RELATIME, "strictatime": MS_STRICTATIME,
    "lazytime": MS_LAZYTIME, "nosymfollow": MS_NOSYMFOLLOW, "silent": MS_SILENT,
}  # fmt: skip
_CLEAR = {
    "rw": MS_RDONLY, "suid": MS_NOSUID, "dev": MS_NODEV, "exec": MS_NOEXEC, "async": MS_SYNCHRONOUS,
    "atime": MS_NOATIME, "diratime": MS_NODIRATIME, "norelatime": MS_RELATIME, "nolazytime": MS_LAZYTIME,
    "symfollow": MS_NOSYMFOLLOW, "loud": MS_SILENT, "defaults": 0,
}  # fmt: skip
_PROPAGATION = {
    "private": MS_PRIVATE, "rprivate": MS_PRIVATE | MS_REC, "slave": MS_SLAVE, "rslave": MS_SLAVE | MS_REC,
    "shared": MS_SHARED, "rshared": MS_SHARED | MS_REC, "unbindable": MS_UNBINDABLE,
    "runbindable": MS_UNBINDABLE | MS_REC,
}  # fmt: skip
_ATTRIBUTES = {
    MS_RDONLY: MOUNT_ATTR_RDONLY, MS_NOSUID: MOUNT_ATTR_NOSUID, MS_NODEV: MOUNT_ATTR_NODEV,
    MS_NOEXEC: MOUNT_ATTR_NOEXEC, MS_NOATIME: MOUNT_ATTR_NOATIME, MS_NOSYMFOLLOW: MOUNT_ATTR_NOSYMFOLLOW,
}  # fmt: skip


def mount(
    source: str | bytes | None,
    target: str | bytes,
    fstype: str | None = None,
    flags: int = 0,
    data: str | None = None,
) -> None:
    """mount(2). Follows links in `target`: only for paths that nobody else can change."""
    result = LIBC.mount(
        encode(source), encode(target), encode(fstype), ctypes.c_ulong(flags), encode(data)
    )
    check(result, source or target, target if source else None)


def umount(target: str | bytes, flags: int = UMOUNT_NOFOLLOW) -> None:
    """umount2(2) of the topmost mount on `target`."""
    check(LIBC.umount2(encode(target), ctypes.c_int(flags)), target)


def make_private(target: str = "/") -> None:
    """Stop mounts and unmounts at and below `target` from travelling to or from other mount namespaces."""
    mount(None, target, None, MS_REC | MS_PRIVATE)


def fsopen(fstype: str) -> int:
    """A context descriptor to configure a file system of type `fstype`; close it."""
    return syscall(SYS_FSOPEN, ctypes.c_char_p(encode(fstype)), FSOPEN_CLOEXEC, path=fstype)


def fsconfig(fd: int, command: int, key: str | None = None, value: str | None = None) -> None:
    """fsconfig(2) with a text value (255 bytes at most, the kernel's limit) or none."""
    key_ = ctypes.c_char_p(encode(key))
    syscall(SYS_FSCONFIG, fd, command, key_, ctypes.c_char_p(encode(value)), 0, path=value or key)


def fsmount(fd: int, attributes: int = 0) -> int:
    """The configured file system as a detached mount's descriptor; close it."""
    return syscall(SYS_FSMOUNT, fd, FSMOUNT_CLOEXEC, attributes)


def move_mount(fd: int, target: str | bytes | int) -> None:
    """Attach the detached mount `fd` at the path, or on the open directory, `target`."""
    if isinstance(target, int):
        dirfd, path, flags = target, b"", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    else:
        dirfd, path, flags = AT_FDCWD, encode(target) or b"", MOVE_MOUNT_F_EMPTY_PATH
    syscall(
        SYS_MOVE_MOUNT, fd, ctypes.c_char_p(b""), dirfd, ctypes.c_char_p(path), flags, path=target
    )


def open_tree(path: str | bytes, *, dir_fd: int = AT_FDCWD, flags: int = OPEN_TREE_CLONE) -> int:
    """With OPEN_TREE_CLONE: a detached bind mount of `path` (add AT_RECURSIVE for the mounts below); close it."""
    return syscall(SYS_OPEN_TREE, dir_fd, ctypes.c_char_p(encode(path)), flags | OPEN_TREE_CLOEXEC, path=path)


class _MountAttr(ctypes.Structure):
    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


def mount_setattr(
    path: str | bytes, *, dir_fd: int = AT_FDCWD, flags: int = 0, attr_set: int = 0, attr_clr: int = 0
) -> None:
    """Set and clear MOUNT_ATTR_* of a mount (`flags`: AT_EMPTY_PATH for `dir_fd` itself, AT_RECURSIVE)."""
    attr = _MountAttr(attr_set=attr_set, attr_clr=attr_clr)
    syscall(
        SYS_MOUNT_SETATTR, dir_fd, ctypes.c_char_p(encode(path)), flags,
        ctypes.byref(attr), ctypes.sizeof(attr), path=path,
    )  # fmt: skip


def parse_options(options: Sequence[str]) -> tuple[int, int, list[str]]:
    """fstab options as (MS_* flags, propagation flags, the file system's own options)."""
    flags = propagation = 0
    data: list[str] = []
    for option in options:
        if option in _SET:
            flags |= _SET[option]
        elif option in _CLEAR:
            flags &= ~_CLEAR[option]
        elif option in _PROPAGATION:
            propagation |= _PROPAGATION[option]
        elif option and not option.startswith(("x-", "X-")):
            data.append(option)
    return flags, propagation, data


def mount_one(entry: MountLike, target: str) -> None:
    """Perform one mount on the existing `target`; on failure nothing stays mounted."""
    flags, propagation, data = parse_options(entry.options)
    if entry.type == "bind" or flags & MS_BIND:
        _bind(entry.source, target, flags | MS_BIND)
    elif len(",".join(data).encode()) <= DATA_MAX:
        mount(entry.source, target, entry.type, flags, ",".join(data))
    elif entry.type == "overlay":
        _mount_long_overlay(entry.source, target, flags, data)
    else:
        raise OSError(errno.E2BIG, "mount options do not fit in a page", target)
    if propagation:
        _or_unmount(target, propagation)


def mount_all(mounts: Sequence[MountLike], target: str | os.PathLike[str]) -> None:
    """Perform `mounts` in order on the existing directory (or file) `target`; all or none."""
    path = os.fspath(target)
    done = 0
    try:
        for entry in mounts:
            mount_one(entry, path)
            done += 1
    except BaseException:
        for _ in range(done):
            umount(path, MNT_DETACH | UMOUNT_NOFOLLOW)
        raise


def unmount_all(target: str | os.PathLike[str]) -> int:
    """Unmount (lazily: a busy file keeps only itself) whatever is stacked on `target`; how many there were.

    Nothing mounted, or no such path, is fine.
    """
    path, count = os.fspath(target), 0
    while True:
        try:
            umount(path, MNT_DETACH | UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return count
            raise
        count += 1


@contextlib.contextmanager
def mounted(mounts: Sequence[MountLike], target: str | os.PathLike[str]) -> Iterator[str]:
    """`mounts` on `target` for the length of a block; afterwards they are unmounted."""
    mount_all(mounts, target)
    try:
        yield os.fspath(target)
    finally:
        for _ in mounts:
            umount(os.fspath(target), MNT_DETACH | UMOUNT_NOFOLLOW)


def _bind(source: str, target: str, flags: int) -> None:
    """A bind mount; the kernel ignores other flags until a second call sets them."""
    mount(source, target, None, flags & (MS_BIND | MS_REC))
    if rest := flags & ~(MS_BIND | MS_REC):
        _or_unmount(target, MS_REMOUNT | MS_BIND | rest)


def _or_unmount(target: str, flags: int) -> None:
    """Change the fresh mount on `target`; take it away again if that fails."""
    try:
        mount(None, target, None, flags)
    except OSError:
        umount(target, MNT_DETACH | UMOUNT_NOFOLLOW)
        raise


def _mount_long_overlay(source: str, target: str, flags: int, data: list[str]) -> None:
    """An overlay of more layers than fit in mount(2)'s page.

    Linux 6.5 takes layers one by one (`lowerdir+`); older ones get names relative to the layers' common directory.
    """
    try:
        detached = _overlay_detached(source, flags, data)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        _mount_shortened(source, target, flags, data)
        return
    try:
        move_mount(detached, target)
    finally:
        os.close(detached)


def _overlay_detached(source: str, flags: int, data: list[str]) -> int:
    attributes = 0
    for flag, attribute in _ATTRIBUTES.items():
        if flags & flag:
            attributes |= attribute
    fd = fsopen("overlay")
    try:
        fsconfig(fd, FSCONFIG_SET_STRING, "source", source)
        for option in data:
            key, equals, value = option.partition("=")
            if key == "lowerdir":
                for layer in value.split(":"):
                    fsconfig(fd, FSCONFIG_SET_STRING, "lowerdir+", layer)
            elif equals:
                fsconfig(fd, FSCONFIG_SET_STRING, key, value)
            else:
                fsconfig(fd, FSCONFIG_SET_FLAG, key)
        fsconfig(fd, FSCONFIG_CMD_CREATE)
        return fsmount(fd, attributes)
    finally:
        os.close(fd)


def _mount_shortened(source: str, target: str, flags: int, data: list[str]) -> None:
    """Layers by names relative to their common directory, on a thread that has a working directory of its own."""
    import threading

    layers = next((option for option in data if option.startswith("lowerdir=")), "lowerdir=")[9:].split(":")
    base = os.path.commonpath(layers)
    short = ":".join(os.path.relpath(layer, base) for layer in layers)
    text = ",".join(f"lowerdir={short}" if option.startswith("lowerdir=") else option for option in data)
    if len(text.encode()) > DATA_MAX:
        raise OSError(errno.E2BIG, f"{len(layers)} layers do not fit in one overlay mount", target)
    failure: list[OSError] = []
    where = os.path.abspath(target)

    def run() -> None:
        try:
            check(LIBC.unshare(ctypes.c_int(CLONE_FS)))
            os.chdir(base)
            mount(source, where, "overlay", flags, text)
        except OSError as error:
            failure.append(error)

    thread = threading.Thread(target=run, name="mount")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
