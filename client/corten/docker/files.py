"""A container's files as a whole: export, diff, commit."""

from __future__ import annotations

import sys

from corten import tty
from corten.command import Command
from corten.docker.engine import container_path
from corten.flags import Flag
from corten.output import escape, out
from corten.wholefile import write_whole
from corten_shared.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.docker.session import Session
    from corten.flags import Options

_KINDS = "CAD"
"""By the API's number: changed, added, deleted."""


def _run_export(session: Session, options: Options) -> int:
    path = options["output"]
    if not path and tty.is_terminal(1):
        raise CortenError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    with session.engine.open("GET", container_path(options.args[0], "/export")) as reply:
        if path:
            write_whole(path, reply.chunks(), "failed to export container")
        else:
            sys.stdout.flush()
            for data in reply.chunks():
                sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
    return 0


def _run_commit(session: Session, options: Options) -> int:
    from corten.docker.archive import repository_and_tag

    container, reference = options.args[0], options.args[1] if len(options.args) > 1 else ""
    repository, tag = repository_and_tag(reference)
    query = {
        "container": container,
        "repo": repository or None,
        "tag": tag or None,
        "comment": options["message"] or None,
        "author": options["author"] or None,
        "changes": options["change"],
        "pause": options["pause"] and not options["no-pause"],
    }
    out(session.engine.call("POST", "/commit", query)["Id"])
    return 0


def _run_diff(session: Session, options: Options) -> int:
    for change in session.engine.call("GET", container_path(options.args[0], "/changes")) or ():
        out(f"{_KINDS[change['Kind']]} {escape(change['Path'])}")
    return 0


EXPORT = Command(
    "Export a container's filesystem as a tar archive",
    _run_export,
    arguments="CONTAINER",
    flags=[Flag("output", "string", "Write to a file, instead of STDOUT", short="o")],
    least=1,
    most=1,
)
COMMIT = Command(
    "Create a new image from a container's changes",
    _run_commit,
    arguments="CONTAINER [REPOSITORY[:TAG]]",
    flags=[
        Flag("author", "string", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")', short="a"),
        Flag("change", "list", "Apply Dockerfile instruction to the created image", short="c"),
        Flag("message", "string", "Commit message", short="m"),
        Flag("no-pause", "bool", "Do not pause the container while it is committed"),
        Flag("pause", "bool", "Pause the container while it is committed", short="p", default=True),
    ],
    least=1,
    most=2,
)
DIFF = Command(
    "Inspect changes to files or directories on a container's filesystem",
    _run_diff,
    arguments="CONTAINER",
    least=1,
    most=1,
)
