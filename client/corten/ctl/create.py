"""The request that the flags of a new container make."""

from __future__ import annotations

from corten.ctl.create_flags import CREATE_FLAGS
from corten.ctl.session import Session, segment
from corten.output import err, escape
from corten_shared.errors import InvalidArgument

__all__ = ["CREATE_FLAGS", "create", "creation", "parse_mount"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.flags import Options

def creation(
    options: Options, *, tty: bool, auto_remove: bool = False, null_io: bool = False
) -> dict[str, Any]:
    """The body of a creation; arguments are IMAGE NAME [COMMAND [ARG...]]. Raises InvalidArgument."""
    image, name, *words = options.args
    spec: dict[str, Any] = {
        "env": [*_from_files(options["env-file"]), *(_pair("--env", text) for text in options["env"])],
        "cwd": options["cwd"],
        "user": options["user"],
        "hostname": options["hostname"],
        "tty": tty,
        "open_stdin": bool(options["interactive"]) or tty,
        "stdin_once": bool(options["interactive"]) or tty,
        "mounts": [parse_mount(text) for text in options["mount"]],
        "devices": [_device(text) for text in options["device"]],
        "rlimits": [_rlimit(options["rlimit-nofile"])] if options["rlimit-nofile"] else [],
        "read_only": bool(options["read-only"]),
        "rootfs": _directory(image) if options["rootfs"] else "",
        "rootfs_propagation": options["rootfs-propagation"],
        "runtime": _RUNTIMES.get(options["runtime"], options["runtime"]),
        "cgroup_parent": options["cgroup"],
        "annotations": _pairs("--annotation", options["annotation"]),
        "auto_remove": auto_remove,
        "network": {"mode": _network(options), "ports": [p for text in options["publish"] for p in _ports(text)]},
        "namespaces": {kind: f"path:{path}" for kind, path in _joined(options).items() if kind != "network"},
        "resources": _resources(options),
        "security": _security(options),
    }
    if null_io:
        spec["log"] = {"driver": "none"}
    if words:
        spec["cmd"] = words
    if "entrypoint" in options.changed:
        spec["entrypoint"] = [options["entrypoint"]] if options["entrypoint"] else []
    return {
        "image": image,
        "name": name,
        "platform": options["platform"],
        "snapshotter": options["snapshotter"],
        "spec": spec,
        "labels": _pairs("--label", options["label"]),
    }


def create(
    session: Session, options: Options, *, tty: bool | None = None, auto_remove: bool = False, null_io: bool = False
) -> dict[str, Any]:
    """Make the container that the options describe, and tell what it will not do as asked; its record."""
    wanted = bool(options["tty"]) if tty is None else tty
    body = creation(options, tty=wanted, auto_remove=auto_remove, null_io=null_io)
    labels = _pairs("--snapshotter-label", options["snapshotter-label"])
    created = session.call("POST", "/containers", body)
    for warning in created["warnings"]:
        err(f"WARNING: {escape(warning)}")
    record: dict[str, Any] = created["container"]
    if labels:
        path = f"/snapshots/{segment(record['snapshotter'])}/keys/{segment(record['snapshot_key'])}"
        session.call("PATCH", path, {"labels": labels})
    return record


_RUNTIMES = {"io.containerd.runc.v2": "runc", "io.containerd.runc.v1": "runc", "io.containerd.runtime.v1.linux": "runc"}
"""ctr's names of what is a runtime here."""
_NAMESPACES = {"network": "network", "net": "network", "pid": "pid", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup"}


def _resources(options: Options) -> dict[str, int]:
    return {
        "memory": options["memory"] or 0,
        "nano_cpus": options["cpus"] or 0,
        "pids": options["pids-limit"] or 0,
        "cpu_shares": options["cpu-shares"] or 0,
        "cpu_quota": max(options["cpu-quota"] or 0, 0),  # ctr's -1 is none
        "cpu_period": options["cpu-period"] or 0,
    }


def _security(options: Options) -> dict[str, Any]:
    security: dict[str, Any] = {
        "privileged": bool(options["privileged"]),
        "cap_add": options["cap-add"],
        "cap_drop": options["cap-drop"],
        "no_new_privileges": not options["allow-new-privs"],
    }
    if profile := options["seccomp-profile"]:
        security["seccomp"] = profile if profile == "unconfined" else _read("--seccomp-profile", profile)
    if profile := options["apparmor-profile"] or options["apparmor-default-profile"]:
        security["apparmor"] = profile
    return security


def _network(options: Options) -> str:
    path = _joined(options).get("network")
    if path:
        return f"path:{path}"
    if options["net-host"]:
        return "host"
    return str(options["network"])


def _joined(options: Options) -> dict[str, str]:
    """Paths of namespaces by what they are here."""
    joined = {}
    for text in options["with-ns"]:
        kind, _, path = text.partition(":")
        if kind not in _NAMESPACES:
            raise InvalidArgument(f"--with-ns {text!r}: it joins {', '.join(_NAMESPACES)} namespaces")
        if not path.startswith("/"):
            raise InvalidArgument(f"--with-ns {text!r} is not TYPE:PATH with an absolute path")
        joined[_NAMESPACES[kind]] = path
    return joined


def _read(flag: str, path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"{flag} {path}: {getattr(error, 'strerror', None) or error}") from None


def _from_files(paths: list[str]) -> list[str]:
    """Variables of files; blank lines and those that begin with # are left out."""
    lines = [line for path in paths for line in _read("--env-file", path).splitlines()]
    return [_pair("--env-file", line) for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _directory(path: str) -> str:
    import os

    return os.path.abspath(path)


def _device(text: str) -> dict[str, str]:
    host, _, rest = text.partition(":")
    inside, _, permissions = rest.partition(":")
    return {"host_path": host, "container_path": inside or host, "permissions": permissions or "rwm"}


def _rlimit(text: str) -> dict[str, Any]:
    soft, _, hard = text.partition(":")
    try:
        return {"name": "nofile", "soft": int(soft), "hard": int(hard or soft)}
    except ValueError:
        raise InvalidArgument(f"--rlimit-nofile {text!r} is not SOFT[:HARD] in numbers") from None


def _pairs(flag: str, texts: list[str]) -> dict[str, str]:
    return dict(_pair(flag, text).split("=", 1) for text in texts)


def _pair(flag: str, text: str) -> str:
    if "=" not in text or text.startswith("="):
        raise InvalidArgument(f"{flag} {text!r} is not KEY=VALUE")
    return text


def parse_mount(text: str) -> dict[str, Any]:
    """`type=bind,src=/a,dst=/b,options=rbind:ro` (ctr's form) as a MountSpec. Raises InvalidArgument."""
    fields: dict[str, str] = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        fields[_KEYS.get(key, key)] = value
    if unknown := sorted(fields.keys() - {"type", "source", "target", "options"}):
        raise InvalidArgument(f"--mount {text!r}: unknown key {unknown[0]!r}", hint="keys: type, src, dst, options")
    if not fields.get("target", "").startswith("/"):
        raise InvalidArgument(f"--mount {text!r}: dst must be an absolute path")
    options = [word for word in fields.get("options", "").split(":") if word]
    propagation = [word for word in options if word in _PROPAGATIONS]
    return {
        "type": fields.get("type") or "bind",
        "source": fields.get("source", ""),
        "target": fields["target"],
        "read_only": "ro" in options,
        "propagation": propagation[-1] if propagation else "",
        "options": [word for word in options if word not in {"ro", "rw", "bind", "rbind", *_PROPAGATIONS}],
    }


_KEYS = {"src": "source", "dst": "target", "destination": "target", "option": "options"}
_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")


def _ports(text: str) -> list[dict[str, Any]]:
    from corten.ports import parse_ports

    try:
        _, bindings = parse_ports([text], [])
        return [
            {
                "container_port": int(port.partition("/")[0]),
                "protocol": port.partition("/")[2],
                "host_ip": binding["HostIp"],
                "host_port": int(binding["HostPort"] or 0),
            }
            for port, found in bindings.items()
            for binding in found
        ]
    except ValueError as error:
        raise InvalidArgument(f"--publish {text!r}: {error}") from None
