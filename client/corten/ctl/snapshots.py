"""`cortenctl snapshots`."""

from __future__ import annotations

import sys

from corten.ctl.command import ALL, PLAN, QUIET, Command, filters, labels, listing
from corten.ctl.session import Session, moment, segment
from corten.flags import Flag
from corten.output import err, escape, human_size, out
from corten.progress import board
from corten.streams import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from corten.flags import Options
    from corten.progress import Bars, Lines

SNAPSHOTTER = Flag("snapshotter", "string", "The snapshotter (default: the daemon's)", short="s", default="default")
TARGET = Flag("target", "string", "Print the commands that mount it there", short="t")
MOUNTS = Flag("mounts", "bool", "Print how to mount it, as JSON")
LABEL = Flag("label", "list", "Label of it (KEY=VALUE)")
BYTES = Flag("bytes", "bool", "Sizes in bytes", short="b")


def _base(options: Options) -> str:
    return f"/snapshots/{segment(options['snapshotter'])}"


def _path(options: Options, what: str, key: str) -> str:
    return f"{_base(options)}/{what}/{segment(key)}"


# -- look -------------------------------------------------------------------------------------------------------------


def _ls(session: Session, options: Options) -> int:
    columns = {
        "KEY": lambda s: s["name"],
        "PARENT": lambda s: s["parent"] or "-",
        "KIND": lambda s: s["kind"],
        "CREATED": lambda s: moment(s["created_at"]),
    }
    return session.show(session.items(_base(options), filter=filters(options)), columns)


def _info(session: Session, options: Options) -> int:
    return session.dump(session.call("GET", _path(options, "keys", options.args[0])))


def _usage(session: Session, options: Options) -> int:
    keys = options.args or [s["name"] for s in session.items(_base(options))]
    rows = [{"key": key, **session.call("GET", _path(options, "usage", key))} for key in keys]
    columns = {
        "KEY": lambda u: u["key"],
        "SIZE": lambda u: u["size"] if options["bytes"] else human_size(u["size"]),
        "INODES": lambda u: u["inodes"],
    }
    return session.show(rows, columns)


def _tree(session: Session, options: Options) -> int:
    """Every snapshot below its parent; `-o json`: with its depth, `-q`: keys alone."""
    below: dict[str, list[dict[str, Any]]] = {}
    for found in session.items(_base(options)):
        below.setdefault(found["parent"], []).append(found)
    if session.json:
        return session.dump([{**found, "depth": depth} for depth, found in _walk(below)])
    for depth, found in _walk(below):
        mark = "" if session.quiet or not depth else "  " * (depth - 1) + " \\_ "
        kind = "" if session.quiet or found["kind"] == "committed" else f" ({found['kind']})"
        out(f"{mark}{escape(found['name'])}{kind}")
    return 0


def _walk(below: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Depth first, with an explicit stack: chains may be hundreds long."""
    todo = [(0, found) for found in reversed(below.get("", ()))]
    while todo:
        depth, found = todo.pop()
        yield depth, found
        todo.extend((depth + 1, child) for child in reversed(below.get(found["name"], ())))


# -- make -------------------------------------------------------------------------------------------------------------


def _make(session: Session, options: Options, verb: str) -> int:
    key, parent = options.args[0], options.args[1] if len(options.args) > 1 else ""
    body = {"key": key, "parent": parent, "labels": _given(options)}
    found = session.call("POST", f"{_base(options)}/{verb}", body)["items"]
    if session.json or options["mounts"]:
        return session.dump(found)
    if options["target"]:
        return _print_mounts(found, options["target"])
    session.tell(key)
    return 0


def _given(options: Options) -> dict[str, str]:
    """The labels to begin with. As with ctr, what somebody makes by hand is kept until somebody's hand removes it."""
    return {"gc.root": "cortenctl", **{key: value or "" for key, value in labels(options["label"]).items()}}


def _prepare(session: Session, options: Options) -> int:
    return _make(session, options, "prepare")


def _view(session: Session, options: Options) -> int:
    return _make(session, options, "view")


def _mounts(session: Session, options: Options) -> int:
    target, key = options.args
    found = session.items(_path(options, "mounts", key))
    return session.dump(found) if session.json else _print_mounts(found, target)


def _print_mounts(found: Iterable[dict[str, Any]], target: str) -> int:
    """Lines for a shell."""
    from shlex import quote

    for entry in found:
        # `bind` is no file system type to mount(8), and its remarks (`x-…`) are for programs of ours.
        options = ",".join(option for option in entry["options"] if not option.startswith("x-"))
        words = ["mount", "-t", entry["type"], entry["source"], target, "-o", options]
        out(" ".join(quote(word) for word in words))
    return 0


def _commit(session: Session, options: Options) -> int:
    name, key = options.args
    body = {"name": name, "key": key, "labels": _given(options)}
    made = session.call("POST", f"{_base(options)}/commit", body)
    if session.json:
        return session.dump(made)
    session.tell(name)
    return 0


def _diff(session: Session, options: Options) -> int:
    """The layer on standard output, its digest on standard error when it is kept."""
    from hashlib import sha256

    *lower, upper = options.args
    body: dict[str, Any] = {"upper": upper, "lower": lower[0] if lower else None, "media_type": options["media-type"]}
    if options["keep"]:
        body["keep"] = _given(options)
    digest = sha256()
    with session.open("POST", f"{_base(options)}/diff", body) as reply:
        for chunk in reply.chunks():
            digest.update(chunk)
            write_all(1, chunk)
    if options["keep"]:
        err(f"sha256:{digest.hexdigest()}")
    return 0


def _unpack(session: Session, options: Options) -> int:
    progress = session.lines("POST", f"{_base(options)}/unpack", {"digest": options.args[0]})
    if session.quiet or session.json:
        top = _last(progress)
    else:
        with board(sys.stdout) as display:
            top = _last(_shown(progress, display))
    if session.json:
        return session.dump({"snapshot": top})
    session.tell(top)
    return 0


def _last(progress: Iterable[dict[str, Any]]) -> str:
    """The snapshot that the last line names."""
    top = ""
    for line in progress:
        top = line.get("id") or ""
    return top


def _shown(progress: Iterable[dict[str, Any]], display: Bars | Lines) -> Iterator[dict[str, Any]]:
    for line in progress:
        if line["status"] != "Unpacked":
            display.update(line["id"], line["status"], line.get("current") or 0, line.get("total") or 0)
        yield line


def _label(session: Session, options: Options) -> int:
    key, *words = options.args
    changed = session.call("PATCH", _path(options, "keys", key), {"labels": labels(words)})
    if session.quiet:
        session.tell(key)
        return 0
    return session.dump(changed)


def _rm(session: Session, options: Options) -> int:
    if options["plan"]:
        return session.plan("snapshots.remove", options.args, snapshotter=options["snapshotter"])
    return session.each(options.args, lambda key: session.call("DELETE", _path(options, "keys", key)))


def _cleanup(session: Session, options: Options) -> int:
    done = session.call("POST", f"{_base(options)}/cleanup")
    if session.json:
        return session.dump(done)
    if not session.quiet:
        err(f"{done['removed']} directories without a record freed")
    return 0


def _command(
    summary: str,
    run: Callable[[Session, Options], int],
    arguments: str = "",
    least: int = 0,
    most: int | None = 0,
    *flags: Flag,
    examples: Sequence[str] = (),
) -> Command:
    lines = [f"cortenctl snapshots {example}" for example in examples]
    given = [*flags, SNAPSHOTTER, QUIET]
    return Command(summary, run, arguments=arguments, flags=given, least=least, most=most, examples=lines)


_MAKING = (TARGET, MOUNTS, LABEL)
COMMANDS = {
    "ls": listing(
        "List snapshots", _ls, ALL, SNAPSHOTTER, QUIET, examples=["cortenctl snapshots ls kind==active"]
    ),
    "info": _command("Show one", _info, "KEY", 1, 1),
    "usage": _command("Show what snapshots take on disk", _usage, "[KEY...]", 0, None, BYTES),
    "tree": _command("Show every snapshot below its parent", _tree),
    "prepare": _command(
        "Make a writable snapshot", _prepare, "NEW [KEY]", 1, 2, *_MAKING,
        examples=["prepare work", "prepare -t /mnt work base | sh"],
    ),
    "view": _command("Make a read-only snapshot", _view, "NEW [KEY]", 1, 2, *_MAKING, examples=["view look base"]),
    "mounts": _command(
        "Print the commands that mount one", _mounts, "TARGET KEY", 2, 2, examples=["mounts /mnt work | sh"]
    ),
    "commit": _command(
        "Make a writable snapshot into a layer for others", _commit, "NEW KEY", 2, 2, LABEL,
        examples=["commit base work"],
    ),
    "diff": _command(
        "Write what a snapshot changes to standard output, as a layer: of its parent, or from one to another",
        _diff, "KEY [KEY]", 1, 2,
        Flag("media-type", "string", "Of the layer", default="application/vnd.oci.image.layer.v1.tar+gzip"),
        Flag("label", "list", "Label of the content (KEY=VALUE), with --keep"),
        Flag("keep", "bool", "Keep the layer as content, and print its digest on standard error"),
        examples=["diff work | tar -tz", "diff --media-type application/vnd.oci.image.layer.v1.tar base work"],
    ),
    "unpack": _command("Unpack an image whose content is here", _unpack, "DIGEST", 1, 1),
    "label": _command("Set or remove labels", _label, "KEY [LABEL=VALUE...]", 1, None, examples=["label base a=b c="]),
    "rm": _command("Remove snapshots", _rm, "KEY...", 1, None, PLAN),
    "cleanup": _command("Free directories that no record names", _cleanup),
}  # fmt: skip
