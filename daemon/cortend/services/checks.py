"""What of a request cannot be, checked before anything is made (pure but for the host's figures)."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

from corten_shared.errors import InvalidArgument
from corten_shared.models.container import ContainerSpec, Resources
from cortend.core.capabilities import normalise
from cortend.core.runtime import TaskRuntime
from cortend.services.signals import signal_number

_MEMORY_LEAST = 6 << 20
_MAX_ENV = 2 << 20
_HOSTNAME = re.compile(r"[a-zA-Z0-9_]([a-zA-Z0-9_.-]{0,251}[a-zA-Z0-9_])?\Z")
_NETWORKS = ("bridge", "none", "host")


def check(spec: ContainerSpec, runtime: TaskRuntime) -> list[str]:
    """Raise InvalidArgument, in docker's words where it has them, for what can never run; return warnings."""
    runtime.resolve(spec.runtime)
    normalise(spec.security.cap_add, option="CapAdd")
    normalise(spec.security.cap_drop, option="CapDrop")
    if spec.stop_signal:
        signal_number(spec.stop_signal)
    if spec.hostname and not _HOSTNAME.match(spec.hostname):
        raise InvalidArgument(f"invalid hostname format: {spec.hostname[:80]!r}")
    if spec.cwd and not spec.cwd.startswith("/"):
        raise InvalidArgument(f"the working directory '{spec.cwd[:200]}' is invalid, it needs to be an absolute path")
    if spec.rootfs and not _is_directory(spec.rootfs):
        raise InvalidArgument(
            f"root file system {spec.rootfs[:200]!r} is no directory here", hint="give an absolute path of the host"
        )
    if spec.restart.name != "no" and spec.auto_remove:
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")
    if spec.restart.max_retries and spec.restart.name != "on-failure":
        raise InvalidArgument("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    _check_text(spec)
    _check_mounts(spec)
    return [*_check_network(spec), *_check_resources(spec.resources)]


def _is_directory(path: str) -> bool:
    try:
        return path.startswith("/") and "\0" not in path and Path(path).is_dir()
    except OSError:  # a name that is too long
        return False


def _check_text(spec: ContainerSpec) -> None:
    if any("\0" in text for text in (*spec.args, *spec.env, spec.cwd, spec.user)):
        raise InvalidArgument("a NUL byte in the command, environment, user or working directory")
    if sum(map(len, spec.env)) > _MAX_ENV:
        raise InvalidArgument(
            f"the environment is larger than {_MAX_ENV >> 20} MiB", hint="the kernel cannot start a process with it"
        )


def _check_mounts(spec: ContainerSpec) -> None:
    for mount in spec.mounts:
        if not mount.target.startswith("/"):
            raise InvalidArgument(
                f"invalid mount config for type \"{mount.type}\": invalid mount path: '{mount.target[:200]}' mount "
                "path must be absolute"
            )
        if posixpath.normpath(mount.target) in ("/", "//"):
            raise InvalidArgument(
                f"invalid mount config for type \"{mount.type}\": invalid specification: destination can't be '/'"
            )
        if mount.type == "volume" and mount.source.startswith("/"):
            raise InvalidArgument(f"invalid volume specification: '{mount.source[:200]}' is a path, not a name")


def _check_network(spec: ContainerSpec) -> list[str]:
    mode = spec.network.mode
    if mode not in _NETWORKS and not mode.startswith(("container:", "path:/")):
        raise InvalidArgument(
            f"network {mode[:80]} not found", hint=f"networks are: {', '.join(_NETWORKS)}, container:NAME"
        )
    if spec.network.mac_address and not re.fullmatch(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}", spec.network.mac_address):
        raise InvalidArgument(f"invalid MAC address: {spec.network.mac_address[:40]}")
    if not (spec.network.ports or spec.network.publish_all):
        return []
    if mode == "host":
        return ["Published ports are discarded when using host network mode"]
    if mode.startswith(("container:", "path:")):
        raise InvalidArgument("conflicting options: port publishing and the container type network mode")
    return []


def _check_resources(resources: Resources) -> list[str]:
    memory, swap = resources.memory, resources.memory_swap
    if memory < 0 or resources.nano_cpus < 0 or resources.memory_reservation < 0:
        raise InvalidArgument("limits must not be negative")
    if 0 < memory < _MEMORY_LEAST:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    if swap > 0 and not memory:
        raise InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < swap < memory:
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage")
    if memory and resources.memory_reservation > memory:
        raise InvalidArgument("Minimum memory limit can not be less than memory reservation limit, see usage")
    count = os.cpu_count() or 1
    if resources.nano_cpus > count * 1_000_000_000:
        raise InvalidArgument(
            f"Range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
        )
    if resources.nano_cpus and (resources.cpu_quota or resources.cpu_period):
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if 0 < resources.nano_cpus < 10_000_000:
        raise InvalidArgument(f"Range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available")
    for text, what in ((resources.cpuset_cpus, "cpus"), (resources.cpuset_mems, "mems")):
        _check_set(text, what)
    return []


def _check_set(text: str, what: str) -> None:
    """A cpuset's grammar, with numbers that are bounded before anybody counts with them."""
    if text and not re.fullmatch(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?){0,512}", text):
        raise InvalidArgument(f"Invalid value {text[:60]} for cpuset {what}")
    highest = max((int(number) for number in re.findall(r"\d+", text)), default=0)
    if what == "cpus" and highest >= (os.cpu_count() or 1):
        raise InvalidArgument(
            f"Requested CPUs are not available - requested {text[:60]}, available: 0-{(os.cpu_count() or 1) - 1}"
        )
