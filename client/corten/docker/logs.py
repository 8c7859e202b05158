"""`logs`: what a container has written, framed or raw as its terminal says."""

from __future__ import annotations

import sys

from corten.command import Command
from corten.docker.engine import container_path
from corten.docker.moments import moment
from corten.flags import Flag
from corten.streams import Demultiplexer, Raw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.docker.session import Session
    from corten.flags import Options
    from corten.transport import Response

_MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
_FIRST_HONEST = (1, 42)
"""API version from which the Content-Type tells framed from raw."""


def _run(session: Session, options: Options) -> int:
    name = options.args[0]
    query = {
        "details": options["details"] or None,
        "follow": options["follow"] or None,
        "since": moment(options["since"], "since") or None,
        "stderr": 1,
        "stdout": 1,
        "tail": options["tail"],
        "timestamps": options["timestamps"] or None,
        "until": moment(options["until"], "until") or None,
    }
    with session.engine.open("GET", container_path(name, "/logs"), query) as reply:
        sys.stdout.flush()
        output = Raw() if _is_raw(session, reply, name) else Demultiplexer()
        for data in reply.chunks():
            output.feed(data)
        output.finish()
    return 0


def _is_raw(session: Session, reply: Response, name: str) -> bool:
    """Whether the container has a terminal. New engines say so in the reply; old ones are asked."""
    if reply.headers.get("content-type", "").startswith(_MULTIPLEXED):
        return False
    major, _, minor = reply.headers.get("api-version", "").partition(".")
    if major.isdigit() and minor.isdigit() and (int(major), int(minor)) >= _FIRST_HONEST:
        return True
    info = session.engine.call("GET", container_path(name, "/json"))
    return bool(info["Config"].get("Tty"))


LOGS = Command(
    "Fetch the logs of a container",
    _run,
    arguments="CONTAINER",
    flags=[
        Flag("details", "bool", "Show extra details provided to logs"),
        Flag("follow", "bool", "Follow log output", short="f"),
        Flag("since", "string", 'Show logs since a time ("2013-01-02T13:23:37Z") or for so long ("42m")'),
        Flag("tail", "string", "Number of lines to show from the end of the logs", short="n", default="all"),
        Flag("timestamps", "bool", "Show timestamps", short="t"),
        Flag("until", "string", 'Show logs before a time ("2013-01-02T13:23:37Z") or age ("42m")'),
    ],
    least=1,
    most=1,
)
