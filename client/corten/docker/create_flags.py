"""The flags of `run` and `create`: what a new container is told."""

from __future__ import annotations

from corten.docker import values
from corten.docker.mounts import parse_mount
from corten.docker.networks import parse_attachment
from corten.flags import Flag

_PROCESS = [
    Flag("attach", "list", "Attach to STDIN, STDOUT or STDERR", short="a", convert=values.stream),
    Flag("entrypoint", "string", "Run this instead of the image's ENTRYPOINT"),
    Flag("env", "list", "Set environment variables", short="e", convert=values.environment),
    Flag("env-file", "list", "Read environment variables from a file"),
    Flag("hostname", "string", "Host name of the container", short="h"),
    Flag("domainname", "string", "NIS domain name of the container"),
    Flag("init", "bool", "Run an init that forwards signals and reaps processes"),
    Flag("interactive", "bool", "Keep STDIN open even if not attached", short="i"),
    Flag("tty", "bool", "Allocate a pseudo-TTY", short="t"),
    Flag("user", "string", "Name or UID (format: <name|uid>[:<group|gid>])", short="u"),
    Flag("workdir", "string", "Working directory inside the container", short="w"),
    Flag("stop-signal", "string", "Signal that stops the container"),
    Flag("stop-timeout", "int", "Seconds to wait before the container is killed on stop"),
    Flag("restart", "string", "Restart policy for when the container exits", default="no"),
    Flag("replace", "bool", "Remove a container that has the name already, running or not"),
    Flag("timeout", "int", "Seconds after which the container is stopped (0: never)"),
    Flag("rm", "bool", "Remove the container and its anonymous volumes when it exits"),
]

_IDENTITY = [
    Flag("annotation", "map", "Add an annotation, passed through to the OCI runtime"),
    Flag("cidfile", "string", "Write the container's ID to this file"),
    Flag("pidfile", "string", "Write the process ID of the container's first process to this file"),
    Flag("label", "list", "Set metadata on the container", short="l", convert=values.label),
    Flag("label-file", "list", "Read labels from a file, one a line"),
    Flag("name", "string", "Name of the container"),
    Flag("platform", "string", "Platform to run, when the image has several (os/arch[/variant])"),
    Flag("pull", "string", 'Pull the image before running: "always", "missing", "never"', default="missing"),
    Flag("quiet", "bool", "Do not show the progress of a pull", short="q"),
    Flag("runtime", "string", "OCI runtime to use for this container"),
    Flag("isolation", "string", "Isolation technology (Windows)"),
    Flag("disable-content-trust", "bool", "Skip image verification", default=True),
    Flag("use-api-socket", "bool", "Bind mount the engine's socket into the container"),
]

_NETWORK = [
    Flag("add-host", "list", "Add a line to the hosts file (host:ip)", convert=values.extra_host),
    Flag("dns", "list", "DNS servers", convert=values.ip_address),
    Flag("dns-option", "list", "DNS options"),
    Flag("dns-opt", "list", "DNS options", hidden=True, to="dns-option"),
    Flag("dns-search", "list", "DNS search domains", convert=values.search_domain),
    Flag("expose", "list", "Expose a port or a range of ports"),
    Flag("ip", "string", "IPv4 address (e.g., 172.30.100.104)"),
    Flag("ip6", "string", "IPv6 address (e.g., 2001:db8::33)"),
    Flag("link", "list", "Add a link to another container", convert=values.link),
    Flag("link-local-ip", "list", "Link-local IPv4 or IPv6 addresses", convert=values.ip_address),
    Flag("mac-address", "string", "MAC address (e.g., 92:d0:c6:0a:29:33)"),
    Flag("network", "network", "Connect the container to a network", convert=parse_attachment, many=True),
    Flag("net", "network", "", convert=parse_attachment, many=True, hidden=True, to="network"),
    Flag("network-alias", "list", "Further names of the container in its network"),
    Flag("net-alias", "list", "", hidden=True, to="network-alias"),
    Flag("publish", "list", "Publish ports of the container on the host", short="p"),
    Flag("publish-all", "bool", "Publish all exposed ports on ports of the engine's choice", short="P"),
]

_STORAGE = [
    Flag("mount", "mount", "Attach a mount to the container", convert=parse_mount, many=True),
    Flag("read-only", "bool", "Mount the container's root filesystem read-only"),
    Flag("shm-size", "bytes", "Size of /dev/shm"),
    Flag("storage-opt", "list", "Options for the storage driver"),
    Flag("tmpfs", "list", "Mount a tmpfs on a directory"),
    Flag("volume", "list", "Bind mount a directory or a volume", short="v"),
    Flag("volume-driver", "string", "Volume driver for the container"),
    Flag("volumes-from", "list", "Mount the volumes of these containers"),
]

_SECURITY = [
    Flag("cap-add", "list", "Add Linux capabilities"),
    Flag("cap-drop", "list", "Drop Linux capabilities"),
    Flag("cgroup-parent", "string", "Parent cgroup of the container"),
    Flag("cgroupns", "string", "Cgroup namespace: host or private"),
    Flag("group-add", "list", "Further groups of the process"),
    Flag("ipc", "string", "IPC mode"),
    Flag("pid", "string", "PID namespace"),
    Flag("privileged", "bool", "Give the container extended privileges"),
    Flag("security-opt", "list", "Security options"),
    Flag("sysctl", "map", "Sysctls of the container", convert=values.sysctl),
    Flag("userns", "string", "User namespace"),
    Flag("uts", "string", "UTS namespace"),
]

_LIMITS = [
    Flag("blkio-weight", "uint16", "Block IO weight, 10 to 1000, or 0 to disable"),
    Flag("blkio-weight-device", "list", "Block IO weight of a device", convert=values.device_weight),
    Flag("cpu-count", "int", "CPU count (Windows)"),
    Flag("cpu-percent", "int", "CPU percent (Windows)"),
    Flag("cpu-period", "int", "Period of the CPU quota, in microseconds"),
    Flag("cpu-quota", "int", "CPU quota a period, in microseconds"),
    Flag("cpu-rt-period", "int", "Period of the real-time CPU limit, in microseconds"),
    Flag("cpu-rt-runtime", "int", "Real-time CPU limit a period, in microseconds"),
    Flag("cpu-shares", "int", "CPU shares (relative weight)", short="c"),
    Flag("cpus", "decimal", "Number of CPUs"),
    Flag("cpuset-cpus", "string", "CPUs to run on (0-3, 0,1)"),
    Flag("cpuset-mems", "string", "Memory nodes to use (0-3, 0,1)"),
    Flag("device", "list", "Give the container a device of the host"),
    Flag("device-cgroup-rule", "list", "Add a rule to the list of allowed devices"),
    Flag("device-read-bps", "list", "Limit bytes read a second from a device", convert=values.device_rate),
    Flag("device-read-iops", "list", "Limit reads a second from a device", convert=values.device_operations),
    Flag("device-write-bps", "list", "Limit bytes written a second to a device", convert=values.device_rate),
    Flag("device-write-iops", "list", "Limit writes a second to a device", convert=values.device_operations),
    Flag("gpus", "gpu-request", "GPUs to add ('all' passes all)", convert=values.gpus, many=True),
    Flag("io-maxbandwidth", "bytes", "IO bandwidth limit (Windows)"),
    Flag("io-maxiops", "int", "IO operations limit (Windows)"),
    Flag("kernel-memory", "bytes", "Kernel memory limit (has no effect any more)"),
    Flag("memory", "bytes", "Memory limit", short="m"),
    Flag("memory-reservation", "bytes", "Soft memory limit"),
    Flag("memory-swap", "bytes", "Memory and swap together; -1 for unlimited swap", convert=values.swap_size),
    Flag("memory-swappiness", "int", "Swappiness of the container, 0 to 100", default=-1),
    Flag("oom-kill-disable", "bool", "Keep the kernel from killing the container's processes"),
    Flag("oom-score-adj", "int", "Preference of the OOM killer, -1000 to 1000"),
    Flag("pids-limit", "int", "Limit of processes and threads; -1 for no limit"),
    Flag("ulimit", "ulimit", "Ulimits", convert=values.ulimit, many=True),
]

_HEALTH = [
    Flag("health-cmd", "string", "Command that checks the container's health"),
    Flag("health-interval", "duration", "Time between checks (ms|s|m|h)"),
    Flag("health-on-failure", "string", "What happens to an unhealthy container: none, kill, restart or stop"),
    Flag("health-retries", "int", "Failures in a row that make the container unhealthy"),
    Flag("health-start-interval", "duration", "Time between checks during the start period (ms|s|m|h)"),
    Flag("health-start-period", "duration", "Time to start up before failures count (ms|s|m|h)"),
    Flag("health-timeout", "duration", "Longest time one check may take (ms|s|m|h)"),
    Flag("no-healthcheck", "bool", "Disable the image's HEALTHCHECK"),
]

_LOGGING = [
    Flag("log-driver", "string", "Logging driver of the container"),
    Flag("log-opt", "list", "Options of the logging driver"),
]

CREATE_FLAGS = [*_PROCESS, *_IDENTITY, *_NETWORK, *_STORAGE, *_SECURITY, *_LIMITS, *_HEALTH, *_LOGGING]
"""Every flag of `create`."""

RUN_FLAGS = [
    *CREATE_FLAGS,
    Flag("detach", "bool", "Run in the background and print the container's ID", short="d"),
    Flag("detach-keys", "string", "Keys that detach from the container"),
    Flag("sig-proxy", "bool", "Pass signals on to the process", default=True),
]
"""Every flag of `run`."""
