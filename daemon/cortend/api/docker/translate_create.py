"""From the body of container create to the engine's request.

Only what docker's notation needs is judged here (syntax of binds, ports, security options, restart policies); what a
container may be is the services' business. Errors are in docker's words.
"""

from __future__ import annotations

from typing import Any

from corten_shared.errors import InvalidArgument, Unimplemented
from corten_shared.models.container import (
    ContainerSpec,
    DeviceSpec,
    LogSpec,
    NamespaceSpec,
    NetworkSpec,
    Resources,
    RestartPolicy,
    Rlimit,
    SecuritySpec,
)
from cortend.api.docker.models.create import CreateBody, Health, HostConfig, ResourceLimits, Restart
from cortend.api.docker.translate_mounts import mounts_of, volumes_of
from cortend.api.docker.translate_ports import exposed_ports, port_mappings
from cortend.services.requests import CreateRequest

_POLICIES = ("no", "always", "on-failure", "unless-stopped")
_MILLISECOND = 1_000_000


def create_request(body: CreateBody, *, name: str, platform: str) -> CreateRequest:
    """The request for ContainerService.create; raises InvalidArgument for what cannot be read."""
    if not body.image:
        raise InvalidArgument("no image specified in the container's configuration: Image must not be empty")
    return CreateRequest(
        image=body.image,
        name=name,
        platform=platform,
        spec=container_spec(body),
        labels=body.labels,
        extensions={"docker": _as_sent(body)},
    )


def _as_sent(body: CreateBody) -> dict[str, Any]:
    """What inspect gives back as it came: only what differs from the defaults, so that records stay small."""
    config = {"AttachStdin": body.attach_stdin, "AttachStdout": body.attach_stdout, "AttachStderr": body.attach_stderr}
    host = body.host_config.model_dump(by_alias=True, exclude_defaults=True)
    # Objects whose empty members docker shows all the same.
    whole = body.host_config.model_dump(by_alias=True, include={"port_bindings", "ulimits", "devices"})
    endpoints = body.networking_config.model_dump(by_alias=True, exclude_defaults=True).get("EndpointsConfig", {})
    return {
        "Config": {key: True for key, value in config.items() if value},
        "HostConfig": {**host, **{key: value for key, value in whole.items() if value}},
        **({"Endpoints": endpoints} if endpoints else {}),
    }


def container_spec(body: CreateBody) -> ContainerSpec:
    """What to run, as asked; nothing of the image is in it yet."""
    host = body.host_config
    _check_env(body.env)
    return ContainerSpec(
        entrypoint=body.entrypoint,
        cmd=body.cmd,
        env=body.env,
        cwd=body.working_dir,
        user=body.user,
        group_add=host.group_add,
        tty=body.tty,
        open_stdin=body.open_stdin,
        stdin_once=body.stdin_once,
        hostname=body.hostname,
        domainname=body.domainname,
        mounts=mounts_of(host),
        volumes=volumes_of(body.volumes),
        read_only=host.readonly_rootfs,
        shm_size=_shm_size(host.shm_size),
        init=bool(host.init),
        devices=_devices(host),
        device_cgroup_rules=host.device_cgroup_rules,
        rlimits=[Rlimit(name=limit.name, soft=limit.soft, hard=limit.hard) for limit in host.ulimits],
        sysctls=host.sysctls,
        oom_score_adj=_oom_score(host.oom_score_adj),
        network=_network(body),
        resources=resources(host),
        security=_security(host),
        namespaces=NamespaceSpec(
            pid=host.pid_mode,
            ipc=host.ipc_mode,
            uts=host.uts_mode,
            cgroup=_cgroup_mode(host),
            user=host.userns_mode,
        ),
        restart=restart_policy(host.restart_policy),
        log=LogSpec(driver=host.log_config.type, options=host.log_config.config),
        auto_remove=host.auto_remove,
        stop_signal=body.stop_signal,
        stop_timeout=body.stop_timeout,
        runtime=host.runtime,
        cgroup_parent=host.cgroup_parent,
        annotations=host.annotations,
        healthcheck=_healthcheck(body.healthcheck),
        time_limit=_time_limit(host.time_limit),
    )


def resources(limits: ResourceLimits) -> Resources:
    """Limits as the engine has them."""
    swappiness = limits.memory_swappiness
    if swappiness is not None and not -1 <= swappiness <= 100:
        raise InvalidArgument(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
    if limits.blkio_weight and not 10 <= limits.blkio_weight <= 1000:
        raise InvalidArgument("Range of blkio weight is from 10 to 1000")
    if limits.cpu_period and not 1000 <= limits.cpu_period <= 1_000_000:
        raise InvalidArgument("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < limits.cpu_quota < 1000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    return Resources(
        memory=limits.memory,
        memory_swap=limits.memory_swap,
        memory_reservation=limits.memory_reservation,
        memory_swappiness=None if swappiness == -1 else swappiness,
        oom_kill_disable=limits.oom_kill_disable,
        nano_cpus=limits.nano_cpus,
        cpu_shares=limits.cpu_shares,
        cpu_period=limits.cpu_period,
        cpu_quota=limits.cpu_quota,
        cpuset_cpus=limits.cpuset_cpus,
        cpuset_mems=limits.cpuset_mems,
        pids=limits.pids_limit or 0,
        blkio_weight=limits.blkio_weight,
    )


def restart_policy(policy: Restart) -> RestartPolicy:
    """A restart policy; an empty name is `no`."""
    name, count = policy.name or "no", policy.maximum_retry_count
    if name not in _POLICIES:
        raise InvalidArgument(
            f"invalid restart policy: unknown policy '{name[:40]}'; use one of 'no', 'always', 'on-failure', or "
            "'unless-stopped'"
        )
    if count and policy.name and name != "on-failure":
        negative = " and cannot be negative" if count < 0 else ""
        raise InvalidArgument(
            f"invalid restart policy: maximum retry count can only be used with 'on-failure'{negative}"
        )
    if count < 0:
        raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    return RestartPolicy.model_validate({"name": name, "max_retries": count if name == "on-failure" else 0})


def _check_env(env: list[str]) -> None:
    for entry in env:
        if not entry or entry.startswith("="):
            raise InvalidArgument(f"invalid environment variable: {entry[:80]}")


def _shm_size(size: int) -> int:
    if size < 0:
        raise InvalidArgument("SHM size can not be less than 0")
    return size or 64 << 20


def _oom_score(score: int) -> int:
    if not -1000 <= score <= 1000:
        raise InvalidArgument(f"Invalid value {score}, range for oom score adj is [-1000, 1000]")
    return score


def _cgroup_mode(host: HostConfig) -> str:
    if host.cgroupns_mode not in ("", "private", "host"):
        raise InvalidArgument(f"invalid CGROUP mode: {host.cgroupns_mode[:40]}")
    return host.cgroupns_mode


def _devices(host: HostConfig) -> list[DeviceSpec]:
    for request in host.device_requests:
        raise InvalidArgument(
            f'could not select device driver "{request.driver}" with capabilities: '
            f"[{' '.join('[' + ' '.join(names) + ']' for names in request.capabilities)}]"
        )
    return [
        DeviceSpec(
            host_path=device.path_on_host,
            container_path=device.path_in_container or device.path_on_host,
            permissions=device.cgroup_permissions or "rwm",
        )
        for device in host.devices
    ]


def _network(body: CreateBody) -> NetworkSpec:
    host, endpoints = body.host_config, body.networking_config.endpoints_config
    mode = "none" if body.network_disabled else host.network_mode
    if mode in ("", "default"):
        mode = next(iter(endpoints), "bridge") if mode == "" else "bridge"
    settings = endpoints.get(mode) or endpoints.get("default")
    _check_endpoints(mode, body)
    return NetworkSpec(
        mode=mode,
        ports=port_mappings(host.port_bindings),
        publish_all=host.publish_all_ports,
        exposed=exposed_ports(body.exposed_ports, host.port_bindings),
        dns=host.dns,
        dns_search=host.dns_search,
        dns_options=host.dns_options,
        extra_hosts=host.extra_hosts,
        mac_address=(settings.mac_address if settings else "") or body.mac_address,
    )


def _check_endpoints(mode: str, body: CreateBody) -> None:
    """What the default bridge cannot do; docker refuses the same."""
    names = set(body.networking_config.endpoints_config) - {mode, "default"}
    if names:
        others = ", ".join(sorted(names))[:80]
        raise Unimplemented(f"a container can be on one network: {mode} was asked for, and also {others}")
    for settings in body.networking_config.endpoints_config.values():
        ipam = settings.ipam_config
        if ipam and (ipam.ipv4_address or ipam.ipv6_address) and mode in ("bridge", "host", "none"):
            raise InvalidArgument(
                "invalid endpoint settings: user specified IP address is supported on user defined networks only"
            )


def _security(host: HostConfig) -> SecuritySpec:
    spec: dict[str, Any] = {}
    for option in host.security_opt:
        spec.update(_security_option(option))
    if host.privileged and "seccomp" not in spec:
        spec["seccomp"] = "unconfined"
    return SecuritySpec(
        privileged=host.privileged,
        cap_add=host.cap_add,
        cap_drop=host.cap_drop,
        masked_paths=[] if host.privileged else host.masked_paths,
        readonly_paths=[] if host.privileged else host.readonly_paths,
        **spec,
    )


def _security_option(option: str) -> dict[str, Any]:
    if option == "no-new-privileges":
        return {"no_new_privileges": True}
    separator = "=" if "=" in option else ":"
    key, found, value = option.partition(separator)
    if not found:
        raise InvalidArgument(f'invalid --security-opt 1: "{option[:80]}"')
    match key:
        case "no-new-privileges":
            return {"no_new_privileges": _boolean(option, value)}
        case "seccomp":
            return {} if value == "builtin" else {"seccomp": value}
        case "apparmor":
            return {"apparmor": value}
        case "label":
            return {}  # SELinux labels mean nothing on a host without SELinux, as in docker
        case "writable-cgroups":
            raise Unimplemented("writable-cgroups is not supported", hint="use --privileged")
        case _:
            raise InvalidArgument(f'invalid --security-opt 2: "{option[:80]}"')


def _boolean(option: str, value: str) -> bool:
    if value.lower() in ("1", "t", "true"):
        return True
    if value.lower() in ("0", "f", "false"):
        return False
    raise InvalidArgument(f'invalid --security-opt 2: "{option[:80]}"')


def _time_limit(seconds: int) -> int:
    if not 0 <= seconds <= 10 * 365 * 86400:
        raise InvalidArgument(f"invalid time limit: {seconds} seconds", hint="seconds from the start; 0 is no limit")
    return seconds


def _healthcheck(health: Health | None) -> dict[str, Any] | None:
    """The health check in the image format's terms; None when the image's is to be used (no Test)."""
    if health is None:
        return None
    for name, value in (
        ("Interval", health.interval), ("Timeout", health.timeout), ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
    ):  # fmt: skip
        if value and value < _MILLISECOND:
            raise InvalidArgument(f"{name} in Healthcheck cannot be less than 1ms")
    if health.retries < 0:
        raise InvalidArgument("Retries in Healthcheck cannot be negative")
    return health.model_dump(by_alias=True, exclude_defaults=True) or None
