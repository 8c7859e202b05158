"""`cortenctl namespaces`."""

from __future__ import annotations

from corten.ctl.command import QUIET, Command, labels
from corten.ctl.session import Session, moment, pairs, segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.flags import Options


def _ls(session: Session, options: Options) -> int:
    columns = {
        "NAME": lambda n: n["name"],
        "CREATED": lambda n: moment(n["created_at"]),
        "LABELS": lambda n: pairs(n["labels"]),
    }
    return session.show(session.items("/namespaces"), columns)


def _create(session: Session, options: Options) -> int:
    name, *words = options.args
    kept = {key: value for key, value in labels(words).items() if value is not None}
    session.call("POST", "/namespaces", {"name": name, "labels": kept})
    session.tell(name)
    return 0


def _info(session: Session, options: Options) -> int:
    return session.dump(session.call("GET", f"/namespaces/{segment(options.args[0])}"))


def _label(session: Session, options: Options) -> int:
    name, *words = options.args
    return session.dump(session.call("PATCH", f"/namespaces/{segment(name)}", {"labels": labels(words)}))


def _rm(session: Session, options: Options) -> int:
    return session.each(options.args, lambda name: session.call("DELETE", f"/namespaces/{segment(name)}"))


COMMANDS = {
    "ls": Command("List namespaces", _ls, flags=[QUIET]),
    "create": Command("Make a namespace", _create, arguments="NAME [LABEL=VALUE...]", least=1, most=None),
    "info": Command("Show one", _info, arguments="NAME", least=1, most=1),
    "label": Command("Set or remove labels", _label, arguments="NAME LABEL[=VALUE]...", least=2, most=None),
    "rm": Command("Delete empty namespaces", _rm, arguments="NAME...", least=1, most=None),
}
