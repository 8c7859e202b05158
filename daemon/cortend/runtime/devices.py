"""Device nodes of the host: those behind a `--device`, and all of them for privileged containers."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from corten_shared.errors import InvalidArgument
from corten_shared.models.container import DeviceSpec
from cortend.core.hostfacts import Device

MAX_DEVICES = 1024
"""Nodes that one wish for a directory may bring."""

_OWN = frozenset({"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console", "ptmx"})


def find_devices(wish: DeviceSpec) -> list[Device]:
    """The node behind a path, or those in and below a directory; raises InvalidArgument when there is
    none."""
    host, inside = Path(wish.host_path), wish.container_path or wish.host_path
    try:
        if host.is_dir():
            found = [
                node._replace(path=str(PurePosixPath(inside) / Path(node.path).relative_to(host)))
                for node in _walk(host, skip=frozenset())
            ]
        else:
            node = _device(host, host.stat())
            found = [node._replace(path=inside)] if node else []
    except OSError as error:
        raise InvalidArgument(
            f'error gathering device information while adding custom device "{wish.host_path[:200]}": '
            f"{(error.strerror or str(error)).lower()}"
        ) from error
    if not found:
        raise InvalidArgument(
            f'error gathering device information while adding custom device "{wish.host_path[:200]}": '
            "not a device node"
        )
    return found


def host_devices() -> list[Device]:
    """Every node in the host's /dev but those that a container has of its own."""
    return list(_walk(Path("/dev"), skip=_OWN))


def _walk(directory: Path, skip: frozenset[str]) -> Iterator[Device]:
    count = 0
    for parent, names, files in os.walk(directory):
        names[:] = [name for name in names if name not in skip]
        for name in sorted(files):
            path = Path(parent) / name
            if name in skip or path.is_symlink():
                continue
            try:
                device = _device(path, path.lstat())
            except OSError:
                continue
            if device is not None:
                count += 1
                if count > MAX_DEVICES:
                    return
                yield device


def _device(path: Path, status: os.stat_result) -> Device | None:
    if stat.S_ISCHR(status.st_mode):
        kind = "c"
    elif stat.S_ISBLK(status.st_mode):
        kind = "b"
    else:
        return None
    number = status.st_rdev
    mode = stat.S_IMODE(status.st_mode)
    return Device(str(path), kind, os.major(number), os.minor(number), mode, status.st_uid, status.st_gid)
