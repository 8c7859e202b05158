"""Bundle directories: where a task's files are while it exists.

    <state root>/bundles/<ns>/<id>/          0700
        config.json                          the OCI configuration
        rootfs/                              mount point of the container's root
        monitor                              conmon's pid and start time, from its first moment on
        task.json                            state.TaskState: what a restarted daemon must know
        attach ctl winsz                     conmon's socket and fifos
        pid                                  init's number, from the runtime
        runtime.log                          the runtime's own errors (JSON lines)
        exit oom                             from conmon: the exit code; present if the OOM killer came
        execs/<exec id>/                     process.json and, for that process, all of the above but rootfs

Everything is on a tmpfs and goes with the task. A root file system is somebody else's data: before a runtime
mounts anything in it, its /dev, /proc, /sys and /etc must be real directories (CVE-2025-31133, -52565,
-52881: a link there made runc write to the host).
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from corten_shared.errors import Internal, InvalidArgument
from corten_shared.models.snapshot import Mount
from cortend.core.runtime import Bundle, TaskKey
from cortend.linux import mount
from cortend.linux.saferoot import SafeRoot

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z")
_REQUIRED = ("/dev", "/proc", "/sys", "/etc")
_ACCOUNTS = ("/etc/passwd", "/etc/group")


class Bundles:
    """The bundles below one directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, key: TaskKey) -> Path:
        """The bundle's directory, there or not; raises InvalidArgument for a name that is no file name."""
        for name in key:
            if not _NAME.match(name):
                raise InvalidArgument(f"invalid task name {name[:80]!r}")
        return self._root / key.ns / key.id

    def exec_path(self, key: TaskKey, exec_id: str) -> Path:
        """An exec's directory."""
        if not _NAME.match(exec_id):
            raise InvalidArgument(f"invalid exec id {exec_id[:80]!r}")
        return self.path(key) / "execs" / exec_id

    def prepare(self, key: TaskKey, mounts: Sequence[Mount]) -> Bundle:
        """Make the directory, mount the root and check it; on failure nothing is left."""
        path = self.path(key)
        rootfs = path / "rootfs"
        if not mounts:
            raise InvalidArgument(f"{key.id} has no root file system to mount", subject=key.id)
        self.remove(key)
        rootfs.mkdir(mode=0o700, parents=True)
        try:
            mount.mount_all(mounts, rootfs)
            check_root(rootfs)
        except OSError as error:
            self.remove(key)
            raise Internal(f"cannot mount the root file system of {key.id}: {error}", subject=key.id) from error
        except BaseException:
            self.remove(key)
            raise
        return Bundle(path, rootfs)

    def remove(self, key: TaskKey) -> None:
        """Unmount the root and remove the directory; idempotent."""
        path = self.path(key)
        mount.unmount_all(path / "rootfs")
        # Without the mount rootfs is empty: rmdir proves it, where a recursive removal could eat an image.
        try:
            (path / "rootfs").rmdir()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise Internal(f"cannot clear {path / 'rootfs'}: {error.strerror}", subject=key.id) from error
        shutil.rmtree(path, ignore_errors=True)

    def walk(self) -> Iterator[TaskKey]:
        """Every task that has a bundle."""
        for space in sorted(self._root.glob("*")):
            for path in sorted(space.glob("*")):
                yield TaskKey(space.name, path.name)


def check_root(rootfs: Path) -> None:
    """Make /dev, /proc, /sys and /etc where they are missing; raise InvalidArgument where they, or the
    account files that runtimes read, are not what they should be."""
    with SafeRoot(rootfs) as root:
        for name in _REQUIRED:
            _check_directory(root, name)
        for name in _ACCOUNTS:
            _check_file(root, name)


def _check_directory(root: SafeRoot, name: str) -> None:
    if root.is_real_directory(name):
        return
    try:
        root.stat(name, follow=False)
    except FileNotFoundError:
        try:
            os.close(root.mkdirs(name))
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
        return
    raise InvalidArgument(
        f"the image is not usable: {name} is not a directory",
        hint="a link there would make the runtime mount outside the container; use another image",
    )


def _check_file(root: SafeRoot, name: str) -> None:
    """A fifo in place of /etc/passwd would hang the runtime, which reads it."""
    try:
        os.close(root.open_regular(name))
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise InvalidArgument(f"the image is not usable: {name} is {error.strerror}") from error
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
