"""A power cut, as far as software can make one: an ext4 file system of the test's own that stops at once.

    with LoopDisk(tmp_path) as disk:
        ... write below disk.path ...
        disk.cut()              nothing that is not on the medium will get there; every access fails from now on
        disk.mount_again()      the journal is replayed, as at the next boot

EXT4_IOC_SHUTDOWN with NOLOGFLUSH (fs/ext4/ioctl.c): what was written and not synced is lost, data and names alike.

The disk is mounted in a mount namespace of its own: whoever makes a namespace on this machine meanwhile would have a
copy of the mount, and keep the dead file system alive. `disk.inside(path)` is where everybody finds a path of it.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from pathlib import Path

from daemon import Cortend, eventually

_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2


class LoopDisk:
    """A small ext4 on a loop device."""

    def __init__(self, base: Path, size: str = "384M") -> None:
        self.path = base / "disk"
        self._image = base / "disk.ext4"
        self._size = size

    def __enter__(self) -> LoopDisk:
        self.path.mkdir()
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; exec cat"]
        self._holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        self._holder.stdout.readline()  # it is in its namespace now
        self.prefix = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--"]
        subprocess.run(["truncate", "-s", self._size, self._image], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-F", self._image], check=True)
        self._mount()
        return self

    def __exit__(self, *exc: object) -> None:
        subprocess.run([*self.prefix, "umount", "-l", self.path], capture_output=True)
        self._holder.communicate()

    def inside(self, path: Path) -> Path:
        """The same path, as it is in the disk's namespace."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    def cut(self) -> None:
        """The power goes."""
        descriptor = os.open(self.inside(self.path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def mount_again(self) -> None:
        """And comes back."""
        eventually(self._unmount, f"{self.path} can be unmounted")
        eventually(self._released, f"{self._image} has no loop device any more")
        self._mount()

    def _unmount(self) -> bool:
        return subprocess.run([*self.prefix, "umount", self.path], capture_output=True).returncode == 0

    def _released(self) -> bool:
        return not subprocess.run(["losetup", "-j", self._image], capture_output=True, check=True).stdout

    def _mount(self) -> None:
        subprocess.run([*self.prefix, "mount", "-o", "loop", self._image, self.path], check=True)


class PoweredDaemon(Cortend):
    """A daemon whose data root is on such a disk."""

    def __init__(self, base: Path, disk: LoopDisk, *, config: str = "") -> None:
        super().__init__(base, config=f"[gc]\ndelay = 0.05\n{config}")
        self.disk = disk
        self.root.symlink_to(disk.path)
        self.prefix = disk.prefix

    def lose_power(self) -> None:
        """Cut, and let the processes go that a real cut would have taken with it."""
        self.disk.cut()
        self.kill()

    def boot(self) -> None:
        """Mount what is left, and start."""
        self.disk.mount_again()
        self.start()
