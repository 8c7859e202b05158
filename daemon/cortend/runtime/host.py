"""What services ask of the machine: facts, device nodes, files of a root file system and copies out of it."""

from __future__ import annotations

import errno
from pathlib import Path

from corten_shared.errors import InvalidArgument
from corten_shared.models.container import DeviceSpec
from cortend.core.hostfacts import Device, HostFacts
from cortend.linux.saferoot import SafeRoot
from cortend.runtime import copyup, devices
from cortend.runtime.facts import read_facts

_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class LinuxHost:
    """This machine. Every method blocks."""

    def facts(self) -> HostFacts:
        """The daemon's powers and the kernel's features."""
        return read_facts()

    def find_devices(self, wish: DeviceSpec) -> list[Device]:
        """The device nodes behind a path: itself, or those in the directory."""
        return devices.find_devices(wish)

    def read_file(self, rootfs: Path, path: str, limit: int) -> bytes:
        """A regular file below `rootfs`, resolved inside it; empty when it is missing or no regular file.

        Raises InvalidArgument for one that is longer than `limit`.
        """
        try:
            with SafeRoot(rootfs) as root:
                return root.read_file(path, limit)
        except OSError as error:
            if error.errno in (*_MISSING, errno.EINVAL):
                return b""
            if error.errno == errno.EFBIG:
                raise InvalidArgument(f"{path} of the image is longer than {limit} bytes") from error
            raise

    def copy_up(self, rootfs: Path, path: str, target: Path) -> None:
        """Copy the directory `path` of `rootfs`, resolved inside it, into the empty directory `target`."""
        with SafeRoot(rootfs) as root:
            try:
                source = root.open(path, copyup.DIRECTORY)
            except OSError as error:
                if error.errno in _MISSING:
                    return
                raise
            copyup.copy_tree(source, target)
