"""From a container to docker's inspect document.

Everything is derived from the record, so that containers made over the native API look right as well; what
docker's client sent in its own notation (binds, port bindings, mounts, …) is given back as it came, from
`extensions["docker"]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corten_shared.models.container import ContainerRecord, ContainerSpec, MountSpec, Resources
from corten_shared.models.network import Endpoint
from corten_shared.models.task import Health
from corten_shared.times import ZERO, format_rfc3339
from cortend.api.docker.ids import endpoint_id, network_id
from cortend.api.docker.translate_ports import port_map
from cortend.core.spec import MASKED_PATHS, READONLY_PATHS
from cortend.services.views import ContainerView

_TOP_LEVEL: dict[str, Any] = {
    "EndpointID": "",
    "Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "MacAddress": "",
}
"""Members of the default bridge's endpoint that stand beside `Networks` too, and their values on other networks."""


def inspect_container(
    view: ContainerView, *, directory: str, mountpoints: Mapping[str, str], execs: Sequence[str] = (),
    health: Health | None = None,
) -> dict[str, Any]:
    """The document of `GET /containers/{id}/json`; `mountpoints` are those of its volumes by name."""
    record = view.record
    spec = record.spec
    return {
        "Id": record.id,
        "Created": format_rfc3339(record.created_at),
        "Path": spec.args[0] if spec.args else "",
        "Args": spec.args[1:],
        "State": {**state(view), **({"Health": health_document(health)} if health else {})},
        "Image": record.image_id,
        "ResolvConfPath": f"{directory}/resolv.conf",
        "HostnamePath": f"{directory}/hostname",
        "HostsPath": f"{directory}/hosts",
        "LogPath": "" if spec.log.driver == "none" else f"{directory}/log/container.log",
        "Name": f"/{record.name}",
        "RestartCount": view.task.restart_count if view.task else 0,
        "Driver": record.snapshotter,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": spec.security.apparmor or "",
        "ExecIDs": list(execs) or None,
        "HostConfig": host_config(record),
        "GraphDriver": {"Data": None, "Name": record.snapshotter},
        "Mounts": mount_points(record, mountpoints),
        "Config": config(record),
        "NetworkSettings": network_settings(view),
        "ImageManifestDescriptor": {"digest": record.image_digest} if record.image_digest else None,
    }


def state(view: ContainerView) -> dict[str, Any]:
    """The document's `State`."""
    task, status = view.task, view.status
    found: dict[str, Any] = {
        "Status": status,
        "Running": view.running or status == "restarting",
        "Paused": status == "paused",
        "Restarting": status == "restarting",
        "OOMKilled": bool(task and task.oom_killed),
        "Dead": status == "dead",
        "Pid": task.pid.pid if task and task.pid and view.running else 0,
        "ExitCode": (task.exit_code or 0) if task else 0,
        "Error": task.error if task else "",
        "StartedAt": format_rfc3339(task.started_at) if task else ZERO,
        "FinishedAt": format_rfc3339(task.finished_at) if task else ZERO,
    }
    return found


def health_document(health: Health) -> dict[str, Any]:
    """The document's `State.Health`."""
    return {
        "Status": health.status,
        "FailingStreak": health.failing_streak,
        "Log": [
            {
                "Start": format_rfc3339(probe.start),
                "End": format_rfc3339(probe.end),
                "ExitCode": probe.exit_code,
                "Output": probe.output,
            }
            for probe in health.log
        ],
    }


def _sent(record: ContainerRecord, key: str) -> dict[str, Any]:
    """What docker's client sent under `key`; empty for other clients' containers."""
    docker = record.extensions.get("docker")
    found = docker.get(key) if isinstance(docker, dict) else None
    return found if isinstance(found, dict) else {}


def config(record: ContainerRecord) -> dict[str, Any]:
    """The document's `Config`: the container's, with the image's defaults merged in."""
    spec, sent = record.spec, _sent(record, "Config")
    found: dict[str, Any] = {
        "Hostname": spec.hostname or ("" if spec.namespaces.uts == "host" else record.id[:12]),
        "Domainname": spec.domainname,
        "User": spec.user,
        "AttachStdin": bool(sent.get("AttachStdin")),
        "AttachStdout": bool(sent.get("AttachStdout")),
        "AttachStderr": bool(sent.get("AttachStderr")),
        "Tty": spec.tty,
        "OpenStdin": spec.open_stdin,
        "StdinOnce": spec.stdin_once,
        "Env": spec.env,
        "Cmd": spec.cmd,
        "Image": record.image,
        "Volumes": {path: {} for path in spec.volumes} or None,
        "WorkingDir": spec.cwd,
        "Entrypoint": spec.entrypoint,
        "OnBuild": None,
        "Labels": record.labels,
    }
    if spec.network.exposed:
        found["ExposedPorts"] = {port: {} for port in spec.network.exposed}
    if spec.stop_signal:
        found["StopSignal"] = spec.stop_signal
    if spec.stop_timeout is not None:
        found["StopTimeout"] = spec.stop_timeout
    if spec.healthcheck:
        found["Healthcheck"] = spec.healthcheck
    return found


def host_config(record: ContainerRecord) -> dict[str, Any]:
    """The document's `HostConfig`: what was sent, completed; limits and restart policy as they are now."""
    spec, sent = record.spec, _sent(record, "HostConfig")
    found = {**_host_defaults(spec), **({} if sent else _native(spec)), **sent}
    found.update(_limits(spec.resources))
    found["RestartPolicy"] = {"Name": spec.restart.name, "MaximumRetryCount": spec.restart.max_retries}
    found["LogConfig"] = {"Type": spec.log.driver, "Config": spec.log.options}
    found["NetworkMode"] = spec.network.mode
    found["ShmSize"] = spec.shm_size
    return found


def _host_defaults(spec: ContainerSpec) -> dict[str, Any]:
    security, namespaces = spec.security, spec.namespaces
    masked, readonly = security.masked_paths, security.readonly_paths
    return {
        "Binds": None,
        "ContainerIDFile": "",
        "PortBindings": {},
        "AutoRemove": spec.auto_remove,
        "VolumeDriver": "",
        "VolumesFrom": None,
        "ConsoleSize": [0, 0],
        "CapAdd": security.cap_add or None,
        "CapDrop": security.cap_drop or None,
        "CgroupnsMode": namespaces.cgroup or "private",
        "Dns": spec.network.dns,
        "DnsOptions": spec.network.dns_options,
        "DnsSearch": spec.network.dns_search,
        "ExtraHosts": spec.network.extra_hosts or None,
        "GroupAdd": spec.group_add or None,
        "IpcMode": namespaces.ipc or "private",
        "Cgroup": "",
        "Links": None,
        "OomScoreAdj": spec.oom_score_adj,
        "PidMode": namespaces.pid,
        "Privileged": security.privileged,
        "PublishAllPorts": spec.network.publish_all,
        "ReadonlyRootfs": spec.read_only,
        "SecurityOpt": None,
        "UTSMode": namespaces.uts,
        "UsernsMode": namespaces.user,
        "Runtime": spec.runtime or "runc",
        "Isolation": "",
        "CgroupParent": spec.cgroup_parent,
        "BlkioWeightDevice": [],
        "BlkioDeviceReadBps": [],
        "BlkioDeviceWriteBps": [],
        "BlkioDeviceReadIOps": [],
        "BlkioDeviceWriteIOps": [],
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "Devices": [],
        "DeviceCgroupRules": spec.device_cgroup_rules or None,
        "DeviceRequests": None,
        "Ulimits": [],
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
        "MaskedPaths": list(MASKED_PATHS) if masked is None else masked,
        "ReadonlyPaths": list(READONLY_PATHS) if readonly is None else readonly,
    }


def _native(spec: ContainerSpec) -> dict[str, Any]:
    """docker's notation for what a native client asked for in the engine's."""
    found: dict[str, Any] = {
        "Binds": [_bind_text(mount) for mount in spec.mounts if mount.type != "tmpfs"] or None,
        "PortBindings": port_map((), spec.network.ports),
        "Ulimits": [{"Name": limit.name, "Soft": limit.soft, "Hard": limit.hard} for limit in spec.rlimits],
        "Devices": [
            {
                "PathOnHost": device.host_path,
                "PathInContainer": device.container_path,
                "CgroupPermissions": device.permissions,
            }
            for device in spec.devices
        ],
    }
    tmpfs = {mount.target: ",".join(mount.options) for mount in spec.mounts if mount.type == "tmpfs"}
    optional = {"Tmpfs": tmpfs, "Sysctls": spec.sysctls, "Annotations": spec.annotations, "Init": spec.init or None}
    return found | {key: value for key, value in optional.items() if value}


def _bind_text(mount: MountSpec) -> str:
    return f"{mount.source}:{mount.target}" + (":ro" if mount.read_only else "")


def _limits(resources: Resources) -> dict[str, Any]:
    return {
        "Memory": resources.memory,
        "MemorySwap": resources.memory_swap,
        "MemoryReservation": resources.memory_reservation,
        "MemorySwappiness": resources.memory_swappiness,
        "OomKillDisable": resources.oom_kill_disable,
        "NanoCpus": resources.nano_cpus,
        "CpuShares": resources.cpu_shares,
        "CpuPeriod": resources.cpu_period,
        "CpuQuota": resources.cpu_quota,
        "CpusetCpus": resources.cpuset_cpus,
        "CpusetMems": resources.cpuset_mems,
        "PidsLimit": resources.pids or None,
        "BlkioWeight": resources.blkio_weight,
    }


def mount_points(record: ContainerRecord, mountpoints: Mapping[str, str]) -> list[dict[str, Any]]:
    """The `Mounts` of inspect and of listings."""
    plain_tmpfs = _sent(record, "HostConfig").get("Tmpfs") or {}
    return [
        _mount_point(mount, mountpoints)
        for mount in record.spec.mounts
        if not (mount.type == "tmpfs" and mount.target in plain_tmpfs)
    ]


def _mount_point(mount: MountSpec, mountpoints: Mapping[str, str]) -> dict[str, Any]:
    volume = mount.type == "volume"
    return {
        "Type": mount.type,
        **({"Name": mount.source} if volume else {}),
        "Source": mountpoints.get(mount.source, "") if volume else mount.source,
        "Destination": mount.target,
        **({"Driver": "local"} if volume else {}),
        "Mode": "ro" if mount.read_only else "",
        "RW": not mount.read_only,
        "Propagation": (mount.propagation or "rprivate") if mount.type == "bind" else "",
    }


def network_settings(view: ContainerView) -> dict[str, Any]:
    """The document's `NetworkSettings`, with the top-level members that were there before 1.52."""
    spec = view.record.spec
    endpoint = view.endpoint if view.running else None
    mine = endpoint_settings(view)
    key = endpoint.netns if endpoint else ""
    return {
        "Bridge": "",
        "SandboxID": endpoint_id("sandbox", view.record.id) if endpoint else "",
        "SandboxKey": key,
        "Ports": port_map(spec.network.exposed, endpoint.ports) if endpoint else {},
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **{name: mine[name] if spec.network.mode == "bridge" else empty for name, empty in _TOP_LEVEL.items()},
        "Networks": {} if spec.network.mode.startswith("container:") else {spec.network.mode: mine},
    }


def endpoint_settings(view: ContainerView) -> dict[str, Any]:
    """How the container is on its network; addresses are empty while it does not run."""
    record = view.record
    endpoint: Endpoint | None = view.endpoint if view.running else None
    live = view.running and not record.spec.network.mode.startswith("container:")
    return {
        "IPAMConfig": None,
        "Links": None,
        "Aliases": None,
        "MacAddress": endpoint.mac if endpoint else "",
        "DriverOpts": None,
        "GwPriority": 0,
        "NetworkID": network_id(record.spec.network.mode) if live else "",
        "EndpointID": endpoint_id(record.spec.network.mode, record.id) if live else "",
        "Gateway": endpoint.gateway if endpoint else "",
        "IPAddress": endpoint.address if endpoint else "",
        "IPPrefixLen": endpoint.prefix if endpoint else 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": None,
    }
