"""`cortenctl content ingest` and `content edit`: bytes of ours that become blobs."""

from __future__ import annotations

import os

from corten.ctl.command import Command
from corten.ctl.session import Session, segment
from corten.flags import Flag
from corten.output import err
from corten_shared.errors import AlreadyExists, InvalidArgument, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from corten.flags import Options

_BLOCK = 1 << 20


def _ingest(session: Session, options: Options) -> int:
    ref, *paths = options.args
    label = dict(_label(text) for text in options["label"])
    source = _opened(paths[0] if paths else "-")
    try:
        digest = send(
            session, ref, source, expected=options["expected-digest"], size=options["expected-size"],
            resume=options["resume"] or bool(options["expected-digest"]), labels=label, lease=options["lease"],
        )  # fmt: skip
    finally:
        os.close(source)
    session.tell(digest)
    _note(session, held=bool(label or options["lease"]))
    return 0


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise InvalidArgument(f"--label {text!r} is not KEY=VALUE")
    return key, value


def _opened(path: str) -> int:
    if path == "-":
        return os.dup(0)
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}") from None


def send(
    session: Session, ref: str, source: int, *, expected: str = "", size: int = 0, resume: bool = False,
    labels: dict[str, str] | None = None, lease: str = "",
) -> str:  # fmt: skip
    """Send what can be read from the descriptor `source` as ingest `ref` and make it a blob; its digest."""
    path = f"/content/ingests/{segment(ref)}"
    query: dict[str, object] = {"expected": expected or None, "size": size or None, "lease": lease or None}
    offset = _offset(session, path, expected) if resume else 0
    headers = {"Content-Type": "application/octet-stream"}
    try:
        if offset:
            _skip(source, offset)
            query["offset"] = offset
            session.open("PATCH", path, _blocks(source), query=query, headers=headers).read()
        else:
            session.open("PUT", path, _blocks(source), query=query, headers=headers).read()
    except AlreadyExists as error:
        return error.subject or expected
    body: dict[str, Any] = {"expected": expected, "size": size, "labels": labels or {}}
    digest: str = session.call("POST", f"{path}/commit", body, lease=lease or None)["digest"]
    return digest


def _offset(session: Session, path: str, expected: str) -> int:
    """How much of it the daemon has; nothing when what it has is of something else."""
    try:
        status = session.call("GET", path)
    except NotFound:
        return 0
    if expected and status["expected"] not in (None, expected):
        return 0
    return int(status["offset"])


def _skip(source: int, count: int) -> None:
    """Leave out what the daemon has: by seeking, or by reading from what cannot seek."""
    try:
        if os.lseek(source, 0, os.SEEK_END) < count:
            raise InvalidArgument(f"the ingest has {count} bytes already, more than there are to send",
                                  hint="Drop it: cortenctl content abort")  # fmt: skip
        os.lseek(source, count, os.SEEK_SET)
    except OSError:
        while count:
            data = os.read(source, min(count, _BLOCK))
            if not data:
                raise InvalidArgument("the ingest has more bytes already than there are to send",
                                      hint="Drop it: cortenctl content abort") from None  # fmt: skip
            count -= len(data)


def _blocks(source: int) -> Iterator[bytes]:
    while data := os.read(source, _BLOCK):
        yield data


def _note(session: Session, *, held: bool) -> None:
    if not held and not session.quiet and not session.json:
        err("cortenctl: nothing refers to it yet, so the next collection takes it; to keep it, label it "
            "containerd.io/gc.root=now, or give a --lease")  # fmt: skip


def _edit(session: Session, options: Options) -> int:
    """The blob in an editor; what it becomes is another blob."""
    import shlex
    import subprocess
    import tempfile

    editor = options["editor"] or os.environ.get("EDITOR") or "vi"
    with tempfile.NamedTemporaryFile(prefix="corten-edit-") as file:
        with session.open("GET", f"/content/{segment(options.args[0])}/data") as reply:
            for chunk in reply.chunks():
                file.write(chunk)
        file.flush()
        try:
            done = subprocess.run([*shlex.split(editor), file.name])
        except OSError as error:
            raise InvalidArgument(f"{editor}: {error.strerror}", hint="Choose one with --editor or $EDITOR") from None
        if done.returncode:
            raise InvalidArgument(f"{editor} ended with {done.returncode}; nothing was written")
        source = os.open(file.name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _validate(source, options["validate"])
            digest = send(session, f"edit-{os.getpid()}-{options.args[0][-12:]}", source)
        finally:
            os.close(source)
    session.tell(digest)
    _note(session, held=False)
    return 0


def _validate(source: int, form: str) -> None:
    if not form:
        return
    if "json" not in form:
        raise InvalidArgument(f"--validate {form}: only JSON can be validated")
    import json

    data = b"".join(_blocks(source))
    os.lseek(source, 0, os.SEEK_SET)
    try:
        json.loads(data)
    except ValueError as error:
        raise InvalidArgument(f"the result is not JSON: {error}", hint="Edit it again; nothing was written") from None


INGEST = Command(
    "Make a blob of a file, or of standard input", _ingest, arguments="REF [FILE]", least=1, most=2,
    flags=[
        Flag("expected-digest", "string", "Refuse what has another digest; and go on where an earlier try broke off"),
        Flag("expected-size", "int", "Refuse what has another number of bytes"),
        Flag("label", "list", "Label of the blob, KEY=VALUE"),
        Flag("lease", "string", "A lease that holds the blob"),
        Flag("resume", "bool", "Go on where an earlier try broke off"),
    ],
    examples=[
        "cortenctl content ingest --label containerd.io/gc.root=now notes notes.txt",
        "curl -s https://example.com/l.tgz | cortenctl content ingest --expected-digest sha256:… l.tgz",
    ],
)  # fmt: skip
EDIT = Command(
    "Edit a copy of a blob, and print the new digest", _edit, arguments="DIGEST", least=1, most=1,
    flags=[
        Flag("editor", "string", "Editor (default $EDITOR, else vi)"),
        Flag("validate", "string", "Refuse a result that is not `json`"),
    ],
    examples=["cortenctl content edit --editor nano --validate json sha256:…"],
)  # fmt: skip
