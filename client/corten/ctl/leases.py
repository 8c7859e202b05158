"""`cortenctl leases`."""

from __future__ import annotations

from corten.ctl.command import QUIET, Command, labels
from corten.ctl.session import Session, moment, pairs, segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.flags import Options


def _ls(session: Session, options: Options) -> int:
    columns = {
        "ID": lambda found: found["id"],
        "CREATED": lambda found: moment(found["created_at"]),
        "LABELS": lambda found: pairs(found["labels"]),
    }
    return session.show(session.items("/leases"), columns)


def _create(session: Session, options: Options) -> int:
    name, *words = options.args or [""]
    kept = {key: value for key, value in labels(words).items() if value is not None}
    session.tell(session.call("POST", "/leases", {"id": name, "labels": kept})["id"])
    return 0


def _info(session: Session, options: Options) -> int:
    path = f"/leases/{segment(options.args[0])}"
    return session.dump({**session.call("GET", path), "resources": session.items(f"{path}/resources")})


def _add(session: Session, options: Options) -> int:
    lease, kind, name = options.args
    session.call("POST", f"/leases/{segment(lease)}/resources", {"type": kind, "id": name})
    session.tell(name)
    return 0


def _drop(session: Session, options: Options) -> int:
    lease, kind, name = options.args
    session.call("DELETE", f"/leases/{segment(lease)}/resources/{segment(kind)}", id=name)
    session.tell(name)
    return 0


def _rm(session: Session, options: Options) -> int:
    return session.each(options.args, lambda name: session.call("DELETE", f"/leases/{segment(name)}"))


_RESOURCE = "LEASE TYPE ID"

COMMANDS = {
    "ls": Command("List leases", _ls, flags=[QUIET]),
    "create": Command("Make a lease", _create, arguments="[ID [LABEL=VALUE...]]", most=None),
    "info": Command("Show one and what it holds", _info, arguments="LEASE", least=1, most=1),
    "add": Command("Have a lease hold an object", _add, arguments=_RESOURCE, least=3, most=3),
    "drop": Command("Have a lease let go of an object", _drop, arguments=_RESOURCE, least=3, most=3),
    "rm": Command("End leases", _rm, arguments="LEASE...", least=1, most=None),
}
