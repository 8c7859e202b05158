"""`cortenctl plugins`."""

from __future__ import annotations

from corten.ctl.command import filters, listing
from corten.ctl.session import Session
from corten.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corten.flags import Options


def _ls(session: Session, options: Options) -> int:
    columns: dict[str, Callable[[dict[str, Any]], object]] = {
        "ID": lambda p: p["id"],
        "TYPE": lambda p: p["type"],
        "STATUS": lambda p: p["status"],
        "DEFAULT": lambda p: "*" if p["default"] else "-",
    }
    if options["detailed"]:
        columns["VERSION"] = lambda p: p["version"] or "-"
        columns["PATH"] = lambda p: p["path"] or "-"
    columns["REASON"] = lambda p: p["reason"] or "-"
    return session.show(session.items("/plugins", filter=filters(options)), columns)


COMMANDS = {
    "ls": listing(
        "List content stores, snapshotters and runtimes, and why one is not there", _ls,
        Flag("detailed", "bool", "With versions and paths", short="d"),
        examples=["cortenctl plugins ls type==snapshotter,status!=ok"],
    ),
}  # fmt: skip
