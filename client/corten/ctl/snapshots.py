"""`cortenctl snapshots`."""

from __future__ import annotations

from corten.ctl.command import QUIET, Command
from corten.ctl.session import Session, moment, segment
from corten.flags import Flag
from corten.output import human_size, out, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.flags import Options

SNAPSHOTTER = Flag("snapshotter", "string", "The snapshotter", short="s", default="overlayfs")


def _path(options: Options, what: str, key: str) -> str:
    return f"/snapshots/{segment(options['snapshotter'])}/{what}/{segment(key)}"


def _ls(session: Session, options: Options) -> int:
    columns = {
        "KEY": lambda s: s["name"],
        "KIND": lambda s: s["kind"],
        "PARENT": lambda s: s["parent"] or "-",
        "CREATED": lambda s: moment(s["created_at"]),
    }
    return session.show(session.items(f"/snapshots/{segment(options['snapshotter'])}"), columns)


def _info(session: Session, options: Options) -> int:
    return session.dump(session.call("GET", _path(options, "keys", options.args[0])))


def _usage(session: Session, options: Options) -> int:
    keys = options.args or [s["name"] for s in session.items(f"/snapshots/{segment(options['snapshotter'])}")]
    rows = [{"key": key, **session.call("GET", _path(options, "usage", key))} for key in keys]
    columns = {
        "KEY": lambda u: u["key"],
        "SIZE": lambda u: human_size(u["size"]),
        "INODES": lambda u: u["inodes"],
    }
    return session.show(rows, columns)


def _mounts(session: Session, options: Options) -> int:
    found = session.items(_path(options, "mounts", options.args[0]))
    if session.json:
        return session.dump(found)
    target = options.args[1] if len(options.args) > 1 else "TARGET"
    rows = [["mount", "-t", m["type"], m["source"], target, "-o", ",".join(m["options"])] for m in found]
    out("".join(" ".join(table([[cell]]).rstrip("\n") for cell in row) + "\n" for row in rows), end="")
    return 0


def _rm(session: Session, options: Options) -> int:
    return session.each(options.args, lambda key: session.call("DELETE", _path(options, "keys", key)))


def _command(summary: str, run: object, arguments: str = "", least: int = 0, most: int | None = 0) -> Command:
    return Command(
        summary, run, arguments=arguments, flags=[SNAPSHOTTER, QUIET], least=least, most=most  # type: ignore[arg-type]
    )  # fmt: skip


COMMANDS = {
    "ls": _command("List snapshots", _ls),
    "info": _command("Show one", _info, "KEY", 1, 1),
    "usage": _command("Show what snapshots take on disk", _usage, "[KEY...]", 0, None),
    "mounts": _command("Show how to mount one", _mounts, "KEY [TARGET]", 1, 2),
    "rm": _command("Remove snapshots", _rm, "KEY...", 1, None),
}
