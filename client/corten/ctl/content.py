"""`cortenctl content`."""

from __future__ import annotations

import json

from corten.ctl.command import ALL, PLAN, Command, filters, labels, listing, told
from corten.ctl.content_write import EDIT, INGEST
from corten.ctl.images import COMMANDS as IMAGES
from corten.ctl.images import PULL_FLAGS
from corten.ctl.push import PUSH_OBJECT
from corten.ctl.registry import REGISTRY_FLAGS, with_login
from corten.ctl.session import Session, moment, pairs, segment
from corten.ctl.system import CONTENT_CHECK as CHECK
from corten.flags import Flag, UsageError
from corten.output import human_size
from corten.streams import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.flags import Options
    from corten.transport import Response


def _ls(session: Session, options: Options) -> int:
    columns = {
        "DIGEST": lambda b: b["digest"],
        "SIZE": lambda b: human_size(b["size"]),
        "AGE": lambda b: moment(b["created_at"]),
        "LABELS": lambda b: pairs(b["labels"]),
    }
    return session.show(session.items("/content", filter=filters(options)), columns)


def _info(session: Session, options: Options) -> int:
    return session.dump(session.call("GET", f"/content/{segment(options.args[0])}"))


def _get(session: Session, options: Options) -> int:
    """The bytes as they are, also to a terminal: whoever asks for a blob wants the blob."""
    headers = {}
    if options["offset"] or "length" in options.changed:
        last = options["offset"] + options["length"] - 1 if "length" in options.changed else ""
        headers["Range"] = f"bytes={options['offset']}-{last}"
    for digest in options.args:
        _copy(session.open("GET", f"/content/{segment(digest)}/data", headers=headers))
    return 0


def _copy(reply: Response) -> None:
    with reply:
        for chunk in reply.chunks():
            write_all(1, chunk)


def _fetch(session: Session, options: Options) -> int:
    """As `images pull --no-unpack`, whose flags that this has not are as if not given."""
    pull = IMAGES["pull"]
    for flag in pull.flags:
        options.values.setdefault(flag.name, [] if flag.many else flag.default)
    options.values["no-unpack"] = True
    options.args[:-1] = []
    return int(pull.run(session, options))


def _fetch_object(session: Session, options: Options) -> int:
    reference, *digests = options.args
    for digest in digests or [""]:
        body = with_login(options, {"reference": reference, "digest": digest if digest.startswith("sha256:") else ""})
        _copy(session.open("POST", "/content/fetch", body))
    return 0


def _label(session: Session, options: Options) -> int:
    digest, *words = options.args
    return session.dump(session.call("PATCH", f"/content/{segment(digest)}", {"labels": labels(words)}))


def _rm(session: Session, options: Options) -> int:
    if options["plan"]:
        return session.plan("content.remove", options.args)
    return session.each(options.args, lambda digest: session.call("DELETE", f"/content/{segment(digest)}"))


def _active(session: Session, options: Options) -> int:
    columns = {
        "REF": lambda i: i["ref"],
        "SIZE": lambda i: human_size(i["offset"]) + (f"/{human_size(i['total'])}" if i["total"] else ""),
        "STARTED": lambda i: moment(i["started_at"]),
        "UPDATED": lambda i: moment(i["updated_at"]),
    }
    wanted = [f"ref~={json.dumps(word)}" for word in options.args]
    return session.show(session.items("/content/ingests", filter=wanted), columns)


def _abort(session: Session, options: Options) -> int:
    return session.each(options.args, lambda ref: session.call("DELETE", f"/content/ingests/{segment(ref)}"))


def _prune(session: Session, options: Options) -> int:
    if options.args != ["references"]:
        raise UsageError(f"there is nothing called {options.args[0]!r} to prune; there is `references`")
    found = session.call("POST", "/content/prune-references", dry=str(bool(options["dry"])).lower())["items"]
    if not options["dry"] and not options["async"]:
        session.call("POST", "/gc")
    columns = {"DIGEST": lambda p: p["digest"], "LABELS": lambda p: pairs(p["labels"])}
    return session.show(found, columns)


_DIGEST = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

COMMANDS = {
    "ls": listing("List blobs", _ls, ALL, examples=["cortenctl content ls 'labels.\"containerd.io/gc.root\"'"]),
    "info": Command("Show one", _info, arguments="DIGEST", least=1, most=1),
    "get": Command(
        "Write blobs' bytes to standard output", _get, arguments="DIGEST...", least=1, most=None,
        flags=[Flag("offset", "int", "From this byte on"), Flag("length", "int", "At most so many bytes")],
        examples=[f"cortenctl content get {_DIGEST} | jq .", f"cortenctl content get --length 512 {_DIGEST} | xxd"],
    ),
    "ingest": INGEST,
    "edit": EDIT,
    "fetch": Command(
        "Fetch an image's content", _fetch, arguments="REF", least=1, most=2,
        flags=[
            *(flag for flag in PULL_FLAGS if flag.name not in ("quiet", "no-unpack")),
            told("metadata-only", "bool", "single documents are what `content fetch-object` reads"),
        ],
        examples=["cortenctl content fetch docker.io/library/busybox:latest"],
    ),
    "fetch-object": Command(
        "Write what a registry has under a name, or blobs of it, to standard output", _fetch_object,
        arguments="REF [DIGEST...]", flags=REGISTRY_FLAGS, least=1, most=None,
        examples=["cortenctl content fetch-object docker.io/library/busybox:latest | jq .manifests"],
    ),
    "fetch-blob": Command(
        "Write blobs of a registry's repository to standard output", _fetch_object,
        arguments="REF DIGEST...", flags=REGISTRY_FLAGS, least=2, most=None,
        examples=[f"cortenctl content fetch-blob docker.io/library/busybox {_DIGEST} > layer.tar.gz"],
    ),
    "label": Command(
        "Set or remove labels", _label, arguments="DIGEST LABEL[=VALUE]...", least=2, most=None,
        examples=[f"cortenctl content label {_DIGEST} containerd.io/gc.root=now team="],
    ),
    "rm": Command("Remove blobs from the namespace", _rm, arguments="DIGEST...", flags=[PLAN], least=1, most=None),
    "push-object": PUSH_OBJECT,
    "check": CHECK,
    "prune": Command(
        "Let go of the blobs of layers: `references` takes the labels that keep them", _prune,
        arguments="references", least=1, most=1,
        flags=[Flag("dry", "bool", "Only show what would be done"), Flag("async", "bool", "Free the blobs later")],
        examples=["cortenctl content prune references --dry"],
    ),
    "active": Command(
        "List what is being written or was left over", _active, arguments="[REGEXP]", most=1,
        flags=[ALL, told("root", "string", "the store is the daemon's: see `cortenctl info`")],
        examples=["cortenctl content active '^upload-'"],
    ),
    "abort": Command("Drop ingests and their bytes", _abort, arguments="INGEST...", least=1, most=None),
}  # fmt: skip
