"""From a container's request to the OCI runtime configuration (config.json, runtime-spec 1.0.2): pure.

The defaults are docker's: 14 capabilities, the seccomp profile of `data/seccomp.json`, masked and read-only
paths, private namespaces, the cgroup read-only inside. What the daemon itself does not hold (capabilities,
hard limits) cannot be given away: such wishes are cut to what it has and `warn` is told, because the
alternative is a container that does not start.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from corten_shared.errors import InvalidArgument
from corten_shared.models.container import ContainerSpec, Rlimit
from cortend.core import capabilities, seccomp
from cortend.core.hostfacts import Device, HostFacts
from cortend.core.specmounts import clean_target, mounts
from cortend.core.specresources import devices, resources
from cortend.core.users import User

OCI_VERSION = "1.0.2"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""docker's default PATH."""

MASKED_PATHS = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
    "/sys/devices/virtual/powercap", "/sys/firmware",
)  # fmt: skip
"""Hidden from containers (moby's list of 2026; the host's thermal_throttle directories come on top)."""

READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

Warn = Callable[[str], None]
"""Told of every wish that was cut to what is possible."""

_RLIMITS = frozenset(
    "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split()
)
_NAMESPACES = ("mount", "network", "uts", "pid", "ipc", "cgroup")
_IPC_SYSCTLS = frozenset(
    f"kernel.{name}"
    for name in ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"]
)
_SYSCTL_KEY = re.compile(r"[A-Za-z0-9_.*/-]{1,256}\Z")
_SYSCTL_VALUE = re.compile(r"[A-Za-z0-9_.,:/ \t-]{0,1024}\Z")


@dataclass(frozen=True)
class SpecContext:
    """Everything about one start that is not in the request; whoever asks has looked it up.

    `volumes` maps a mount's target (of type volume, or an entry of `spec.volumes`) to the host directory
    behind it. `files` maps /etc/hosts, /etc/hostname and /etc/resolv.conf to host files. `netns` is the path
    of a network namespace to enter (empty: a new, empty one). `joined` maps a namespace (`pid`, `ipc`,
    `uts`, `network`, `cgroup`, `user`) to the path of another container's. `shm` is the host path of a
    joined container's /dev/shm. `devices` are the nodes behind `spec.devices`: (wish, nodes) in the same
    order.
    """

    id: str
    rootfs: str
    user: User = User()  # noqa: RUF009 - an immutable tuple
    hostname: str = ""
    cgroup_path: str = ""
    facts: HostFacts = HostFacts()  # noqa: RUF009 - an immutable tuple
    netns: str = ""
    joined: Mapping[str, str] = field(default_factory=dict)
    shm: str = ""
    volumes: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    devices: Sequence[Sequence[Device]] = ()
    init_path: str = ""
    console_size: tuple[int, int] | None = None


def _silent(_: str) -> None:
    """Where warnings go when nobody asked for them."""


def generate(spec: ContainerSpec, context: SpecContext, warn: Warn = _silent) -> dict[str, Any]:
    """The OCI configuration of a container; raises InvalidArgument for what cannot be."""
    process = _process(spec, context, warn)
    config: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "process": process,
        "root": {"path": context.rootfs, "readonly": spec.read_only},
        "mounts": mounts(spec, context),
        "linux": _linux(spec, context, process["capabilities"]["bounding"], warn),
    }
    if spec.namespaces.uts != "host" and "uts" not in context.joined:
        config["hostname"] = _hostname(spec, context)
    if spec.annotations:
        config["annotations"] = dict(spec.annotations)
    return config


def exec_process(
    spec: ContainerSpec,
    context: SpecContext,
    *,
    args: Sequence[str],
    env: Sequence[str] = (),
    cwd: str = "",
    tty: bool = False,
    privileged: bool = False,
    warn: Warn = _silent,
) -> dict[str, Any]:
    """OCI `process` of a further command in the container; `context.user` is who runs it. The container's
    environment comes first, `env` over it."""
    changed = spec.model_copy(
        update={
            "args": list(args),
            "env": [*spec.env, *env],
            "cwd": cwd or spec.cwd,
            "tty": tty,
            "init": False,
            "security": spec.security.model_copy(
                update={"privileged": privileged or spec.security.privileged}
            ),
        }
    )
    return _process(changed, context, warn)


def _process(spec: ContainerSpec, context: SpecContext, warn: Warn) -> dict[str, Any]:
    if not spec.args:
        raise InvalidArgument("no command specified", hint="name a command, or use an image that has one")
    user, facts = context.user, context.facts
    process: dict[str, Any] = {
        "terminal": spec.tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.gids)},
        "args": ["/sbin/docker-init", "--", *spec.args] if _has_init(spec, context) else list(spec.args),
        "env": environment(spec, context),
        "cwd": _cwd(spec.cwd),
        "capabilities": _capabilities(spec, context, warn),
        "noNewPrivileges": spec.security.no_new_privileges,
        "oomScoreAdj": _oom_score(spec.oom_score_adj, facts, warn),
    }
    if any(arg.find("\0") >= 0 for arg in process["args"]):
        raise InvalidArgument("a command line argument contains a NUL byte")
    if limits := [_rlimit(limit, facts, warn) for limit in spec.rlimits]:
        process["rlimits"] = limits
    if spec.security.apparmor and spec.security.apparmor != "unconfined":
        process["apparmorProfile"] = spec.security.apparmor
    if spec.tty and context.console_size:
        width, height = context.console_size
        process["consoleSize"] = {"height": height, "width": width}
    return process


def environment(spec: ContainerSpec, context: SpecContext) -> list[str]:
    """PATH, HOSTNAME and TERM as docker orders them, the request's entries over them, HOME where nobody set
    it.

    An entry without `=` names nothing (to podman it meant: copy the host's): it is dropped.
    """
    values = {"PATH": PATH, "HOSTNAME": _hostname(spec, context)}
    if spec.tty:
        values["TERM"] = "xterm"
    for entry in spec.env:
        name, equals, value = entry.partition("=")
        if name and equals and "\0" not in entry:
            values[name] = value
    home = values.setdefault("HOME", context.user.home)
    if any(ord(char) < 32 or ord(char) == 127 for char in home):
        raise InvalidArgument("HOME contains control characters", hint="set HOME to a plain path")
    return [f"{name}={value}" for name, value in values.items()]


def _hostname(spec: ContainerSpec, context: SpecContext) -> str:
    return spec.hostname or context.hostname or context.id[:12]


def _has_init(spec: ContainerSpec, context: SpecContext) -> bool:
    if spec.init and not context.init_path:
        raise InvalidArgument(
            "--init needs an init program, and none was found", hint="apt-get install catatonit (or tini)"
        )
    return spec.init


def _cwd(cwd: str) -> str:
    """A working directory: cleaned, and never a file descriptor of the runtime (CVE-2024-21626)."""
    if not cwd:
        return "/"
    path = clean_target(cwd, what="working directory")
    if re.match(r"/proc/[^/]+/(fd|task|cwd|root)(/|\Z)", path):
        raise InvalidArgument(
            f"working directory {path!r} is not allowed", hint="name a directory of the container"
        )
    return path


def _capabilities(spec: ContainerSpec, context: SpecContext, warn: Warn) -> dict[str, list[str]]:
    security, held = spec.security, context.facts.held
    wanted = capabilities.resolve(security.cap_add, security.cap_drop, privileged=security.privileged)
    if missing := [name for name in wanted if name not in held]:
        warn(f"the daemon does not hold {', '.join(missing)}: containers run without")
    given = [name for name in wanted if name in held]
    sets: dict[str, list[str]] = {"bounding": given, "inheritable": [], "ambient": []}
    # For other users only the bounding set counts, as after execve(2) of a set-uid-less program.
    sets["effective"] = sets["permitted"] = given if context.user.uid == 0 else []
    return sets


def _oom_score(wanted: int, facts: HostFacts, warn: Warn) -> int:
    if not -1000 <= wanted <= 1000:
        raise InvalidArgument(f"Invalid value {wanted}, range for oom score adj is [-1000, 1000]")
    if wanted < facts.oom_score_adj and "CAP_SYS_RESOURCE" not in facts.held:
        if wanted < 0:
            warn(f"oom_score_adj {wanted} needs CAP_SYS_RESOURCE: {facts.oom_score_adj} is used")
        return facts.oom_score_adj
    return wanted


def _rlimit(limit: Rlimit, facts: HostFacts, warn: Warn) -> dict[str, Any]:
    name = limit.name.lower().removeprefix("rlimit_")
    if name not in _RLIMITS:
        raise InvalidArgument(f"invalid ulimit type: {limit.name[:40]}", hint="as in `nofile=1024:2048`")
    soft, hard = _limit(limit.soft), _limit(limit.hard)
    if soft > hard:
        raise InvalidArgument(
            f"ulimit soft limit must be less than or equal to hard limit: {limit.soft} > {limit.hard}"
        )
    top = _limit(facts.hard_limits.get(name, -1))
    if hard > top and "CAP_SYS_RESOURCE" not in facts.held:
        warn(f"ulimit {name} cannot rise above the daemon's own hard limit {top}")
        soft, hard = min(soft, top), top
    return {"type": f"RLIMIT_{name.upper()}", "soft": soft, "hard": hard}


def _limit(value: int) -> int:
    return (1 << 64) - 1 if value < 0 else value


def _linux(spec: ContainerSpec, context: SpecContext, bounding: list[str], warn: Warn) -> dict[str, Any]:
    security, facts = spec.security, context.facts
    linux: dict[str, Any] = {
        "namespaces": _namespaces(spec, context),
        "resources": resources(spec, context, warn),
        "devices": devices(spec, context),
        "cgroupsPath": context.cgroup_path or f"/corten/{context.id}",
    }
    if sysctl := _sysctls(spec, context):
        linux["sysctl"] = sysctl
    if not security.privileged:
        masked, readonly = security.masked_paths, security.readonly_paths
        linux["maskedPaths"] = [*MASKED_PATHS, *facts.thermal] if masked is None else list(masked)
        linux["readonlyPaths"] = list(READONLY_PATHS if readonly is None else readonly)
        if security.seccomp != "unconfined":
            text = security.seccomp
            profile = seccomp.parse_profile(text) if text else seccomp.default_profile()
            linux["seccomp"] = seccomp.resolve(
                profile, capabilities=frozenset(bounding), machine=facts.machine, kernel=facts.kernel
            )
    propagations = {mount.propagation for mount in spec.mounts}
    if spec.rootfs_propagation:
        linux["rootfsPropagation"] = spec.rootfs_propagation
    elif propagations & {"shared", "rshared"}:
        linux["rootfsPropagation"] = "shared"
    elif propagations & {"slave", "rslave"}:
        linux["rootfsPropagation"] = "slave"
    return linux


def _namespaces(spec: ContainerSpec, context: SpecContext) -> list[dict[str, str]]:
    """New ones but where the request shares the host's (left out) or another container's (by path)."""
    wishes = spec.namespaces
    shared: dict[str, str] = {
        "pid": wishes.pid, "ipc": wishes.ipc, "uts": wishes.uts, "cgroup": wishes.cgroup,
        "network": spec.network.mode,
    }  # fmt: skip
    result = []
    for kind in _NAMESPACES:
        if shared.get(kind) == "host":
            continue
        path: str = context.joined.get(kind, context.netns if kind == "network" else "")
        if shared.get(kind, "").startswith("container:") and not path:
            raise InvalidArgument(f"cannot join the {kind} namespace of {shared[kind]}: not running")
        result.append({"type": kind, "path": path} if path else {"type": kind})
    if userns := context.joined.get("user"):
        result.append({"type": "user", "path": userns})
    return result


def _sysctls(spec: ContainerSpec, context: SpecContext) -> dict[str, str]:
    """Only settings that belong to a namespace of the container's own; unprivileged ports and pings as
    docker sets them."""
    mode = spec.network.mode
    own_net = mode != "host" and not mode.startswith("path:") and "network" not in context.joined
    own_ipc = spec.namespaces.ipc != "host" and "ipc" not in context.joined
    own_uts = spec.namespaces.uts != "host" and "uts" not in context.joined
    values: dict[str, str] = {}
    if own_net:
        values.update(_NET_DEFAULTS)
    for key, value in spec.sysctls.items():
        if not _SYSCTL_KEY.match(key) or ".." in key or not _SYSCTL_VALUE.match(value):
            raise InvalidArgument(f"invalid sysctl {key[:80]!r}", hint="as in net.core.somaxconn=1024")
        namespaced = (
            (key.startswith("net.") and own_net)
            or ((key in _IPC_SYSCTLS or key.startswith("fs.mqueue.")) and own_ipc)
            or (key == "kernel.domainname" and own_uts)
        )
        if not namespaced:
            raise InvalidArgument(
                f"sysctl '{key}' is not whitelisted or belongs to a namespace that is shared",
                hint="net.*, fs.mqueue.* and kernel.{msg*,sem,shm*} can be set in a container's own namespaces",
            )
        values[key] = value
    if spec.domainname and own_uts:
        values.setdefault("kernel.domainname", spec.domainname)
    return values


_NET_DEFAULTS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
