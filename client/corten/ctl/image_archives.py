"""`cortenctl images export` and `cortenctl images import`."""

from __future__ import annotations

import sys

from corten import tty
from corten.ctl.command import QUIET, Command
from corten.ctl.session import Session
from corten.flags import Flag
from corten.output import escape, out
from corten.progress import board
from corten.streams import write_all
from corten.wholefile import write_whole
from corten_shared.errors import CortenError, DataLoss, InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from corten.flags import Options
    from corten.progress import Bars, Lines

_BLOCK = 1 << 20


def _export(session: Session, options: Options) -> int:
    path, *names = options.args
    if path == "-" and tty.is_terminal(1):
        raise CortenError("an archive is not for a terminal", hint="name a file, or redirect")
    query = {
        "name": names,
        "platform": options["platform"],
        "all_platforms": "true" if options["all-platforms"] else None,
        "manifest_json": "false" if options["skip-manifest-json"] else None,
    }
    with session.open("GET", "/images/export", query=query) as reply:
        if path == "-":
            for data in reply.chunks():
                write_all(1, data)
            return 0
        write_whole(path, reply.chunks(), "cannot export")
    return 0


def _import(session: Session, options: Options) -> int:
    path = options.args[0]
    base = options["base-name"]
    query = {
        "platform": options["platform"],
        "base_name": base or _today(),
        "only_base": "true" if base else None,
        "digests": "true" if options["digests"] else None,
        "index_name": options["index-name"] or None,
        "unpack": "false" if options["no-unpack"] else None,
    }
    try:
        source: BinaryIO = sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: SIM115
    except OSError as exc:
        raise InvalidArgument(f"open {path}: {(exc.strerror or str(exc)).lower()}") from None
    with source:
        progress = session.lines("POST", "/images/import", _blocks(source), **query)
        if session.quiet or session.json:
            lines = list(progress)
        else:
            with board(sys.stdout) as display:
                lines = list(_shown(progress, display))
    images = [line["image"] for line in lines if line.get("image")]
    if not images:
        raise DataLoss("the import ended before it was done", hint="See cortend's log, and try again")
    if session.json:
        return session.dump(images)
    if session.quiet:
        out("".join(f"{escape(image['name'])}\n" for image in images), end="")
    return 0


def _today() -> str:
    """What ctr calls images that the archive gives only a tag."""
    import time

    return time.strftime("import-%Y-%m-%d")


def _shown(progress: Iterator[dict[str, object]], display: Bars | Lines) -> Iterator[dict[str, object]]:
    for line in progress:
        if image := line.get("image"):
            display.message(f"{line['status']}: {image['name']}")  # type: ignore[index]
        else:
            display.update(str(line["id"]), str(line["status"]), line.get("current") or 0, line.get("total") or 0)  # type: ignore[arg-type]
        yield line


def _blocks(source: BinaryIO) -> Iterator[bytes]:
    while data := source.read(_BLOCK):
        yield data


_PLATFORM = Flag("platform", "list", "Only this platform (os/arch[/variant]); may be given again")
_LOCAL = Flag("local", "bool", "Here for ctr's sake: the daemon always does the work", hidden=True)

COMMANDS = {
    "export": Command(
        "Write images to a tar archive",
        _export,
        arguments="OUT REF...",
        flags=[
            _PLATFORM,
            Flag("all-platforms", "bool", "Fail unless every platform of the image is here"),
            Flag("skip-manifest-json", "bool", "Write an OCI layout only, no docker archive"),
            Flag("skip-non-distributable", "bool", "Here for ctr's sake", hidden=True),
            _LOCAL,
        ],
        least=2,
        most=None,
    ),
    "import": Command(
        "Take the images of a docker archive or OCI layout (- is standard input)",
        _import,
        arguments="IN",
        flags=[
            _PLATFORM,
            Flag("all-platforms", "bool", "Every platform in the archive (the default)"),
            Flag("base-name", "string", "Repository of images that the archive gives only a tag; leaves others out"),
            Flag("digests", "bool", "Name images by digest too"),
            Flag("index-name", "string", "Name of the archive's index itself"),
            Flag("no-unpack", "bool", "Do not unpack"),
            Flag("compress-blobs", "bool", "Here for ctr's sake: blobs stay as they are", hidden=True),
            Flag("discard-unpacked-layers", "bool", "Here for ctr's sake", hidden=True),
            Flag("sync-fs", "bool", "Here for ctr's sake: layers are always synced", hidden=True),
            _LOCAL,
            QUIET,
        ],
        least=1,
        most=1,
    ),
}
