"""What a spec must know of the host and the daemon: values only; the runtime backend gathers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from cortend.core import capabilities

CgroupLayout = Literal["v1", "hybrid", "v2"]
"""`hybrid`: controllers on v1 and a v2 tree beside them."""


class Device(NamedTuple):
    """A device node: `kind` is c, b or p."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int = 0o666
    uid: int = 0
    gid: int = 0


class HostFacts(NamedTuple):
    """The daemon's own powers and the kernel's features.

    `held` are the daemon's capabilities: it can give no others away. `hard_limits` maps a limit's name
    (`nofile`) to the daemon's own hard limit, -1 for unlimited. `oom_score_adj` is the daemon's own.
    `thermal` lists this machine's thermal_throttle directories.
    """

    machine: str = "x86_64"
    kernel: tuple[int, int] = (6, 1)
    layout: CgroupLayout = "v2"
    held: frozenset[str] = frozenset(capabilities.NAMES)
    hard_limits: Mapping[str, int] = {}
    oom_score_adj: int = 0
    swap_accounting: bool = True
    blkio_weight: bool = True
    cpus: int = 0
    thermal: tuple[str, ...] = ()
    host_devices: tuple[Device, ...] = ()
