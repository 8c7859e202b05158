"""The mounts of an OCI configuration: docker's defaults, then the request's, shallow targets first."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from corten_shared.errors import InvalidArgument
from corten_shared.models.container import ContainerSpec, MountSpec

if TYPE_CHECKING:
    from cortend.core.spec import SpecContext

PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})

_BIND_OPTIONS = frozenset(
    [
        "bind", "rbind", "ro", "rw", "rro", "nosuid", "nodev", "noexec", "suid", "dev", "exec", "noatime", "nodiratime",
        "relatime", "norelatime", "strictatime", "nostrictatime", "sync", "async", "mand", "nomand",
    ]
)
_TMPFS_FLAGS = _BIND_OPTIONS - {"bind", "rbind", "rro", "mand", "nomand"}
_TMPFS_VALUES = ("size=", "mode=", "uid=", "gid=", "nr_inodes=", "nr_blocks=", "mpol=")


def clean_target(path: str, *, what: str = "mount path") -> str:
    """`path` without `.`, `..` and double slashes; raises InvalidArgument unless it is absolute."""
    if not path.startswith("/") or "\0" in path or len(path) > 4096:
        raise InvalidArgument(f"invalid {what}: {path[:80]!r}: it must be an absolute path")
    return "/" + posixpath.normpath(path).lstrip("/")


def mounts(spec: ContainerSpec, context: SpecContext) -> list[dict[str, Any]]:
    """Every mount in the order in which the runtime makes them."""
    wanted = [*_files(context), *_requested(spec, context)]
    if spec.init:
        wanted.append(_bind(context.init_path, "/sbin/docker-init", ["ro"]))
    targets = [mount["destination"] for mount in wanted]
    defaults = [m for m in _defaults(spec, context) if not _replaced(m["destination"], targets)]
    unique = {mount["destination"]: mount for mount in wanted}
    return defaults + sorted(unique.values(), key=lambda mount: mount["destination"].count("/"))


def _replaced(default: str, targets: list[str]) -> bool:
    """A default gives way to a mount on the same place, and all below /dev to one on /dev."""
    return default in targets or ("/dev" in targets and default.startswith("/dev/"))


def _defaults(spec: ContainerSpec, context: SpecContext) -> list[dict[str, Any]]:
    access = "rw" if spec.security.privileged else "ro"
    return [
        _mount("proc", "proc", "/proc", "nosuid", "noexec", "nodev"),
        _mount("tmpfs", "tmpfs", "/dev", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "devpts", "devpts", "/dev/pts",
            "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5",
        ),
        _mount("sysfs", "sysfs", "/sys", "nosuid", "noexec", "nodev", access),
        _mount("cgroup", "cgroup", "/sys/fs/cgroup", access, "nosuid", "noexec", "nodev", "relatime"),
        *_ipc(spec, context),
    ]


def _ipc(spec: ContainerSpec, context: SpecContext) -> list[dict[str, Any]]:
    """Message queues and shared memory go with the ipc namespace."""
    if spec.namespaces.ipc == "host":
        return [
            _bind("/dev/mqueue", "/dev/mqueue", ["nosuid", "noexec", "nodev"]),
            _bind("/dev/shm", "/dev/shm", ["nosuid", "noexec", "nodev"]),  # noqa: S108 - the host's own
        ]
    queue = _mount("mqueue", "mqueue", "/dev/mqueue", "nosuid", "noexec", "nodev")
    shm = "/dev/shm"  # noqa: S108 - the container's own
    if context.shm:
        return [queue, _bind(context.shm, shm, ["nosuid", "noexec", "nodev"])]
    size = f"size={spec.shm_size}"
    return [queue, _mount("tmpfs", "shm", shm, "nosuid", "noexec", "nodev", "mode=1777", size)]


def _files(context: SpecContext) -> list[dict[str, Any]]:
    return [_bind(source, clean_target(target), ["rprivate"]) for target, source in context.files.items()]


def _requested(spec: ContainerSpec, context: SpecContext) -> list[dict[str, Any]]:
    result = []
    for mount in spec.mounts:
        target = _allowed(clean_target(mount.target), mount.source)
        if mount.type == "tmpfs":
            result.append(_tmpfs(mount, target))
        else:
            source = mount.source if mount.type == "bind" else context.volumes[mount.target]
            result.append(_bind(source, target, _bind_options(mount)))
    taken = {mount["destination"] for mount in result}
    for volume in spec.volumes:
        target = _allowed(clean_target(volume, what="volume"), "")
        if target not in taken and volume in context.volumes:
            result.append(_bind(context.volumes[volume], target, ["rprivate"]))
    return result


def _allowed(target: str, source: str) -> str:
    """The root and what lies in /proc cannot be mounted over: the first is the container, the second is what
    masks protect."""
    if target == "/":
        raise InvalidArgument("invalid specification: destination can't be '/'")
    if (target == "/proc" or target.startswith("/proc/")) and source != "/proc":
        raise InvalidArgument(f'"{target}" cannot be mounted because it is inside "/proc"')
    return target


def _bind_options(mount: MountSpec) -> list[str]:
    options = [option for option in mount.options if option not in PROPAGATIONS]
    for option in options:
        if option not in _BIND_OPTIONS:
            raise InvalidArgument(f"invalid option {option[:40]!r} of the mount on {mount.target[:80]}")
    propagation = mount.propagation or next((o for o in mount.options if o in PROPAGATIONS), "rprivate")
    if propagation not in PROPAGATIONS:
        raise InvalidArgument(f"invalid propagation {propagation[:40]!r} of the mount on {mount.target[:80]}")
    if mount.read_only and "ro" not in options:
        options = [*(o for o in options if o != "rw"), "ro"]
    return [*options, propagation]


def _tmpfs(mount: MountSpec, target: str) -> dict[str, Any]:
    """docker's `--tmpfs`: noexec, nosuid and nodev unless the request says otherwise."""
    options = []
    for option in mount.options:
        if option not in _TMPFS_FLAGS and not (option.startswith(_TMPFS_VALUES) and "," not in option):
            raise InvalidArgument(f"invalid tmpfs option {option[:40]!r} of {target[:80]}")
        options.append(option)
    for default, opposite in (("noexec", "exec"), ("nosuid", "suid"), ("nodev", "dev")):
        if opposite not in options and default not in options:
            options.insert(0, default)
    if mount.read_only and "ro" not in options:
        options.append("ro")
    return {"type": "tmpfs", "source": "tmpfs", "destination": target, "options": options}


def _mount(kind: str, source: str, target: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source, "options": list(options)}


def _bind(source: str, target: str, options: list[str]) -> dict[str, Any]:
    how = [] if {"bind", "rbind"} & set(options) else ["rbind"]
    return {"destination": target, "type": "bind", "source": source, "options": [*how, *options]}
