"""Limits and devices of an OCI configuration (`linux.resources`, `linux.devices`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from corten_shared.errors import InvalidArgument
from corten_shared.models.container import ContainerSpec, Resources
from cortend.core.hostfacts import Device, HostFacts

if TYPE_CHECKING:
    from cortend.core.spec import SpecContext

CPU_PERIOD = 100_000
"""Microseconds; the kernel's and docker's default."""

MIN_MEMORY = 6 << 20
"""docker's minimum memory limit."""

_DEFAULT_RULES: tuple[tuple[bool, int, int], ...] = (
    (True, 1, 5), (True, 1, 3), (True, 1, 9), (True, 1, 8), (True, 5, 0), (True, 5, 1), (False, 10, 229),
)  # fmt: skip
"""zero, null, urandom, random, tty and console are allowed, fuse is not (runtimes add full, ptmx and pts)."""

_RULE = re.compile(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})\Z")
_SET = re.compile(r"[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?){0,1023}\Z")


def resources(spec: ContainerSpec, context: SpecContext, warn: Callable[[str], None]) -> dict[str, Any]:
    """OCI `linux.resources`: only what was asked for, besides the device rules."""
    result = limits(spec.resources, context.facts, warn)
    result["devices"] = _device_rules(spec, context)
    return result


def limits(wanted: Resources, facts: HostFacts, warn: Callable[[str], None]) -> dict[str, Any]:
    """OCI `linux.resources` without devices: also what `update` of a live container takes."""
    result: dict[str, Any] = {}
    for name, part in (("memory", _memory(wanted, facts, warn)), ("cpu", _cpu(wanted, facts))):
        if part:
            result[name] = part
    if wanted.pids > 0:
        result["pids"] = {"limit": wanted.pids}
    if wanted.blkio_weight:
        if not 10 <= wanted.blkio_weight <= 1000:
            raise InvalidArgument("range of blkio weight is from 10 to 1000")
        if facts.blkio_weight:
            result["blockIO"] = {"weight": wanted.blkio_weight}
        else:
            warn("this kernel does not support Block I/O weight: it is discarded")
    return result


def _memory(wanted: Resources, facts: HostFacts, warn: Callable[[str], None]) -> dict[str, Any]:
    memory: dict[str, Any] = {}
    if wanted.memory < 0 or 0 < wanted.memory < MIN_MEMORY:
        raise InvalidArgument("minimum memory limit allowed is 6MB", hint="as in `--memory 64m`")
    if wanted.memory:
        memory["limit"] = wanted.memory
    if wanted.memory_reservation:
        memory["reservation"] = wanted.memory_reservation
    swap = _swap(wanted)
    if swap and facts.swap_accounting:
        memory["swap"] = swap
    elif wanted.memory_swap > 0:
        warn("this kernel does not support swap limits: memory is limited without swap")
    if wanted.memory_swappiness is not None and wanted.memory_swappiness >= 0:
        if wanted.memory_swappiness > 100:
            raise InvalidArgument(
                f"invalid value: {wanted.memory_swappiness}, valid memory swappiness range is 0-100"
            )
        if facts.layout == "v2":
            warn("memory swappiness does not exist on cgroup v2: it is discarded")
        else:
            memory["swappiness"] = wanted.memory_swappiness
    if wanted.oom_kill_disable and facts.layout != "v2":
        memory["disableOOMKiller"] = True
    elif wanted.oom_kill_disable:
        warn("disabling the OOM killer does not exist on cgroup v2: it is discarded")
    return memory


def _swap(wanted: Resources) -> int:
    """Memory and swap together, as OCI has it: docker gives as much swap as memory unless told otherwise."""
    if wanted.memory_swap == 0:
        return wanted.memory * 2
    if wanted.memory_swap > 0 and not wanted.memory:
        raise InvalidArgument("you should always set the memory limit when using memory-swap")
    if 0 < wanted.memory_swap < wanted.memory:
        raise InvalidArgument("minimum memoryswap limit should be larger than memory limit")
    return wanted.memory_swap


def _cpu(wanted: Resources, facts: HostFacts) -> dict[str, Any]:
    cpu: dict[str, Any] = {}
    if wanted.nano_cpus:
        if wanted.cpu_period or wanted.cpu_quota:
            raise InvalidArgument("conflicting options: CPUs and CPU period or quota cannot both be set")
        most = facts.cpus or 1024
        if not 10_000_000 <= wanted.nano_cpus <= most * 1_000_000_000:
            raise InvalidArgument(
                f"range of CPUs is from 0.01 to {most}.00, as there are only {most} CPUs available"
            )
        cpu["period"] = CPU_PERIOD
        cpu["quota"] = wanted.nano_cpus * CPU_PERIOD // 1_000_000_000
    if wanted.cpu_period:
        cpu["period"] = wanted.cpu_period
    if wanted.cpu_quota:
        cpu["quota"] = wanted.cpu_quota
    if wanted.cpu_shares:
        cpu["shares"] = max(2, min(wanted.cpu_shares, 262_144))
    for name, value in (("cpus", wanted.cpuset_cpus), ("mems", wanted.cpuset_mems)):
        if value:
            if not _SET.match(value):
                raise InvalidArgument(f"invalid value {value[:40]!r} for cpuset {name}", hint="as in `0-1,3`")
            cpu[name] = value
    return cpu


def _device_rules(spec: ContainerSpec, context: SpecContext) -> list[dict[str, Any]]:
    if spec.security.privileged:
        return [{"allow": True, "access": "rwm"}]
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    rules += [
        {"allow": allow, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for allow, major, minor in _DEFAULT_RULES
    ]
    for wish, nodes in zip(spec.devices, context.devices, strict=False):
        if not re.fullmatch(r"[rwm]{1,3}", wish.permissions):
            raise InvalidArgument(
                f"invalid device permissions {wish.permissions[:20]!r}", hint="some of r, w and m"
            )
        rules += [
            {"allow": True, "type": n.kind, "major": n.major, "minor": n.minor, "access": wish.permissions}
            for n in nodes
        ]
    return rules + [_parse_rule(rule) for rule in spec.device_cgroup_rules]


def _parse_rule(rule: str) -> dict[str, Any]:
    match = _RULE.match(rule)
    if match is None:
        raise InvalidArgument(f"invalid device cgroup rule {rule[:60]!r}", hint="as in `c 10:200 rwm`")
    kind, major, minor, access = match.groups()
    result: dict[str, Any] = {"allow": True, "type": kind, "access": access}
    for name, value in (("major", major), ("minor", minor)):
        if value != "*":
            result[name] = int(value[:10])
    return result


def devices(spec: ContainerSpec, context: SpecContext) -> list[dict[str, Any]]:
    """Device nodes to make in /dev: those asked for; every one of the host in a privileged container."""
    nodes: list[Device] = list(context.facts.host_devices) if spec.security.privileged else []
    for found in context.devices:
        nodes += found
    return [
        {
            "path": node.path,
            "type": node.kind,
            "major": node.major,
            "minor": node.minor,
            "fileMode": node.mode,
            "uid": node.uid,
            "gid": node.gid,
        }
        for node in {node.path: node for node in nodes}.values()
    ]
