"""`cortenctl containers`."""

from __future__ import annotations

from corten.ctl.command import ALL, FORCE, QUIET, Command
from corten.ctl.create import CREATE_FLAGS, creation
from corten.ctl.session import Session, moment, segment
from corten.flags import Flag
from corten.output import err, escape, short_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.flags import Options


def _ls(session: Session, options: Options) -> int:
    columns = {
        "NAME": lambda c: c["container"]["name"],
        "ID": lambda c: short_id(c["container"]["id"]),
        "IMAGE": lambda c: c["container"]["image"],
        "STATUS": lambda c: c["status"],
        "CREATED": lambda c: moment(c["container"]["created_at"]),
    }
    return session.show(session.items("/containers"), columns)


def _word(value: object) -> str:
    return "true" if value else "false"


def _info(session: Session, options: Options) -> int:
    return session.dump(session.call("GET", f"/containers/{segment(options.args[0])}"))


def _create(session: Session, options: Options) -> int:
    created = session.call("POST", "/containers", creation(options, tty=bool(options["tty"])))
    for warning in created["warnings"]:
        err(f"WARNING: {escape(warning)}")
    session.tell(created["container"]["name"])
    return 0


def _rm(session: Session, options: Options) -> int:
    query = {"force": _word(options["force"]), "volumes": _word(options["volumes"])}
    return session.each(
        options.args, lambda name: session.call("DELETE", f"/containers/{segment(name)}", **query)
    )


COMMANDS = {
    "ls": Command("List containers", _ls, flags=[ALL, QUIET]),
    "info": Command("Show one", _info, arguments="CONTAINER", least=1, most=1),
    "create": Command(
        "Make a container", _create, arguments="IMAGE NAME [COMMAND [ARG...]]",
        flags=CREATE_FLAGS, least=2, most=None, stops=True,
    ),
    "rm": Command(
        "Remove containers", _rm, arguments="CONTAINER...",
        flags=[FORCE, Flag("volumes", "bool", "Remove their anonymous volumes too")], least=1, most=None,
    ),
}  # fmt: skip
