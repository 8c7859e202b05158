"""The engine and its host: info and version."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corten_shared import times
from corten_shared.models.container import ContainerSpec
from corten_shared.models.system import RuntimeState, SystemInfo, VersionInfo
from cortend.core.hostfacts import HostFacts
from cortend.core.metadata import Metadata
from cortend.core.runtime import RuntimeInfo, TaskRuntime
from cortend.core.spec import SpecContext, generate
from cortend.core.workers import Workers
from cortend.services.observe import ContainerObserver

NATIVE_API = "1"


class SystemService:
    """Facts about the engine."""

    def __init__(
        self,
        *,
        version: str,
        root: Path,
        snapshotter: str,
        insecure_registries: Callable[[], list[str]],
        metadata: Metadata,
        runtime: TaskRuntime,
        facts: Callable[[], HostFacts],
        containers: ContainerObserver,
        workers: Workers,
        engine_id: str,
    ) -> None:
        self._version = version
        self._root = root
        self._snapshotter = snapshotter
        self._insecure = insecure_registries
        self._metadata = metadata
        self._runtime = runtime
        self._facts = facts
        self._containers = containers
        self._workers = workers
        self._id = engine_id

    def version(self) -> VersionInfo:
        """Versions; cheap."""
        return VersionInfo(
            version=self._version,
            api=NATIVE_API,
            python=platform.python_version(),
            kernel=platform.release(),
            os="linux",
            arch=architecture(),
        )

    def default_spec(self) -> dict[str, Any]:
        """The OCI configuration that a container gets which wishes for nothing."""
        context = SpecContext(id="default", rootfs="rootfs", facts=self._facts())
        return generate(ContainerSpec(args=["sh"], cwd="/"), context)

    async def info(self, ns: str = "default") -> SystemInfo:
        """The engine at a glance, counting the objects of one namespace."""
        statuses = [view.status for view in await self._containers.list(ns, all=True)]
        runtimes = self._runtime.runtimes()
        facts = self._facts()
        return SystemInfo(
            id=self._id,
            name=platform.node(),
            version=self._version,
            containers=len(statuses),
            running=statuses.count("running") + statuses.count("restarting"),
            paused=statuses.count("paused"),
            stopped=sum(status in ("created", "exited", "removing") for status in statuses),
            images=await self._workers.run(self._count_images, ns),
            snapshotter=self._snapshotter,
            runtimes=[_state(runtime) for runtime in runtimes],
            default_runtime=next((runtime.name for runtime in runtimes if runtime.usable), ""),
            cgroup_version="2" if facts.layout == "v2" else "1",
            cgroup_layout=facts.layout,
            kernel=platform.release(),
            operating_system=_os_name(),
            arch=architecture(),
            cpus=os.cpu_count() or 1,
            memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            root=str(self._root),
            security_options=_security(facts),
            warnings=_warnings(facts, runtimes),
            insecure_registries=self._insecure(),
            time=times.now(),
        )

    def _count_images(self, ns: str) -> int:
        with self._metadata.view() as tx:
            return len({image.target.digest for image in tx.images.list(ns)})


def architecture() -> str:
    """This machine's architecture in Go's word, which images use."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}.get(machine, machine)


def _state(runtime: RuntimeInfo) -> RuntimeState:
    return RuntimeState(**runtime._asdict())


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _security(facts: HostFacts) -> list[str]:
    options = ["name=seccomp,profile=builtin"]
    return [*options, "name=cgroupns"] if facts.layout == "v2" else options


def _warnings(facts: HostFacts, runtimes: list[RuntimeInfo]) -> list[str]:
    warnings = [f"runtime {r.name} ({r.path}) does not work here: {r.reason}" for r in runtimes if not r.usable]
    if not any(runtime.usable for runtime in runtimes):
        warnings.append("no OCI runtime works here: containers cannot start. Install crun or runc")
    if "CAP_SYS_RESOURCE" not in facts.held:
        warnings.append("cortend lacks CAP_SYS_RESOURCE: --privileged and ulimits are cut to what it holds")
    return warnings
