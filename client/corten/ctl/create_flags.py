"""The flags of a new container: ours, ctr's, and those of ctr's that mean nothing here, with the reason."""

from __future__ import annotations

from corten.ctl.command import told
from corten.flags import Flag

_DIRECT = "the daemon does that: see `runtime` in its configuration"
_USERNS = "user namespaces are not supported yet; the container's root is the host's, with few capabilities"
_STREAMS = "a container's streams are the daemon's to keep: see `cortenctl tasks logs` and `tasks attach`"

CREATE_FLAGS = [
    Flag("allow-new-privs", "bool", "Let processes gain privileges, as setuid programs do"),
    Flag("annotation", "list", "OCI annotation KEY=VALUE"),
    Flag("apparmor-default-profile", "string", "AppArmor profile that is loaded"),
    Flag("apparmor-profile", "string", "AppArmor profile that is loaded"),
    Flag("cap-add", "list", "Add a capability"),
    Flag("cap-drop", "list", "Drop a capability"),
    Flag("cgroup", "string", "Cgroup below which the container's is made"),
    Flag("cni", "bool", "Connect it to the bridge network (as it is anyway)"),
    Flag("cpu-period", "int", "Length of a CFS period in microseconds"),
    Flag("cpu-quota", "int", "Microseconds of CPU in each period"),
    Flag("cpu-shares", "int", "Weight among containers that want the CPU"),
    Flag("cpus", "decimal", "CPUs it may use"),
    Flag("cwd", "string", "Working directory"),
    Flag("device", "list", "Host device (or a directory of them), PATH[:PATH IN CONTAINER[:rwm]]"),
    Flag("entrypoint", "string", "Takes the place of the image's entrypoint"),
    Flag("env", "list", "Environment variable KEY=VALUE", short="e"),
    Flag("env-file", "list", "File with a variable KEY=VALUE in each line"),
    Flag("hostname", "string", "Host name"),
    Flag("interactive", "bool", "Keep its input open", short="i"),
    Flag("label", "list", "Label KEY=VALUE"),
    Flag("memory", "bytes", "Memory limit, like 64m", short="m"),
    Flag("memory-limit", "bytes", "Memory limit", to="memory"),
    Flag("mount", "list", "type=bind,src=PATH,dst=PATH[,options=ro:noexec]; type tmpfs or volume too"),
    Flag("net-host", "bool", "Share the host's network"),
    Flag("network", "string", "bridge, none, host or container:NAME", default="bridge"),
    Flag("pids-limit", "int", "Processes it may have"),
    Flag("platform", "string", "Platform of the image"),
    Flag("privileged", "bool", "Give it every privilege"),
    Flag("publish", "list", "Publish a port, [IP:][HOST:]CONTAINER[/PROTOCOL]", short="p"),
    Flag("read-only", "bool", "Mount its root read-only"),
    Flag("rlimit-nofile", "string", "Open files: SOFT[:HARD]"),
    Flag("rootfs", "bool", "The first argument is a directory of the host, not an image"),
    Flag("rootfs-propagation", "string", "How mounts below its root propagate: private, shared, slave"),
    Flag("runtime", "string", "OCI runtime: crun or runc"),
    Flag("seccomp", "bool", "Filter its system calls by the default profile (as it is anyway)"),
    Flag("seccomp-profile", "string", "File with a seccomp profile, or `unconfined`"),
    Flag("snapshotter", "string", "Snapshotter"),
    Flag("snapshotter-label", "list", "Label of its snapshot, KEY=VALUE"),
    Flag("tty", "bool", "Give it a terminal; keeps its input open too", short="t"),
    Flag("user", "string", "User, or USER:GROUP", short="u"),
    Flag("with-ns", "list", "Join a namespace: TYPE:PATH (network, pid, ipc, uts, cgroup)"),
    told("config", "string", "a whole OCI configuration cannot be given: say what differs with flags", short="c"),
    told("gidmap", "list", _USERNS),
    told("gpus", "list", "there is no GPU support; give the device nodes with --device"),
    told("no-pivot", "bool", "pivot_root always works on the roots that snapshots are, and is the safer way"),
    told("rdt-class", "string", "there is no support for Intel RDT"),
    told("remap-labels", "bool", _USERNS),
    told("runc-binary", "string", _DIRECT),
    told("runc-root", "string", _DIRECT),
    told("runc-systemd-cgroup", "bool", "cgroups are made through the cgroup file system; name one with --cgroup"),
    told("runtime-config-path", "string", _DIRECT),
    told("uidmap", "list", _USERNS),
]
"""What `containers create` and `run` have in common."""

NO_PID = told("pid-file", "string", "a container has no process yet: give it to `tasks start`")
PID_FILE = Flag("pid-file", "string", "File to write the task's process id to")
NO_STREAMS = [told("fifo-dir", "string", _STREAMS), told("log-uri", "string", _STREAMS)]
RUN_FLAGS = [
    *CREATE_FLAGS,
    Flag("detach", "bool", "Leave it running and print its name", short="d"),
    Flag("null-io", "bool", "Give it no streams and keep no log"),
    PID_FILE,
    Flag("rm", "bool", "Remove the container when its task has ended"),
    *NO_STREAMS,
]
