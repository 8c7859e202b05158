"""The body of `POST /containers/create` (engine API: ContainerConfig, HostConfig, NetworkingConfig)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from cortend.api.docker.models.base import Int64, Wire, Words


def _present(value: Any) -> Any:
    """Drop `null` values of a map of lists or objects: they mean "nothing given"."""
    return {k: [] if v is None else v for k, v in value.items()} if isinstance(value, dict) else value


def _strings(value: Any) -> Any:
    return {k: "" if v is None else v for k, v in value.items()} if isinstance(value, dict) else value


Labels = Annotated[dict[str, str], BeforeValidator(_strings)]


class Health(Wire):
    """A health check; durations in ns, 0 is the default."""

    test: list[str] = []
    interval: Int64 = 0
    timeout: Int64 = 0
    start_period: Int64 = 0
    start_interval: Int64 = 0
    retries: int = 0
    on_failure: str = ""
    """Ours: what happens to an unhealthy container: none, kill, restart or stop."""


class PortBinding(Wire):
    """Where a port is published; both may be empty."""

    host_ip: str = ""
    host_port: Annotated[str, BeforeValidator(lambda v: str(v) if isinstance(v, int) else v)] = ""


class Restart(Wire):
    """A restart policy."""

    name: str = ""
    maximum_retry_count: int = 0


class Log(Wire):
    """A log driver and its options."""

    type: str = ""
    config: Labels = {}


class Ulimit(Wire):
    """A resource limit."""

    name: str = ""
    soft: Int64 = 0
    hard: Int64 = 0


class Device(Wire):
    """A host device for the container."""

    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class DeviceRequest(Wire):
    """A request to a device driver (GPUs)."""

    driver: str = ""
    count: int = 0
    device_ids: list[str] = Field(default=[], alias="DeviceIDs")
    capabilities: list[list[str]] = []
    options: Labels = {}


class BindOptions(Wire):
    """Options of a bind mount."""

    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class DriverConfig(Wire):
    """A volume driver and its options."""

    name: str = ""
    options: Labels = {}


class VolumeOptions(Wire):
    """Options of a volume mount."""

    no_copy: bool = False
    labels: Labels = {}
    driver_config: DriverConfig | None = None
    subpath: str = ""


class TmpfsOptions(Wire):
    """Options of a tmpfs mount; `mode` as a number (octal 1777 is 1023)."""

    size_bytes: Int64 = 0
    mode: int = 0
    options: list[list[str]] = []


class Mount(Wire):
    """A mount as `--mount` gives it."""

    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    tmpfs_options: TmpfsOptions | None = None


class ResourceLimits(Wire):
    """The members that create and update share; 0 and empty mean no limit."""

    memory: Int64 = 0
    memory_swap: Int64 = 0
    memory_reservation: Int64 = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    nano_cpus: Int64 = 0
    cpu_shares: Int64 = 0
    cpu_period: Int64 = 0
    cpu_quota: Int64 = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: Int64 | None = None
    blkio_weight: int = 0


class HostConfig(ResourceLimits):
    """How a container runs on this host."""

    binds: list[str] = []
    container_id_file: str = Field(default="", alias="ContainerIDFile")
    log_config: Log = Log()
    network_mode: str = ""
    port_bindings: Annotated[dict[str, list[PortBinding]], BeforeValidator(_present)] = {}
    restart_policy: Restart = Restart()
    auto_remove: bool = False
    time_limit: int = 0
    """Ours: seconds after which the container is stopped; 0 is none."""
    volume_driver: str = ""
    volumes_from: list[str] = []
    console_size: list[int] = []
    annotations: Labels = {}
    cap_add: Words = []
    cap_drop: Words = []
    cgroupns_mode: str = ""
    dns: list[str] = []
    dns_options: list[str] = []
    dns_search: list[str] = []
    extra_hosts: list[str] = []
    group_add: list[str] = []
    ipc_mode: str = ""
    cgroup: str = ""
    links: list[str] = []
    oom_score_adj: int = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] = []
    storage_opt: Labels = {}
    tmpfs: Labels = {}
    uts_mode: str = Field(default="", alias="UTSMode")
    userns_mode: str = ""
    shm_size: Int64 = 0
    sysctls: Labels = {}
    runtime: str = ""
    isolation: str = ""
    cgroup_parent: str = ""
    devices: list[Device] = []
    device_cgroup_rules: list[str] = []
    device_requests: list[DeviceRequest] = []
    ulimits: list[Ulimit] = []
    mounts: list[Mount] = []
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None
    init: bool | None = None


class EndpointIpam(Wire):
    """Addresses asked for."""

    ipv4_address: str = Field(default="", alias="IPv4Address")
    ipv6_address: str = Field(default="", alias="IPv6Address")


class EndpointSettings(Wire):
    """How a container is on one network."""

    ipam_config: EndpointIpam | None = Field(default=None, alias="IPAMConfig")
    aliases: list[str] = []
    mac_address: str = ""
    links: list[str] = []
    driver_opts: Labels = {}


def _endpoints(value: Any) -> Any:
    return {k: {} if v is None else v for k, v in value.items()} if isinstance(value, dict) else value


class NetworkingConfig(Wire):
    """The networks to be on, by name."""

    endpoints_config: Annotated[dict[str, EndpointSettings], BeforeValidator(_endpoints)] = {}


class CreateBody(Wire):
    """The whole body: Config's members, and HostConfig and NetworkingConfig beside them."""

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, Any] = {}
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] = []
    cmd: Words | None = None
    healthcheck: Health | None = None
    image: str = ""
    volumes: dict[str, Any] = {}
    working_dir: str = ""
    entrypoint: Words | None = None
    network_disabled: bool = False
    mac_address: str = ""
    labels: Labels = {}
    stop_signal: str = ""
    stop_timeout: int | None = None
    host_config: HostConfig = HostConfig()
    networking_config: NetworkingConfig = NetworkingConfig()


class UpdateBody(ResourceLimits):
    """The body of `POST /containers/{id}/update`: what is absent stays as it is."""

    restart_policy: Restart | None = None
