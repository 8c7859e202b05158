"""Namespaces: unshare(2), setns(2), pivot_root(2)."""

from __future__ import annotations

import ctypes
import os

from cortend.linux.libc import LIBC, SYS_PIVOT_ROOT, check, encode, syscall
from cortend.linux.mount import MNT_DETACH, umount

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000


def unshare(flags: int) -> None:
    """Leave the namespaces in `flags` for new ones (this thread only, except for CLONE_NEWUSER)."""
    check(LIBC.unshare(ctypes.c_int(flags)))


def setns(fd: int, kind: int = 0) -> None:
    """Enter the namespace behind `fd` (of `kind`, or any); affects the calling thread only."""
    check(LIBC.setns(ctypes.c_int(fd), ctypes.c_int(kind)), fd)


def pivot_root(new_root: str | bytes, put_old: str | bytes) -> None:
    """Make the mount `new_root` the root and hang the old one on `put_old`."""
    syscall(SYS_PIVOT_ROOT, ctypes.c_char_p(encode(new_root)), ctypes.c_char_p(encode(put_old)), path=new_root)


def enter_root(path: str | bytes) -> None:
    """Make the mount point `path` this mount namespace's root and drop every other mount.

    Needs a mount namespace of one's own with private propagation. Afterwards nothing of the old tree can be
    reached by any name (descriptors opened before still can). See pivot_root(2), "pivot_root(".", ".")".
    """
    os.chdir(path)
    pivot_root(".", ".")
    umount(".", MNT_DETACH)
    os.chdir("/")
