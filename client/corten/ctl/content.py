"""`cortenctl content`."""

from __future__ import annotations

from corten.ctl.command import ALL, QUIET, Command, labels
from corten.ctl.push import PUSH_OBJECT
from corten.ctl.session import Session, moment, pairs, segment
from corten.ctl.system import CONTENT_CHECK as CHECK
from corten.output import human_size
from corten.streams import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.flags import Options


def _ls(session: Session, options: Options) -> int:
    columns = {
        "DIGEST": lambda b: b["digest"],
        "SIZE": lambda b: human_size(b["size"]),
        "AGE": lambda b: moment(b["created_at"]),
        "LABELS": lambda b: pairs(b["labels"]),
    }
    return session.show(session.items("/content"), columns)


def _info(session: Session, options: Options) -> int:
    return session.dump(session.call("GET", f"/content/{segment(options.args[0])}"))


def _get(session: Session, options: Options) -> int:
    """The bytes as they are, also to a terminal: whoever asks for a blob wants the blob."""
    with session.open("GET", f"/content/{segment(options.args[0])}/data") as reply:
        for chunk in reply.chunks():
            write_all(1, chunk)
    return 0


def _label(session: Session, options: Options) -> int:
    digest, *words = options.args
    return session.dump(session.call("PATCH", f"/content/{segment(digest)}", {"labels": labels(words)}))


def _rm(session: Session, options: Options) -> int:
    return session.each(options.args, lambda digest: session.call("DELETE", f"/content/{segment(digest)}"))


def _active(session: Session, options: Options) -> int:
    columns = {
        "REF": lambda i: i["ref"],
        "SIZE": lambda i: human_size(i["offset"]) + (f"/{human_size(i['total'])}" if i["total"] else ""),
        "STARTED": lambda i: moment(i["started_at"]),
        "UPDATED": lambda i: moment(i["updated_at"]),
    }
    return session.show(session.items("/content/ingests"), columns)


def _abort(session: Session, options: Options) -> int:
    return session.each(options.args, lambda ref: session.call("DELETE", f"/content/ingests/{segment(ref)}"))


COMMANDS = {
    "ls": Command("List blobs", _ls, flags=[ALL, QUIET]),
    "info": Command("Show one", _info, arguments="DIGEST", least=1, most=1),
    "get": Command("Write a blob's bytes to standard output", _get, arguments="DIGEST", least=1, most=1),
    "label": Command("Set or remove labels", _label, arguments="DIGEST LABEL[=VALUE]...", least=2, most=None),
    "rm": Command("Remove blobs from the namespace", _rm, arguments="DIGEST...", least=1, most=None),
    "push-object": PUSH_OBJECT,
    "check": CHECK,
    "active": Command("List what is being written or was left over", _active, flags=[ALL, QUIET]),
    "abort": Command("Drop ingests and their bytes", _abort, arguments="REF...", least=1, most=None),
}
