"""`cortenctl leases`."""

from __future__ import annotations

from corten.ctl.command import ALL, PLAN, QUIET, Command, labels
from corten.ctl.session import Session, moment, pairs, segment
from corten.flags import Flag
from corten.output import ago, human_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.flags import Options

_DAY = 24 * 3600 * 10**9


def _path(options: Options, below: str = "") -> str:
    return f"/leases/{segment(options.args[0])}{below}"


def _ls(session: Session, options: Options) -> int:
    columns = {
        "ID": lambda found: found["id"],
        "CREATED AT": lambda found: moment(found["created_at"]),
        "EXPIRES": lambda found: expires(found["labels"]),
        "LABELS": lambda found: pairs(found["labels"]),
    }
    return session.show(session.items("/leases"), columns)


def expires(labels: dict[str, str]) -> str:
    """`in 3 hours`, `5 minutes ago` (the collector has not come yet), `never`."""
    import time

    from corten_shared.errors import InvalidArgument
    from corten_shared.times import parse_rfc3339

    text = labels.get("containerd.io/gc.expire", labels.get("gc.expire"))
    if text is None:
        return "never"
    try:
        end = parse_rfc3339(text) / 1e9
    except InvalidArgument:
        return "never"
    left = end - time.time()
    return f"in {human_duration(left).lower()}" if left > 0 else ago(end)


def _create(session: Session, options: Options) -> int:
    body: dict[str, Any] = {
        "id": options["id"],
        "labels": {key: value or "" for key, value in labels(options.args).items()},
        "expires": max(options["expires"], 0) / 1e9,
    }
    made = session.call("POST", "/leases", body)
    if session.json:
        return session.dump(made)
    session.tell(made["id"])
    return 0


def _info(session: Session, options: Options) -> int:
    held = session.items(_path(options, "/resources"))
    return session.dump({**session.call("GET", _path(options)), "resources": held})


def _resources(session: Session, options: Options) -> int:
    columns = {"ID": lambda found: found["id"], "TYPE": lambda found: found["type"]}
    return session.show(session.items(_path(options, "/resources")), columns)


def _add(session: Session, options: Options) -> int:
    _, kind, name = options.args
    session.call("POST", _path(options, "/resources"), {"type": kind, "id": name})
    session.tell(name)
    return 0


def _drop(session: Session, options: Options) -> int:
    _, kind, name = options.args
    session.call("DELETE", _path(options, f"/resources/{segment(kind)}"), id=name)
    session.tell(name)
    return 0


def _rm(session: Session, options: Options) -> int:
    """Only the last one's end waits for the collection: one is enough for all."""
    if options["plan"]:
        return session.plan("leases.remove", options.args)
    last = options.args[-1]

    def remove(name: str) -> None:
        sync = options["sync"] and name == last
        session.call("DELETE", f"/leases/{segment(name)}", sync=str(sync).lower())

    return session.each(options.args, remove)


_RESOURCE = "LEASE TYPE ID"

COMMANDS = {
    "ls": Command("List leases", _ls, flags=[ALL, QUIET]),
    "create": Command(
        "Make a lease; print its id", _create, arguments="[LABEL=VALUE...]", most=None,
        flags=[
            Flag("id", "string", "Its id (default: a random one)"),
            Flag("expires", "duration", "When it ends by itself, like 90s or 24h; 0: never", short="x", default=_DAY),
        ],
    ),
    "info": Command("Show one and what it holds", _info, arguments="LEASE", least=1, most=1),
    "resources": Command("List what one holds", _resources, arguments="LEASE", flags=[QUIET], least=1, most=1),
    "add": Command(
        "Have a lease hold an object (content, ingest, images, snapshots/SNAPSHOTTER)",
        _add, arguments=_RESOURCE, least=3, most=3,
    ),
    "drop": Command("Have a lease let go of an object", _drop, arguments=_RESOURCE, least=3, most=3),
    "rm": Command(
        "End leases", _rm, arguments="LEASE...", least=1, most=None,
        flags=[PLAN, Flag("sync", "bool", "Wait until what they held is collected")],
    ),
}  # fmt: skip
