"""Giving up privileges: capabilities, no_new_privs, inherited descriptors, and other prctl(2) calls."""

from __future__ import annotations

import ctypes
import errno
import os

from cortend.linux.libc import LIBC, SYS_CLOSE_RANGE, check, syscall

CAP_CHOWN = 0
CAP_DAC_OVERRIDE = 1
CAP_FOWNER = 3
CAP_FSETID = 4
CAP_SYS_ADMIN = 21
CAP_MKNOD = 27
CAP_SETFCAP = 31

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

CLOSE_RANGE_CLOEXEC = 1 << 2
_CAPABILITY_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def prctl(option: int, arg: int = 0, arg3: int = 0) -> int:
    """prctl(2) with up to two integer arguments."""
    words = (ctypes.c_ulong(arg), ctypes.c_ulong(arg3), ctypes.c_ulong(0), ctypes.c_ulong(0))
    return check(LIBC.prctl(ctypes.c_int(option), *words))


def set_no_new_privs() -> None:
    """From here on execve gives no new privileges (setuid bits and file capabilities are ignored)."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def set_subreaper() -> None:
    """Become the parent of orphaned descendants."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(signal_number: int, parent: int) -> None:
    """Get `signal_number` when the parent (its creating thread) dies; exits at once if that already happened."""
    prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        os._exit(1)


def capget() -> tuple[int, int, int]:
    """This thread's (effective, permitted, inheritable) sets as bit masks."""
    header, data = _Header(_CAPABILITY_VERSION_3, 0), (_Data * 2)()
    check(LIBC.capget(ctypes.byref(header), data))
    low, high = data
    return (
        low.effective | high.effective << 32,
        low.permitted | high.permitted << 32,
        low.inheritable | high.inheritable << 32,
    )


def capset(effective: int, permitted: int, inheritable: int = 0) -> None:
    """Set this thread's capability sets from bit masks."""
    header, data = _Header(_CAPABILITY_VERSION_3, 0), (_Data * 2)()
    for index in (0, 1):
        shift = 32 * index
        data[index] = _Data(
            effective >> shift & 0xFFFFFFFF, permitted >> shift & 0xFFFFFFFF, inheritable >> shift & 0xFFFFFFFF
        )
    check(LIBC.capset(ctypes.byref(header), data))


def drop_capabilities(keep: set[int]) -> None:
    """Keep only what is in `keep` and held already; nothing inheritable or ambient, bounding set cut alike."""
    mask = sum(1 << number for number in keep) & capget()[1]
    for number in range(64):
        if not mask >> number & 1 and _is_capability(number):
            prctl(PR_CAPBSET_DROP, number)
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    capset(mask, mask)


def _is_capability(number: int) -> bool:
    """Whether the kernel knows it; needs no /proc, so it works in an empty root."""
    try:
        prctl(PR_CAPBSET_READ, number)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise
    return True


def close_range(first: int, last: int = 0xFFFFFFFF, flags: int = 0) -> None:
    """Close descriptors `first` to `last`, or mark them close-on-exec with CLOSE_RANGE_CLOEXEC."""
    syscall(SYS_CLOSE_RANGE, first, last, flags)
