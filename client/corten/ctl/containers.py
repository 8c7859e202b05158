"""`cortenctl containers`."""

from __future__ import annotations

from corten.ctl.command import ALL, FORCE, PLAN, Command, filters, labels, listing
from corten.ctl.create import create
from corten.ctl.create_flags import CREATE_FLAGS, NO_PID
from corten.ctl.session import Session, moment, segment
from corten.flags import Flag
from corten.output import short_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.flags import Options


def _ls(session: Session, options: Options) -> int:
    columns = {
        "NAME": lambda c: c["container"]["name"],
        "ID": lambda c: short_id(c["container"]["id"]),
        "IMAGE": lambda c: c["container"]["image"],
        "RUNTIME": lambda c: c["container"]["spec"]["runtime"] or "-",
        "STATUS": lambda c: c["status"],
        "CREATED": lambda c: moment(c["container"]["created_at"]),
    }
    return session.show(session.items("/containers", filter=filters(options)), columns)


def _word(value: object) -> str:
    return "true" if value else "false"


def _info(session: Session, options: Options) -> int:
    found = session.call("GET", f"/containers/{segment(options.args[0])}")
    return session.dump(found["container"]["spec"] if options["spec"] else found)


def _create(session: Session, options: Options) -> int:
    session.tell(create(session, options)["name"])
    return 0


def _label(session: Session, options: Options) -> int:
    name, *words = options.args
    found = session.call("PATCH", f"/containers/{segment(name)}", {"labels": labels(words)})
    return session.dump(found["container"])


def _rm(session: Session, options: Options) -> int:
    if options["plan"]:
        asked = {"force": bool(options["force"]), "volumes": bool(options["volumes"])}
        return session.plan("containers.remove", options.args, **asked)
    query = {"force": _word(options["force"]), "volumes": _word(options["volumes"])}
    if options["keep-snapshot"]:
        query["keep_snapshot"] = "true"
    return session.each(
        options.args, lambda name: session.call("DELETE", f"/containers/{segment(name)}", **query)
    )


COMMANDS = {
    "ls": listing(
        "List containers", _ls, ALL,
        examples=["cortenctl containers ls 'labels.team==web'", "cortenctl -n default containers ls -q"],
    ),
    "info": Command(
        "Show one", _info, arguments="CONTAINER", least=1, most=1,
        flags=[Flag("spec", "bool", "Only what it runs, and how")],
        examples=["cortenctl containers info --spec web"],
    ),
    "create": Command(
        "Make a container", _create, arguments="IMAGE NAME [COMMAND [ARG...]]",
        flags=[*CREATE_FLAGS, NO_PID], least=2, most=None, stops=True,
        examples=[
            "cortenctl containers create docker.io/library/busybox:latest web httpd -f",
            "cortenctl containers create --rootfs --label team=a /srv/root plain sh",
        ],
    ),
    "label": Command(
        "Set or remove labels", _label, arguments="CONTAINER LABEL[=VALUE]...", least=1, most=None,
        examples=["cortenctl containers label web team=a old="],
    ),
    "rm": Command(
        "Remove containers", _rm, arguments="CONTAINER...",
        flags=[
            FORCE,
            PLAN,
            Flag("keep-snapshot", "bool", "Keep its snapshot"),
            Flag("volumes", "bool", "Remove their anonymous volumes too"),
        ],
        least=1, most=None,
    ),
}  # fmt: skip
