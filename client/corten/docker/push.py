"""`push`."""

from __future__ import annotations

import sys

from corten import jsontext
from corten.command import Command
from corten.docker.engine import image_path
from corten.docker.pull import show_progress
from corten.flags import Flag
from corten.output import escape, out
from corten_shared.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.docker.session import Session
    from corten.flags import Options


def _run(session: Session, options: Options) -> int:
    from corten_shared.reference import parse_name, parse_normalized

    text, every, quiet = options.args[0], options["all-tags"], options["quiet"]
    bare = parse_name(text)
    if bare.digest:
        raise InvalidArgument("cannot push a digest reference", hint="push a tag: NAME:TAG")
    if every and bare.tag:
        raise InvalidArgument("tag can't be used with --all-tags/-a")
    full = bare if every else parse_normalized(text)
    if not every and not quiet and not bare.tag:
        out(f"Using default tag: {full.tag}")
    query = {"tag": full.tag or None, "platform": _platform(options["platform"])}
    auth = session.config.registry_auth(full.name)
    headers = {"X-Registry-Auth": auth} if auth else {}
    path = image_path(full.familiar_name, "/push")
    with session.engine.open("POST", path, query, headers=headers) as reply:
        show_progress(reply, None if quiet else sys.stdout)
    if quiet:
        out(escape(full))
    return 0


def _platform(text: str) -> str | None:
    """The API wants JSON."""
    if not text:
        return None
    os, _, rest = text.partition("/")
    architecture, _, variant = rest.partition("/")
    if not architecture:
        os, architecture = "linux", os
    found = {"os": os, "architecture": architecture}
    return jsontext.dumps({**found, "variant": variant} if variant else found)


PUSH = Command(
    "Upload an image to a registry",
    _run,
    arguments="NAME[:TAG]",
    flags=[
        Flag("all-tags", "bool", "Push all tags of an image to the repository", short="a"),
        Flag("disable-content-trust", "bool", "Skip image signing", default=True),
        Flag("platform", "string", "Push one platform of the image alone (os/arch[/variant])"),
        Flag("quiet", "bool", "Print the image's name only", short="q"),
    ],
    least=1,
    most=1,
)
