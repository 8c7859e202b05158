"""From a container's record to its OCI configuration: looks up what `core.spec` needs and must not look up itself."""

from __future__ import annotations

import logging
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from corten_shared.errors import Conflict, InvalidArgument, NotFound
from corten_shared.models.container import ContainerRecord, ContainerSpec, DeviceSpec, Resources
from cortend.core import spec as oci
from cortend.core.hostfacts import Device, HostFacts
from cortend.core.metadata import Metadata
from cortend.core.runtime import Bundle, TaskKey, TaskRuntime
from cortend.core.specresources import limits
from cortend.core.users import MAX_FILE, User, resolve
from cortend.services.volumes import VolumeService

log = logging.getLogger(__name__)

PINNED = "path:"
"""Before the path of a namespace that something else keeps."""
_JOINABLE = ("pid", "ipc", "uts", "cgroup")


class Host(Protocol):
    """What is asked of the machine (runtime backend)."""

    def facts(self) -> HostFacts:
        """The daemon's powers and the kernel's features."""
        ...

    def find_devices(self, wish: DeviceSpec) -> list[Device]:
        """The device nodes behind a path: itself, or those in the directory. Raises InvalidArgument when
        there is none."""
        ...

    def read_file(self, rootfs: Path, path: str, limit: int) -> bytes:
        """A regular file below `rootfs`, resolved inside it; empty when it is missing or no regular file."""
        ...

    def copy_up(self, rootfs: Path, path: str, target: Path) -> None:
        """Copy the directory `path` of `rootfs`, resolved inside it, into the empty directory `target`;
        missing is fine."""
        ...


class SpecBuilder:
    """Builds configurations. Blocking: call it on a worker."""

    def __init__(
        self, *, host: Host, metadata: Metadata, runtime: TaskRuntime, volumes: VolumeService, init_path: str
    ) -> None:
        self._host = host
        self._metadata = metadata
        self._runtime = runtime
        self._volumes = volumes
        self._init_path = init_path
        self._warned: set[str] = set()

    def build(
        self, key: TaskKey, record: ContainerRecord, bundle: Bundle, netns: str, files: Mapping[str, Path]
    ) -> dict[str, Any]:
        """The whole configuration of one start, for a bundle whose root is mounted; fills new volumes from
        the image."""
        self._fill_volumes(key, record, bundle)
        context = self._context(key, record, bundle, netns, files)
        return oci.generate(record.spec, context, self._warn)

    def process(
        self, key: TaskKey, record: ContainerRecord, *, args: list[str], env: list[str], cwd: str, user: str,
        tty: bool, privileged: bool,
    ) -> dict[str, Any]:  # fmt: skip
        """OCI `process` of an exec in a running container."""
        bundle = self._runtime.bundle(key)
        spec = record.spec if not user else record.spec.model_copy(update={"user": user})
        context = oci.SpecContext(
            id=record.id, rootfs=str(bundle.rootfs), user=self._user(spec, bundle), facts=self._host.facts()
        )
        return oci.exec_process(
            spec, context, args=args, env=env, cwd=cwd, tty=tty, privileged=privileged, warn=self._warn
        )

    def resources(self, wanted: Resources) -> dict[str, Any]:
        """OCI `linux.resources` of limits alone, for an update."""
        return limits(wanted, self._host.facts(), self._warn)

    def _context(
        self, key: TaskKey, record: ContainerRecord, bundle: Bundle, netns: str, files: Mapping[str, Path]
    ) -> oci.SpecContext:
        spec = record.spec
        joined, shm = self._joined(key, spec)
        return oci.SpecContext(
            id=record.id,
            rootfs=str(bundle.rootfs),
            hostname=platform.node() if spec.network.mode == "host" else "",
            user=self._user(spec, bundle),
            cgroup_path=self._runtime.cgroup_path(record.id, spec.cgroup_parent),
            facts=self._host.facts(),
            netns=netns,
            joined=joined,
            shm=shm,
            volumes={
                mount.target: self._volumes.mountpoint(key.ns, mount.source)
                for mount in spec.mounts
                if mount.type == "volume"
            },
            files={inside: str(path) for inside, path in files.items()},
            devices=[self._host.find_devices(wish) for wish in spec.devices],
            init_path=self._init_path,
        )

    def _user(self, spec: ContainerSpec, bundle: Bundle) -> User:
        passwd = self._host.read_file(bundle.rootfs, "/etc/passwd", MAX_FILE)
        group = self._host.read_file(bundle.rootfs, "/etc/group", MAX_FILE)
        return resolve(spec.user, passwd, group, group_add=spec.group_add)

    def _joined(self, key: TaskKey, spec: ContainerSpec) -> tuple[dict[str, str], str]:
        """Paths of other containers' namespaces, and of the /dev/shm that comes with a joined ipc namespace."""
        paths, shm = {}, ""
        for kind in _JOINABLE:
            wish: str = getattr(spec.namespaces, kind)
            if wish.startswith(PINNED):
                paths[kind] = pinned(wish)
                continue
            if not wish.startswith("container:"):
                if wish not in ("", "private", "host", "shareable"):
                    raise InvalidArgument(f"invalid {kind} mode: {wish[:80]}")
                continue
            pid = self._pid_of(key.ns, wish.partition(":")[2], kind)
            paths[kind] = f"/proc/{pid}/ns/{kind}"
            if kind == "ipc":
                shm = f"/proc/{pid}/root/dev/shm"
        return paths, shm

    def _pid_of(self, ns: str, reference: str, kind: str) -> int:
        with self._metadata.view() as tx:
            other = tx.containers.find(ns, reference)
            task = tx.tasks.find(ns, other.id)
        if task is None or task.pid is None or not self._runtime.is_alive(task.pid):
            raise Conflict(f"cannot join {kind.upper()} of a non running container: {other.id}")
        return task.pid.pid

    def _fill_volumes(self, key: TaskKey, record: ContainerRecord, bundle: Bundle) -> None:
        """What the image has at a volume's place goes into a volume that is still empty (docker's copy-up)."""
        for mount in record.spec.mounts:
            if mount.type != "volume" or mount.no_copy:
                continue
            try:
                if self._volumes.is_empty(key.ns, mount.source):
                    target = Path(self._volumes.mountpoint(key.ns, mount.source))
                    self._host.copy_up(bundle.rootfs, mount.target, target)
            except NotFound as error:
                raise Conflict(
                    f"volume {mount.source} of container {record.name} is gone",
                    hint="create it again, or the container",
                ) from error

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            log.warning("%s", text)


def pinned(wish: str) -> str:
    """The path of `path:/run/netns/x`. Raises InvalidArgument, also when there is no namespace."""
    path = wish.removeprefix(PINNED)
    if not path.startswith("/") or "\0" in path:
        raise InvalidArgument(f"invalid namespace path: {path[:80]!r}", hint="it is absolute, as in path:/run/netns/x")
    try:
        Path(path).stat()
    except FileNotFoundError:
        raise InvalidArgument(f"no such namespace: {path[:200]}", subject=path) from None
    except OSError as error:  # another user's process, a name that is too long
        raise InvalidArgument(f"cannot use namespace {path[:200]}: {error.strerror}", subject=path) from error
    return path
