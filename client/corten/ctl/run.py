"""`cortenctl run`."""

from __future__ import annotations

from corten.ctl.attached import Attached
from corten.ctl.command import Command
from corten.ctl.create import CREATE_FLAGS, creation
from corten.ctl.session import Session, segment
from corten.flags import Flag
from corten.output import err, escape, sentence
from corten_shared.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.flags import Options

FLAGS = [
    *CREATE_FLAGS,
    Flag("detach", "bool", "Leave it running and print its name", short="d"),
    Flag("rm", "bool", "Remove the container when its task has ended"),
]


def _run(session: Session, options: Options) -> int:
    terminal = bool(options["tty"])
    created = session.call(
        "POST", "/containers", creation(options, tty=terminal, auto_remove=bool(options["rm"]))
    )
    for warning in created["warnings"]:
        err(f"WARNING: {escape(warning)}")
    name = created["container"]["name"]
    if options["detach"]:
        return _start_detached(session, name)
    attached = Attached(session, name, terminal=terminal, stdin=terminal or bool(options["interactive"]))
    # Asked for before the start, on a connection of its own: the end cannot be missed.
    condition = "removed" if options["rm"] else "next-exit"
    waiting = session.open(
        "GET",
        f"/tasks/{segment(name)}/wait",
        query={"condition": condition},
        transport=session.transport.clone(),
    )
    try:
        session.call("POST", "/tasks", {"container": name})
    except CortenError as error:
        err(f"cortenctl: {sentence(error)}")
        return start_failure(error.message)
    if attached.pump():
        return 0
    result = waiting.json()
    if result["error"]:
        err(f"cortenctl: {escape(result['error'])}")
    return int(result["exit_code"])


def _start_detached(session: Session, name: str) -> int:
    try:
        session.call("POST", "/tasks", {"container": name})
    except CortenError as error:
        err(f"cortenctl: {sentence(error)}")
        return start_failure(error.message)
    session.tell(name)
    return 0


def start_failure(message: str) -> int:
    """The exit code for a task that did not start, as shells and docker have it: 127 not found, 126 not executable."""
    if "executable file not found" in message or "no such file or directory" in message:
        return 127
    return 126 if "permission denied" in message or "is a directory" in message else 125


COMMANDS = {
    "run": Command(
        "Run a container from an image that is here, and leave with its exit code", _run,
        arguments="IMAGE NAME [COMMAND [ARG...]]", flags=FLAGS, least=2, most=None, stops=True, failure=125,
    ),
}  # fmt: skip
