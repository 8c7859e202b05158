"""Flags of a new container, and the request they make."""

from __future__ import annotations

from corten.flags import Flag
from corten_shared.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.flags import Options

CREATE_FLAGS = [
    Flag("cap-add", "list", "Add a capability"),
    Flag("cap-drop", "list", "Drop a capability"),
    Flag("cpus", "decimal", "CPUs it may use"),
    Flag("cwd", "string", "Working directory"),
    Flag("entrypoint", "string", "Takes the place of the image's entrypoint"),
    Flag("env", "list", "Environment variable KEY=VALUE", short="e"),
    Flag("hostname", "string", "Host name"),
    Flag("interactive", "bool", "Keep its input open", short="i"),
    Flag("label", "list", "Label KEY=VALUE"),
    Flag("memory", "bytes", "Memory limit, like 64m", short="m"),
    Flag("mount", "list", "type=bind,src=PATH,dst=PATH[,options=ro:noexec]; type tmpfs or volume too"),
    Flag("network", "string", "bridge, none, host or container:NAME", default="bridge"),
    Flag("pids-limit", "int", "Processes it may have"),
    Flag("platform", "string", "Platform of the image"),
    Flag("privileged", "bool", "Give it every privilege"),
    Flag("publish", "list", "Publish a port, [IP:][HOST:]CONTAINER[/PROTOCOL]", short="p"),
    Flag("read-only", "bool", "Mount its root read-only"),
    Flag("runtime", "string", "OCI runtime"),
    Flag("snapshotter", "string", "Snapshotter"),
    Flag("tty", "bool", "Give it a terminal; keeps its input open too", short="t"),
    Flag("user", "string", "User, or USER:GROUP", short="u"),
]


def creation(options: Options, *, tty: bool, auto_remove: bool = False) -> dict[str, Any]:
    """The body of a creation; arguments are IMAGE NAME [COMMAND [ARG...]]. Raises InvalidArgument."""
    image, name, *words = options.args
    spec: dict[str, Any] = {
        "env": [_pair("--env", text) for text in options["env"]],
        "cwd": options["cwd"],
        "user": options["user"],
        "hostname": options["hostname"],
        "tty": tty,
        "open_stdin": bool(options["interactive"]) or tty,
        "stdin_once": bool(options["interactive"]) or tty,
        "mounts": [parse_mount(text) for text in options["mount"]],
        "read_only": bool(options["read-only"]),
        "runtime": options["runtime"],
        "auto_remove": auto_remove,
        "network": {"mode": options["network"], "ports": [p for text in options["publish"] for p in _ports(text)]},
        "resources": {
            "memory": options["memory"] or 0,
            "nano_cpus": options["cpus"] or 0,
            "pids": options["pids-limit"] or 0,
        },
        "security": {
            "privileged": bool(options["privileged"]),
            "cap_add": options["cap-add"],
            "cap_drop": options["cap-drop"],
        },
    }
    if words:
        spec["cmd"] = words
    if "entrypoint" in options.changed:
        spec["entrypoint"] = [options["entrypoint"]] if options["entrypoint"] else []
    labels = dict(_pair("--label", text).split("=", 1) for text in options["label"])
    return {
        "image": image,
        "name": name,
        "platform": options["platform"],
        "snapshotter": options["snapshotter"],
        "spec": spec,
        "labels": labels,
    }


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
