"""From the flags of `run` and `create` to the body of `POST /containers/create`.

The body has every member that the docker CLI sends, at its default where no flag says otherwise:
a recording of both clients' requests is compared member by member (tests/unit/client).
"""

from __future__ import annotations

from corten.docker.envfile import environment, read_lines
from corten.docker.mounts import split_tmpfs, split_volumes
from corten.docker.networks import networking
from corten.flags import UsageError
from corten.ports import parse_ports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from corten.flags import Options

def build(options: Options, image: str, command: list[str]) -> dict[str, Any]:
    """The request's body; raises UsageError for flags that contradict each other."""
    try:
        return _build(options, image, command)
    except ValueError as exc:
        raise UsageError(str(exc), bare=False) from None


def _build(options: Options, image: str, command: list[str]) -> dict[str, Any]:
    exposed, bindings = parse_ports(options["publish"], options["expose"])
    binds, anonymous = split_volumes(options["volume"])
    mode, endpoints = networking(options)
    config = _config(options, image, command)
    if exposed:
        config["ExposedPorts"] = exposed
    config["Volumes"] = anonymous
    if health := _health(options):
        config["Healthcheck"] = health
    host = {**_host_basics(options, binds, mode), **_resources(options)}
    host["PortBindings"] = bindings
    host |= _time_limit(options)
    _optional_members(options, host)
    return {**config, "HostConfig": host, "NetworkingConfig": {"EndpointsConfig": endpoints}}


def attached_streams(options: Options) -> set[str]:
    """Which of stdin, stdout, stderr this command stays attached to."""
    if options.get("detach"):
        return set()
    chosen = set(options["attach"])
    if chosen:
        return chosen
    return {"stdout", "stderr", *(["stdin"] if options["interactive"] else [])}


def _config(options: Options, image: str, command: list[str]) -> dict[str, Any]:
    streams = attached_streams(options)
    entrypoint = options["entrypoint"]
    config: dict[str, Any] = {
        "Hostname": options["hostname"],
        "Domainname": options["domainname"],
        "User": options["user"],
        "AttachStdin": "stdin" in streams,
        "AttachStdout": "stdout" in streams,
        "AttachStderr": "stderr" in streams,
        "Tty": options["tty"],
        "OpenStdin": options["interactive"],
        "StdinOnce": options["interactive"] and "stdin" in streams,
        "Env": environment(options["env-file"], options["env"]) or None,
        "Cmd": command or None,
        "Image": image,
        "WorkingDir": options["workdir"],
        "Entrypoint": [entrypoint] if entrypoint or "entrypoint" in options.changed else None,
        "OnBuild": None,
        "Labels": _labels(options),
    }
    if options["stop-signal"]:
        config["StopSignal"] = options["stop-signal"]
    if "stop-timeout" in options.changed:
        config["StopTimeout"] = options["stop-timeout"]
    return config


def _labels(options: Options) -> dict[str, str]:
    lines = [line for path in options["label-file"] for line in read_lines(path) if "=" in line]
    return _map([*lines, *options["label"]])


def _map(pairs: Iterable[str]) -> dict[str, str]:
    return {key: value for key, _, value in (pair.partition("=") for pair in pairs)}


def _host_basics(options: Options, binds: list[str], mode: str) -> dict[str, Any]:
    for name, kind in (("pid", "PID"), ("uts", "UTS"), ("userns", "USER"), ("cgroupns", "CGROUP")):
        _check_mode(name, kind, options[name])
    security, masked, readonly = _security(options["security-opt"])
    return {
        "Binds": binds or None,
        "ContainerIDFile": options["cidfile"],
        "LogConfig": _logging(options),
        "NetworkMode": mode,
        "RestartPolicy": _restart(options),
        "AutoRemove": options["rm"],
        "VolumeDriver": options["volume-driver"],
        "VolumesFrom": options["volumes-from"] or None,
        "ConsoleSize": _console_size(),
        "CapAdd": _capabilities(options["cap-add"]),
        "CapDrop": _capabilities(options["cap-drop"]),
        "CgroupnsMode": options["cgroupns"],
        "Dns": options["dns"],
        "DnsOptions": options["dns-option"],
        "DnsSearch": options["dns-search"],
        "ExtraHosts": options["add-host"] or None,
        "GroupAdd": options["group-add"] or None,
        "IpcMode": options["ipc"],
        "Cgroup": "",
        "Links": options["link"] or None,
        "OomScoreAdj": options["oom-score-adj"],
        "PidMode": options["pid"],
        "Privileged": options["privileged"],
        "PublishAllPorts": options["publish-all"],
        "ReadonlyRootfs": options["read-only"],
        "SecurityOpt": security,
        "UTSMode": options["uts"],
        "UsernsMode": options["userns"],
        "ShmSize": options["shm-size"],
        "Isolation": options["isolation"],
        "MaskedPaths": masked,
        "ReadonlyPaths": readonly,
    }


def _time_limit(options: Options) -> dict[str, int]:
    """Ours; an engine that does not know it ignores it."""
    if options["timeout"] < 0:
        raise ValueError("--timeout cannot be negative")
    return {"TimeLimit": options["timeout"]} if options["timeout"] else {}


def _resources(options: Options) -> dict[str, Any]:
    swappiness = options["memory-swappiness"]
    if swappiness != -1 and not 0 <= swappiness <= 100:
        raise ValueError(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100")
    devices, requests = _devices(options["device"])
    requests = [*options["gpus"], *requests]
    return {
        "CpuShares": options["cpu-shares"],
        "Memory": options["memory"],
        "NanoCpus": options["cpus"],
        "CgroupParent": options["cgroup-parent"],
        "BlkioWeight": options["blkio-weight"],
        "BlkioWeightDevice": options["blkio-weight-device"],
        "BlkioDeviceReadBps": options["device-read-bps"],
        "BlkioDeviceWriteBps": options["device-write-bps"],
        "BlkioDeviceReadIOps": options["device-read-iops"],
        "BlkioDeviceWriteIOps": options["device-write-iops"],
        "CpuPeriod": options["cpu-period"],
        "CpuQuota": options["cpu-quota"],
        "CpuRealtimePeriod": options["cpu-rt-period"],
        "CpuRealtimeRuntime": options["cpu-rt-runtime"],
        "CpusetCpus": options["cpuset-cpus"],
        "CpusetMems": options["cpuset-mems"],
        "Devices": devices,
        "DeviceCgroupRules": options["device-cgroup-rule"] or None,
        "DeviceRequests": requests or None,
        "MemoryReservation": options["memory-reservation"],
        "MemorySwap": options["memory-swap"],
        "MemorySwappiness": swappiness,
        "OomKillDisable": options["oom-kill-disable"],
        "PidsLimit": options["pids-limit"],
        "Ulimits": _ulimits(options["ulimit"]),
        "CpuCount": options["cpu-count"],
        "CpuPercent": options["cpu-percent"],
        "IOMaximumIOps": options["io-maxiops"],
        "IOMaximumBandwidth": options["io-maxbandwidth"],
    }


def _ulimits(limits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By name; of two of the same name the last counts."""
    return [limit for _, limit in sorted({limit["Name"]: limit for limit in limits}.items())]


def _optional_members(options: Options, host: dict[str, Any]) -> None:
    """Members that the body has only when a flag asks for them."""
    if "init" in options.changed:
        host["Init"] = options["init"]
    for key, flag in (("Annotations", "annotation"), ("Sysctls", "sysctl"), ("StorageOpt", "storage-opt")):
        if options[flag]:
            host[key] = _map(options[flag])
    if options["tmpfs"]:
        host["Tmpfs"] = split_tmpfs(options["tmpfs"])
    if options["runtime"]:
        host["Runtime"] = options["runtime"]
    if options["mount"]:
        host["Mounts"] = list(options["mount"])


def _console_size() -> list[int]:
    from corten import tty

    return list(tty.size(1)) if tty.is_terminal(1) else [0, 0]


def _restart(options: Options) -> dict[str, Any]:
    name, colon, count = options["restart"].partition(":")
    if colon and not (count.isascii() and count.removeprefix("-").isdigit()):
        raise ValueError("invalid restart policy format: maximum retry count must be an integer")
    if options["rm"] and name not in ("", "no"):
        raise ValueError("conflicting options: cannot specify both --restart and --rm")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def _health(options: Options) -> dict[str, Any] | None:
    members = {"Interval": "interval", "Timeout": "timeout", "StartPeriod": "start-period"}
    members |= {"StartInterval": "start-interval", "Retries": "retries"}
    command = options["health-cmd"]
    times = {key: options[f"health-{flag}"] for key, flag in members.items() if options[f"health-{flag}"]}
    if options["no-healthcheck"]:
        if command or times:
            raise ValueError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    for key, value in times.items():
        if value < 0:
            raise ValueError(f"--health-{members[key]} cannot be negative")
    test = {"Test": ["CMD-SHELL", command]} if command else {}
    remedy = {"OnFailure": options["health-on-failure"]} if options["health-on-failure"] else {}
    return {**test, **times, **remedy} or None


def _logging(options: Options) -> dict[str, Any]:
    if options["log-driver"] == "none" and options["log-opt"]:
        raise ValueError("invalid logging opts for driver none")
    return {"Type": options["log-driver"], "Config": _map(options["log-opt"])}


def _capabilities(names: list[str]) -> list[str] | None:
    """Upper case, with the `CAP_` prefix, sorted, each once; `ALL` alone has no prefix."""
    found = {name.strip().upper() for name in names}
    full = {name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}" for name in found}
    return sorted(full) or None


def _check_mode(flag: str, kind: str, text: str) -> None:
    shared = text.startswith("container:") and len(text) > 10 and flag == "pid"
    private = flag == "cgroupns" and text == "private"
    if text not in ("", "host") and not shared and not private:
        raise ValueError(f"--{flag}: invalid {kind} mode")


def _security(entries: list[str]) -> tuple[list[str] | None, list[str] | None, list[str] | None]:
    """(SecurityOpt, MaskedPaths, ReadonlyPaths); a seccomp profile is read here, on the client."""
    kept: list[str] = []
    open_paths = False
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals and ":" not in entry and entry not in ("no-new-privileges", "systempaths"):
            raise ValueError(f'invalid --security-opt: "{entry}"')
        if entry == "systempaths=unconfined":
            open_paths = True
        elif key == "seccomp" and value not in ("unconfined", "builtin"):
            kept.append(f"seccomp={_profile(value)}")
        else:
            kept.append(entry)
    paths: list[str] | None = [] if open_paths else None
    return (kept if entries else None), paths, paths


def _profile(path: str) -> str:
    import json

    try:
        with open(path, encoding="utf-8") as file:
            return json.dumps(json.load(file), separators=(",", ":"))
    except OSError as exc:
        reason = f"open {path}: {(exc.strerror or str(exc)).lower()}"
        raise ValueError(f"opening seccomp profile ({path}) failed: {reason}") from None
    except ValueError as exc:
        raise ValueError(f"compacting json for seccomp profile ({path}) failed: {exc}") from None


def _devices(entries: list[str]) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    """(Devices, DeviceRequests): paths of the host, and names of the Container Device Interface."""
    devices: list[dict[str, str]] = []
    named: list[str] = []
    for entry in entries:
        vendor, equals, _ = entry.partition("=")
        if equals and "/" in vendor and not entry.startswith("/"):
            named.append(entry)
            continue
        source, *rest = entry.split(":")
        if len(rest) > 2:
            raise ValueError(f"invalid device specification: {entry}")
        target, permissions = source, "rwm"
        if len(rest) == 2:
            target, permissions = rest
        elif len(rest) == 1:
            target, permissions = (source, rest[0]) if _permissions(rest[0]) else (rest[0], "rwm")
        if not _permissions(permissions):
            raise ValueError(f"invalid mode specified: {permissions}")
        devices.append({"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": permissions})
    request = {"Driver": "cdi", "Count": 0, "DeviceIDs": named, "Capabilities": None, "Options": None}
    return devices, [request] if named else []


def _permissions(text: str) -> bool:
    return bool(text) and not text.strip("rwm") and len(set(text)) == len(text)
