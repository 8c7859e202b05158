"""`cortenctl images check`, `usage` and `prune`."""

from __future__ import annotations

from corten.ctl.command import Command, filters, listing
from corten.ctl.session import Session
from corten.flags import Flag
from corten.output import escape, human_size, out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.flags import Options

SNAPSHOTTER = Flag("snapshotter", "string", "The snapshotter (default: the daemon's)")


def _check(session: Session, options: Options) -> int:
    """Exit code 1 when an image is not whole, for scripts."""
    path = "/images/check"
    found = session.call("POST", path, filter=filters(options), snapshotter=options["snapshotter"])["items"]
    if session.quiet and not session.json:
        found = [image for image in found if image["status"] == "complete" and image["unpacked"]]
    columns = {
        "REF": lambda i: i["name"],
        "TYPE": lambda i: i["target"]["mediaType"],
        "DIGEST": lambda i: i["target"]["digest"],
        "STATUS": _status,
        "SIZE": lambda i: f"{human_size(i['size_present'])}/{human_size(i['size'])}",
        "UNPACKED": lambda i: str(i["unpacked"]).lower(),
    }
    session.show(found, columns)
    return 0 if all(image["status"] == "complete" for image in found) else 1


def _status(image: dict[str, Any]) -> str:
    needed = "?" if image["status"] == "unavailable" else image["blobs"]
    return f"{image['status']} ({image['blobs_present']}/{needed})"


def _usage(session: Session, options: Options) -> int:
    found = session.call("POST", "/images/usage", name=options.args[0], snapshotter=options["snapshotter"])
    if session.json or session.quiet:
        return session.dump(found)
    rows = [*found["layers"], {"digest": "total", "content": found["content"], "size": found["snapshots"],
                               "inodes": found["inodes"], "snapshot": "-"}]  # fmt: skip
    columns = {
        "LAYER": lambda u: u["digest"],
        "CONTENT": lambda u: human_size(u["content"]),
        "SNAPSHOT": lambda u: u["snapshot"],
        "SIZE": lambda u: human_size(u["size"]),
        "INODES": lambda u: u["inodes"],
    }
    return session.show(rows, columns)


def _prune(session: Session, options: Options) -> int:
    found = session.call("POST", "/images/prune", {"all": bool(options["all"])})
    if session.json:
        return session.dump(found)
    for line in found["items"]:
        out(escape(line["subject"] if session.quiet else f"{line['action']}: {line['subject']}"))
    if not session.quiet:
        out(f"Total: {human_size(found['size'])}")
    return 0


COMMANDS = {
    "check": listing(
        "Show how much of each image is here", _check, SNAPSHOTTER,
        examples=["cortenctl images check", "cortenctl images check 'name~=busybox'"],
    ),
    "usage": Command("Show what an image takes on disk", _usage, arguments="REF", flags=[SNAPSHOTTER], least=1, most=1),
    "prune": Command(
        "Remove images that no container uses and that have no name", _prune,
        flags=[Flag("all", "bool", "Also those with names")], examples=["cortenctl images prune --all"],
    ),
}  # fmt: skip
