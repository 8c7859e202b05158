"""`exec`: a further process in a running container."""

from __future__ import annotations

from corten import tty
from corten.command import Command
from corten.docker import values
from corten.docker.attached import Attachment, NoProxy, Resizer, check_terminal
from corten.docker.engine import EngineError, container_path
from corten.docker.envfile import environment
from corten.docker.main import ENGINE_FAILED, exit_code
from corten.flags import Flag, UsageError
from corten.output import err, sentence
from corten.transport import quote
from corten_shared.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.docker.session import Session
    from corten.flags import Options


def _run(session: Session, options: Options) -> int:
    detach, terminal = bool(options["detach"]), bool(options["tty"])
    stdin = bool(options["interactive"] and not detach)
    check_terminal(stdin=stdin, terminal=terminal and not detach)
    name = options.args[0]
    created = session.engine.call("POST", container_path(name, "/exec"), body=_body(session, options))
    if not isinstance(created, dict) or not created.get("Id"):
        raise CortenError("the engine's answer to exec names no process")
    path = f"/exec/{quote(str(created['Id']))}"
    start: dict[str, Any] = {"Detach": detach, "Tty": terminal}
    if terminal:
        start["ConsoleSize"] = list(tty.size(1))
    try:
        if detach:
            session.engine.call("POST", f"{path}/start", body=start)
            return 0
        return _attach(session, options, path, start, stdin=stdin)
    except EngineError as exc:
        code = exit_code(exc.reason)
        if code == ENGINE_FAILED:
            raise
        err(sentence(exc))
        return code


def _attach(session: Session, options: Options, path: str, start: dict[str, Any], *, stdin: bool) -> int:
    engine, terminal = session.engine, bool(start["Tty"])
    reply = engine.hijack(f"{path}/start", body=start)
    resizer = Resizer(engine, f"{path}/resize")
    watch = resizer if terminal else NoProxy()
    keys = session.detach_keys(options["detach-keys"])
    with Attachment(reply, terminal=terminal, stdin=stdin, keys=keys) as attachment, watch:
        if terminal:
            resizer.now()
        if attachment.pump():
            return 0
    ended = engine.call("GET", f"{path}/json")
    code = ended.get("ExitCode") if isinstance(ended, dict) else None
    return code if isinstance(code, int) else 0


def _body(session: Session, options: Options) -> dict[str, Any]:
    """The exec's description, every member as docker sends it."""
    attached = not options["detach"]
    try:
        variables = environment(options["env-file"], options["env"])
    except ValueError as exc:
        raise UsageError(str(exc), bare=False) from None
    body: dict[str, Any] = {
        "User": options["user"],
        "Privileged": options["privileged"],
        "Tty": options["tty"],
        "AttachStdin": bool(options["interactive"] and attached),
        "AttachStderr": attached,
        "AttachStdout": attached,
        "Detach": options["detach"],
        "DetachKeys": options["detach-keys"] or session.config.detach_keys,
        "Env": variables or None,
        "WorkingDir": options["workdir"],
        "Cmd": options.args[1:],
    }
    if options["tty"]:
        body["ConsoleSize"] = list(tty.size(1))
    return body


EXEC = Command(
    "Execute a command in a running container",
    _run,
    arguments="CONTAINER COMMAND [ARG...]",
    flags=[
        Flag("detach", "bool", "Run the command in the background", short="d"),
        Flag("detach-keys", "string", "Keys that detach from the command"),
        Flag("env", "list", "Set environment variables", short="e", convert=values.environment),
        Flag("env-file", "list", "Read environment variables from a file"),
        Flag("interactive", "bool", "Keep STDIN open even if not attached", short="i"),
        Flag("privileged", "bool", "Give the command extended privileges"),
        Flag("tty", "bool", "Allocate a pseudo-TTY", short="t"),
        Flag("user", "string", "Name or UID (format: <name|uid>[:<group|gid>])", short="u"),
        Flag("workdir", "string", "Working directory inside the container", short="w"),
    ],
    least=2,
    most=None,
    stops=True,
)
