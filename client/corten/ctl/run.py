"""`cortenctl run`."""

from __future__ import annotations

from corten.ctl.attached import Attached
from corten.ctl.command import Command
from corten.ctl.create import create
from corten.ctl.create_flags import RUN_FLAGS
from corten.ctl.session import Session, segment
from corten.output import err, escape, sentence
from corten_shared.errors import CortenError, InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.flags import Options
    from corten.transport import Response

def _run(session: Session, options: Options) -> int:
    terminal = bool(options["tty"])
    silent = bool(options["null-io"])
    name = create(session, options, tty=terminal, auto_remove=bool(options["rm"]), null_io=silent)["name"]
    if options["detach"]:
        return _start_detached(session, name, options["pid-file"])
    if silent:
        return _started(session, name, {"auto_remove": options["rm"]}, options["pid-file"], None)
    spec = {"tty": terminal, "open_stdin": terminal or bool(options["interactive"]), "auto_remove": options["rm"]}
    return attached_start(session, name, spec, options["pid-file"])


def attached_start(session: Session, name: str, spec: dict[str, Any], pid_file: str) -> int:
    """Start a container's task with its streams here; its exit code, or 0 when the user detached."""
    attached = Attached(session, name, terminal=spec["tty"], stdin=spec["open_stdin"])
    return _started(session, name, spec, pid_file, attached)


def _started(session: Session, name: str, spec: dict[str, Any], pid_file: str, attached: Attached | None) -> int:
    waiting = _waiting(session, name, removed=bool(spec["auto_remove"]))
    try:
        start(session, name, pid_file)
    except CortenError as error:
        err(f"cortenctl: {sentence(error)}")
        return start_failure(error.message)
    if attached is not None and attached.pump():
        return 0
    return ended(waiting)


def _waiting(session: Session, name: str, *, removed: bool) -> Response:
    """Asked for before the start, on a connection of its own: the end cannot be missed."""
    condition = "removed" if removed else "next-exit"
    return session.open(
        "GET",
        f"/tasks/{segment(name)}/wait",
        query={"condition": condition},
        transport=session.transport.clone(),
    )


def start(session: Session, name: str, pid_file: str = "") -> None:
    """Start a container's task, and write its process id where that is wanted."""
    task = session.call("POST", "/tasks", {"container": name})
    if pid_file:
        write_pid(pid_file, task)


def write_pid(path: str, task: dict[str, Any]) -> None:
    """Write a task's process id into a file; as ctr, the number alone."""
    pid = (task["task"]["pid"] or {}).get("pid", "")
    try:
        with open(path, "w") as file:
            file.write(str(pid))
    except OSError as error:
        raise InvalidArgument(f"--pid-file {path}: {error.strerror}", hint="The task runs all the same") from None


def ended(waiting: Response) -> int:
    """The exit code of a task, once it has ended."""
    result = waiting.json()
    if result["error"]:
        err(f"cortenctl: {escape(result['error'])}")
    return int(result["exit_code"])


def _start_detached(session: Session, name: str, pid_file: str) -> int:
    try:
        start(session, name, pid_file)
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
        arguments="IMAGE NAME [COMMAND [ARG...]]", flags=RUN_FLAGS, least=2, most=None, stops=True, failure=125,
        examples=[
            "cortenctl run --rm -t docker.io/library/busybox:latest box sh",
            "cortenctl run -d --net-host --memory-limit 64m --env-file app.env registry.example/app:1 app",
            "cortenctl run --rm --mount type=bind,src=/srv,dst=/data,options=rbind:ro --read-only "
            "docker.io/library/busybox:latest look ls /data",
            "cortenctl run --rootfs --with-ns network:/run/netns/lab /srv/root plain sh",
        ],
    ),
}  # fmt: skip
