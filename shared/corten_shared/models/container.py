"""Containers: what was asked for (`ContainerSpec`) and what is kept of it (`ContainerRecord`)."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from corten_shared.models.base import Record
from corten_shared.times import Timestamp


class MountSpec(Record):
    """A mount inside a container.

    `source` is a host path (bind), a volume's name (volume; empty: anonymous) or empty (tmpfs).
    `options` are mount options (`size=64m`, `mode=1777`, `noexec`, …). `create_source` makes a missing bind
    source a directory (docker's `-v`); without it a missing one is refused (docker's `--mount`).
    """

    type: Literal["bind", "volume", "tmpfs"]
    source: str = ""
    target: str
    read_only: bool = False
    propagation: str = ""
    options: list[str] = []
    no_copy: bool = False
    create_source: bool = False


class PortMapping(Record):
    """A published port; `host_port` 0 asks for a random one, `host_ip` empty means every address."""

    container_port: int = Field(ge=1, le=65535)
    protocol: Literal["tcp", "udp", "sctp"] = "tcp"
    host_ip: str = ""
    host_port: int = Field(default=0, ge=0, le=65535)


class NetworkSpec(Record):
    """How a container is connected; `mode` is bridge, none, host, container:<id> or path:<a network namespace>."""

    mode: str = "bridge"
    ports: list[PortMapping] = []
    publish_all: bool = False
    exposed: list[str] = []
    dns: list[str] = []
    dns_search: list[str] = []
    dns_options: list[str] = []
    extra_hosts: list[str] = []
    mac_address: str = ""


class Resources(Record):
    """Limits; 0 means none. Memory in bytes, `nano_cpus` in 1e-9 CPUs, `pids` -1 or 0: unlimited."""

    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids: int = 0
    blkio_weight: int = 0


class DeviceSpec(Record):
    """A host device given to a container; `permissions` of r, w and m."""

    host_path: str
    container_path: str
    permissions: str = "rwm"


class Rlimit(Record):
    """A resource limit by its name without RLIMIT_ (`nofile`); -1 is unlimited."""

    name: str
    soft: int
    hard: int


class SecuritySpec(Record):
    """What a container may do. `seccomp`: None is the default profile, `unconfined`, or a profile (JSON text).

    `masked_paths` / `readonly_paths`: None means docker's defaults.
    """

    privileged: bool = False
    cap_add: list[str] = []
    cap_drop: list[str] = []
    seccomp: str | None = None
    apparmor: str | None = None
    no_new_privileges: bool = False
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None


class NamespaceSpec(Record):
    """Which kernel namespaces are shared: empty or `private` is a new one, `host`, `container:<id>`, or `path:<path>`
    of a pinned one."""

    pid: str = ""
    ipc: str = ""
    uts: str = ""
    cgroup: str = ""
    user: str = ""


class RestartPolicy(Record):
    """When a container that ended is started again."""

    name: Literal["no", "always", "on-failure", "unless-stopped"] = "no"
    max_retries: int = 0


class LogSpec(Record):
    """Where output goes: driver (empty: the daemon's default) and its options (docker's names)."""

    driver: str = ""
    options: dict[str, str] = {}


class ContainerSpec(Record):
    """What to run, and how: the resolved request (image defaults are already merged in).

    `args` is the whole command line; `entrypoint` and `cmd` are kept as they were given. `env`
    is a list of KEY=VALUE. Times are in seconds. `rootfs` is a directory of the host that is used as it is, in an
    image's place.
    """

    args: list[str] = []
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    env: list[str] = []
    cwd: str = ""
    user: str = ""
    group_add: list[str] = []
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    hostname: str = ""
    domainname: str = ""
    mounts: list[MountSpec] = []
    volumes: list[str] = []
    read_only: bool = False
    shm_size: int = 64 << 20
    init: bool = False
    devices: list[DeviceSpec] = []
    device_cgroup_rules: list[str] = []
    rlimits: list[Rlimit] = []
    sysctls: dict[str, str] = {}
    oom_score_adj: int = 0
    network: NetworkSpec = NetworkSpec()
    resources: Resources = Resources()
    security: SecuritySpec = SecuritySpec()
    namespaces: NamespaceSpec = NamespaceSpec()
    restart: RestartPolicy = RestartPolicy()
    log: LogSpec = LogSpec()
    auto_remove: bool = False
    stop_signal: str = ""
    stop_timeout: int | None = None
    runtime: str = ""
    rootfs: str = ""
    rootfs_propagation: Literal["", "private", "rprivate", "shared", "rshared", "slave", "rslave"] = ""
    cgroup_parent: str = ""
    annotations: dict[str, str] = {}
    healthcheck: dict[str, Any] | None = None
    time_limit: int = 0


class Phase(StrEnum):
    """Where a container's record is in its life; only `ready` ones are listed and can be used."""

    CREATING = "creating"
    READY = "ready"
    REMOVING = "removing"


class ContainerRecord(Record):
    """A container: an object, not a process (that is its task).

    `image` is the reference as it was given, `image_name` the image's full name, `image_id` the
    config digest (docker's image id), `image_digest` the manifest's. `extensions` keeps what an API surface wants back
    unchanged (key `docker`: Config and HostConfig as they were sent).
    """

    id: str
    name: str
    image: str = ""
    image_name: str = ""
    image_id: str = ""
    image_digest: str = ""
    snapshotter: str
    snapshot_key: str
    labels: dict[str, str] = {}
    spec: ContainerSpec
    phase: Phase = Phase.READY
    extensions: dict[str, Any] = {}
    created_at: Timestamp
    updated_at: Timestamp
