"""Images as tar archives: save, load and import, streamed."""

from __future__ import annotations

import sys

from corten import tty
from corten.command import Command
from corten.docker.image import platform_json
from corten.docker.pull import check, show_progress
from corten.flags import Flag
from corten.output import out
from corten.wholefile import write_whole
from corten_shared.errors import CortenError, InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from corten.docker.session import Session
    from corten.flags import Options
    from corten.transport import Response

_BLOCK = 1024 * 1024


def _run_save(session: Session, options: Options) -> int:
    path = options["output"]
    if not path and tty.is_terminal(1):
        raise CortenError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    platform = platform_json(options["platform"]) if options["platform"] else None
    query = {"names": options.args, "platform": platform}
    with session.engine.open("GET", "/images/get", query) as reply:
        if path:
            write_whole(path, reply.chunks(), "failed to save image")
        else:
            sys.stdout.flush()
            for data in reply.chunks():
                sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
    return 0


def _run_load(session: Session, options: Options) -> int:
    path = options["input"]
    if not path and tty.is_terminal(0):
        raise CortenError("requested load from stdin, but stdin is empty")
    try:
        source: BinaryIO = open(path, "rb") if path else sys.stdin.buffer  # noqa: SIM115
    except OSError as exc:
        raise InvalidArgument(f"open {path}: {(exc.strerror or str(exc)).lower()}") from None
    quiet = options["quiet"] or not tty.is_terminal(1)
    platform = platform_json(options["platform"]) if options["platform"] else None
    query = {"quiet": quiet, "platform": platform}
    with source, session.engine.open("POST", "/images/load", query, _blocks(source)) as reply:
        show_progress(reply, sys.stdout)
    return 0


def _run_import(session: Session, options: Options) -> int:
    path, reference = options.args[0], options.args[1] if len(options.args) > 1 else ""
    repository, tag = repository_and_tag(reference)
    query = {
        "fromSrc": "-" if path == "-" or not _is_url(path) else path,
        "repo": repository or None,
        "tag": tag or None,
        "message": options["message"] or None,
        "changes": options["change"],
        "platform": options["platform"] or None,
    }
    if _is_url(path):
        return _show_import(session.engine.open("POST", "/images/create", query))
    try:
        source: BinaryIO = sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: SIM115
    except OSError as exc:
        raise InvalidArgument(f"open {path}: {(exc.strerror or str(exc)).lower()}") from None
    with source:
        return _show_import(session.engine.open("POST", "/images/create", query, _blocks(source)))


def _show_import(reply: Response) -> int:
    """Print the new image's id, which comes as the stream's last status."""
    with reply:
        for message in reply.json_lines():
            check(message)
            if status := message.get("status"):
                out(str(status))
    return 0


def _is_url(path: str) -> bool:
    return path.startswith(("http://", "https://"))


def repository_and_tag(reference: str) -> tuple[str, str]:
    """A name taken apart as the API wants it; both empty for none."""
    from corten_shared.reference import parse_name

    if not reference:
        return "", ""
    name = parse_name(reference)
    bare = reference.removesuffix(f":{name.tag}") if name.tag else reference
    return bare, name.tag or ""


def _blocks(source: BinaryIO) -> Iterator[bytes]:
    while data := source.read(_BLOCK):
        yield data


SAVE = Command(
    "Save one or more images to a tar archive (to STDOUT by default)",
    _run_save,
    arguments="IMAGE [IMAGE...]",
    flags=[
        Flag("output", "string", "Write to a file, instead of STDOUT", short="o"),
        Flag("platform", "string", "Save only this platform's variant (os/arch[/variant])"),
    ],
    least=1,
    most=None,
)
LOAD = Command(
    "Load an image from a tar archive or STDIN",
    _run_load,
    flags=[
        Flag("input", "string", "Read from a tar archive file, instead of STDIN", short="i"),
        Flag("platform", "string", "Load only this platform's variant (os/arch[/variant])"),
        Flag("quiet", "bool", "Suppress the load output", short="q"),
    ],
)
IMPORT = Command(
    "Import the contents from a tarball to create a filesystem image",
    _run_import,
    arguments="file|URL|- [REPOSITORY[:TAG]]",
    flags=[
        Flag("change", "list", "Apply Dockerfile instruction to the created image", short="c"),
        Flag("message", "string", "Set commit message for imported image", short="m"),
        Flag("platform", "string", "Set platform if server is multi-platform capable"),
    ],
    least=1,
    most=2,
)
