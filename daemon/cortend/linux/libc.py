"""The C library and the raw system call behind every other module of this package.

`errno` is kept per thread by ctypes, so these are thread-safe; ctypes releases the GIL while a call runs.
"""

from __future__ import annotations

import ctypes
import os

LIBC = ctypes.CDLL(None, use_errno=True)

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EMPTY_PATH = 0x1000

# System calls since Linux 5.1 have one number on every architecture; pivot_root has no wrapper in glibc.
SYS_OPEN_TREE = 428
SYS_MOVE_MOUNT = 429
SYS_FSOPEN = 430
SYS_FSCONFIG = 431
SYS_FSMOUNT = 432
SYS_CLOSE_RANGE = 436
SYS_OPENAT2 = 437
SYS_MOUNT_SETATTR = 442
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "loongarch64": 41, "s390x": 217, "ppc64le": 203}
SYS_PIVOT_ROOT = _PIVOT_ROOT.get(os.uname().machine, -1)


def check(result: int, *paths: str | bytes | int | None) -> int:
    """`result`, or the OSError of this thread's errno with the path (and second path) it was about."""
    if result >= 0:
        return result
    errno = ctypes.get_errno()
    names = [os.fsdecode(p) if isinstance(p, bytes) else p for p in paths if p is not None]
    if len(names) > 1:
        raise OSError(errno, os.strerror(errno), names[0], None, names[1])
    raise OSError(errno, os.strerror(errno), *names)


def syscall(number: int, *args: object, path: str | bytes | int | None = None) -> int:
    """A raw system call; integers are passed as 64-bit words, everything else as ctypes has it."""
    words = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    return check(LIBC.syscall(ctypes.c_long(number), *words), path)


def encode(path: str | bytes | os.PathLike[str] | None) -> bytes | None:
    """A path as the kernel takes it; refuses an embedded NUL, which would silently cut the name."""
    if path is None:
        return None
    raw = os.fsencode(path)
    if b"\0" in raw:
        raise ValueError("embedded null byte in a path")
    return raw
