"""What the engine says of itself and its host."""

from __future__ import annotations

from corten_shared.models.base import Record
from corten_shared.times import Timestamp


class RuntimeState(Record):
    """An OCI runtime: where it is, its version, and whether it works on this host (else why not)."""

    name: str
    path: str
    version: str = ""
    usable: bool
    reason: str = ""


class VersionInfo(Record):
    """Versions of the engine and what it stands on."""

    version: str
    api: str
    python: str
    kernel: str
    os: str
    arch: str


class SystemInfo(Record):
    """The engine and its host at a glance; memory in bytes."""

    id: str
    name: str
    version: str
    containers: int
    running: int
    paused: int
    stopped: int
    images: int
    snapshotter: str
    runtimes: list[RuntimeState]
    default_runtime: str
    cgroup_version: str
    cgroup_layout: str
    cgroup_driver: str = "cgroupfs"
    kernel: str
    operating_system: str
    os: str = "linux"
    arch: str
    cpus: int
    memory: int
    root: str
    security_options: list[str]
    warnings: list[str] = []
    insecure_registries: list[str] = []
    time: Timestamp
