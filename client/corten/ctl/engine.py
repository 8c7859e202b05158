"""`cortenctl info`, `version`, `events` and `gc`."""

from __future__ import annotations

import json

from corten.ctl.command import ALL, PLAN, Command, filters, listing
from corten.ctl.session import Session, moment, pairs
from corten.flags import Flag
from corten.output import escape, human_size, out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.flags import Options


def _info(session: Session, options: Options) -> int:
    info = session.call("GET", "/info")
    if session.json or session.quiet:
        return session.dump(info)
    runtimes = ", ".join(f"{r['name']} {r['version']}{'' if r['usable'] else ' (unusable)'}" for r in info["runtimes"])
    rows = {
        "Name": info["name"],
        "Version": info["version"],
        "Root": info["root"],
        "Snapshotter": info["snapshotter"],
        "Runtimes": runtimes,
        "Default runtime": info["default_runtime"] or "none works",
        "Cgroups": f"v{info['cgroup_version']} ({info['cgroup_layout']})",
        "Kernel": info["kernel"],
        "System": f"{info['operating_system']}, {info['os']}/{info['arch']}",
        "CPUs": info["cpus"],
        "Memory": human_size(info["memory"]),
        "Containers": f"{info['containers']} ({info['running']} running, {info['paused']} paused)",
        "Images": info["images"],
    }
    _print(rows)
    out("".join(f"WARNING: {escape(warning)}\n" for warning in info["warnings"]), end="")
    return 0


def _print(rows: dict[str, Any]) -> None:
    width = max(map(len, rows)) + 2
    out("".join(f"{name + ':':<{width}}{escape(value)}\n" for name, value in rows.items()), end="")


def _version(session: Session, options: Options) -> int:
    from corten import __version__

    found = session.call("GET", "/version")
    if session.json:
        return session.dump({"client": __version__, "daemon": found})
    _print({"Client": __version__, "Daemon": found["version"], "API": found["api"], "Python": found["python"]})
    return 0


def _events(session: Session, options: Options) -> int:
    follow = not options["until"] and not options["no-follow"]
    query = {
        "since": options["since"] or None,
        "until": options["until"] or None,
        "follow": "true" if follow or options["until"] else "false",
        "topic": options["topic"],
        "filter": filters(options),
    }
    if options["all-namespaces"]:
        query["namespace"] = None
    for event in session.lines("GET", "/events", **query):
        if session.json:
            out(json.dumps(event))
        elif session.quiet:
            out(escape(event["object_id"]))
        else:
            subject = f"{event['topic']} {event['object_id']} {pairs(event['attributes'])}"
            out(f"{moment(event['time'])} {escape(event['namespace'])} {escape(subject)}")
        _flush()
    return 0


def _flush() -> None:
    import sys

    sys.stdout.flush()


def _gc(session: Session, options: Options) -> int:
    if options["plan"]:
        return session.plan("gc")
    found = session.call("POST", "/gc")
    if session.json:
        return session.dump(found)
    counts = ", ".join(f"{found[name]} {name}" for name in ("images", "blobs", "snapshots", "leases", "ingests"))
    out(f"removed {counts}; freed {human_size(found['bytes_freed'])}")
    return 0


def _why(session: Session, options: Options) -> int:
    kind = options["type"] or None
    found = [answer for name in options.args for answer in session.items("/why", object=name, kind=kind)]
    if session.json:
        return session.dump(found)
    from corten.keeping import show_why

    show_why(found)
    return 0


EVENT_FLAGS = [
    ALL,
    Flag("no-follow", "bool", "End with what has happened so far"),
    Flag("since", "string", "From this time on (RFC 3339)"),
    Flag("topic", "list", "Only topics that begin so, like /tasks/"),
    Flag("until", "string", "Until this time (RFC 3339)"),
]

COMMANDS = {
    "events": listing(
        "Show events as they happen", _events, *EVENT_FLAGS,
        examples=["cortenctl events -A", "cortenctl events 'topic==\"/tasks/exit\"' 'event.name==web'"],
    ),
    "gc": Command("Free what nothing refers to, and say how much that was", _gc, flags=[PLAN]),
    "info": Command("Show the engine and its host", _info),
    "why": Command(
        "Show what keeps an object, or when it goes", _why, arguments="OBJECT...", least=1, most=None,
        flags=[
            Flag("type", "string", "Only of this kind: containers, images, volumes, content, snapshots, leases"),
        ],
    ),
    "version": Command("Show the versions of client and daemon", _version),
}  # fmt: skip
