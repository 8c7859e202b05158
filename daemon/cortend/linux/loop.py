"""Loop devices (loop(4)): a file as a read-only block device that goes with its last user."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

LOOP_CTL_GET_FREE = 0x4C82
LOOP_SET_FD = 0x4C00
LOOP_CLR_FD = 0x4C01
LOOP_CONFIGURE = 0x4C0A
LO_FLAGS_READ_ONLY = 1
LO_FLAGS_AUTOCLEAR = 4
_CONFIG = struct.Struct("<II232s64x")
_FLAGS_AT = 52
_ATTEMPTS = 64


@contextmanager
def loop_device(path: str | os.PathLike[str]) -> Iterator[str]:
    """A device that shows the file, named for the length of the block; one that is mounted then lives with its mount.

    Raises OSError; ENOENT where the kernel has no loop devices.
    """
    backing = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        device, name = _attach(backing)
    finally:
        os.close(backing)
    try:
        yield name
    finally:
        os.close(device)


def _attach(backing: int) -> tuple[int, str]:
    """A free device with the file in it, open. Another process may be faster to take the free one: then the next."""
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_ATTEMPTS):
            name = f"/dev/loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}"
            device = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, LOOP_CONFIGURE, _config(backing))
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:
                    raise
            else:
                return device, name
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "no loop device stays free", "/dev/loop-control")


def _config(backing: int) -> bytes:
    """struct loop_config: descriptor, block size (0: the file's), struct loop_info64 with its flags."""
    info = bytearray(232)
    struct.pack_into("<I", info, _FLAGS_AT, LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR)
    return _CONFIG.pack(backing, 0, bytes(info))
