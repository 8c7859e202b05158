"""`pull`, and the pull that `run` does when the image is missing."""

from __future__ import annotations

import sys

from corten.command import Command
from corten.flags import Flag
from corten.output import escape, out
from corten.progress import Bars, Lines, board
from corten_shared.errors import CortenError, InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    from corten.docker.session import Session
    from corten.flags import Options
    from corten.transport import Response


class StreamError(CortenError):
    """The engine reported a failure inside a progress stream."""

    code = "engine"


def pull(session: Session, repository: str, tag: str, platform: str, stream: TextIO | None) -> None:
    """Pull an image and show progress on `stream` (or nowhere). Raises EngineError or StreamError."""
    query = {"fromImage": repository, "tag": tag or None, "platform": platform or None}
    auth = session.config.registry_auth(repository)
    headers = {"X-Registry-Auth": auth} if auth else {}
    with session.engine.open("POST", "/images/create", query, headers=headers) as reply:
        show_progress(reply, stream)


def show_progress(reply: Response, stream: TextIO | None) -> None:
    """Show a progress stream (pull, push, load); raises StreamError for an error in it."""
    if stream is None:
        for message in reply.json_lines():
            check(message)
        return
    with board(stream) as display:
        for message in reply.json_lines():
            check(message)
            _show(message, display)


def check(message: dict[str, Any]) -> None:
    """Raise StreamError when a line of a progress stream reports a failure."""
    detail = message.get("errorDetail")
    text = detail.get("message") if isinstance(detail, dict) else None
    text = text or message.get("error")
    if text:
        raise StreamError(str(text))


def _show(message: dict[str, Any], display: Bars | Lines) -> None:
    status, name = str(message.get("status", "")), str(message.get("id", ""))
    if "stream" in message:
        display.message(str(message["stream"]).rstrip("\n"))
    elif name and not status.startswith("Pulling from"):
        detail = message.get("progressDetail")
        counts = detail if isinstance(detail, dict) else {}
        display.update(name, status, _count(counts.get("current")), _count(counts.get("total")))
    elif status:
        display.message(f"{name}: {status}" if name else status)


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _run(session: Session, options: Options) -> int:
    from corten_shared.reference import parse_name, parse_normalized

    text = options.args[0]
    bare = parse_name(text)
    every, quiet = options["all-tags"], options["quiet"]
    if every and (bare.tag or bare.digest):
        raise InvalidArgument("tag can't be used with --all-tags/-a")
    full = bare if every else parse_normalized(text)
    if not every and not quiet and not bare.tag and not bare.digest:
        out(f"Using default tag: {full.tag}")
    pull(session, full.name, full.object, options["platform"], None if quiet else sys.stdout)
    out(escape(full))
    return 0


PULL = Command(
    "Download an image from a registry",
    _run,
    arguments="NAME[:TAG|@DIGEST]",
    flags=[
        Flag("all-tags", "bool", "Download all tagged images in the repository", short="a"),
        Flag("disable-content-trust", "bool", "Skip image verification", default=True),
        Flag("platform", "string", "Platform to pull, when the image has several (os/arch[/variant])"),
        Flag("quiet", "bool", "Print the image's name only", short="q"),
    ],
    least=1,
    most=1,
)
