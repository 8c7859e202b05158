"""What the daemon holds and what this kernel can do: gathered once for `core.spec`."""

from __future__ import annotations

import os
import resource
from functools import cache
from pathlib import Path

from cortend.core import capabilities
from cortend.core.hostfacts import HostFacts
from cortend.linux import privileges
from cortend.runtime.cgroups import Cgroups
from cortend.runtime.devices import host_devices

_LIMITS = "as core cpu data fsize memlock msgqueue nice nofile nproc rss rtprio sigpending stack"


@cache
def read_facts() -> HostFacts:
    """The facts of this daemon on this host; they do not change while it runs."""
    cgroups = Cgroups.detect()
    uname = os.uname()
    return HostFacts(
        machine=uname.machine,
        kernel=_kernel(uname.release),
        layout=cgroups.layout,
        held=capabilities.from_mask(privileges.capget()[1]),
        hard_limits=_hard_limits(),
        oom_score_adj=int(Path("/proc/self/oom_score_adj").read_text()),
        swap_accounting=_swap_accounting(cgroups),
        blkio_weight=cgroups.layout == "v2" or (cgroups.roots.get("blkio", Path("/")) / "blkio.weight").exists(),
        cpus=os.cpu_count() or 1,
        thermal=tuple(sorted(map(str, Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle")))),
        host_devices=tuple(host_devices()),
    )


def _kernel(release: str) -> tuple[int, int]:
    major, minor = release.split(".")[:2]
    return int(major), int("".join(char for char in minor if char.isdigit()) or 0)


def _hard_limits() -> dict[str, int]:
    found = {}
    for name in _LIMITS.split():
        number = getattr(resource, f"RLIMIT_{name.upper()}", None)
        if number is not None:
            found[name] = resource.getrlimit(number)[1]
    return found


def _swap_accounting(cgroups: Cgroups) -> bool:
    if cgroups.layout != "v2":
        return (cgroups.roots.get("memory", Path("/")) / "memory.memsw.limit_in_bytes").exists()
    # The root group has no limits; any group below it shows whether swap is counted.
    return any(cgroups.roots[""].glob("*/memory.swap.max"))
