"""`cortenctl images mount` and `unmount`."""

from __future__ import annotations

from corten.ctl.command import QUIET, Command
from corten.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.ctl.session import Session
    from corten.flags import Options


def _mount(session: Session, options: Options) -> int:
    reference, target = options.args
    body = {
        "reference": reference,
        "target": _absolute(target),
        "writable": bool(options["rw"]),
        "platform": options["platform"],
        "snapshotter": options["snapshotter"],
    }
    made = session.call("POST", "/images/mount", body)
    if session.json:
        return session.dump(made)
    session.tell(made["target"])
    return 0


def _unmount(session: Session, options: Options) -> int:
    def unmount(target: str) -> None:
        session.call("POST", "/images/unmount", {"target": _absolute(target), "keep": bool(options["keep"])})

    return session.each(options.args, unmount)


def _absolute(target: str) -> str:
    from os.path import abspath

    return abspath(target)


COMMANDS = {
    "mount": Command(
        "Mount an image on a directory of the daemon's host",
        _mount, arguments="REF TARGET", least=2, most=2,
        flags=[
            Flag("rw", "bool", "Writable; what is written goes with the mount"),
            Flag("platform", "string", "Platform (os/arch[/variant]; default: the daemon's)"),
            Flag("snapshotter", "string", "The snapshotter (default: the daemon's)"),
            QUIET,
        ],
    ),
    "unmount": Command(
        "Unmount an image, and remove its snapshot",
        _unmount, arguments="TARGET...", least=1, most=None,
        flags=[
            Flag("rm", "bool", "Remove the snapshot too (always done; ctr's flag)"),
            Flag("keep", "bool", "Keep the snapshot for the next mount"),
            QUIET,
        ],
    ),
}  # fmt: skip
