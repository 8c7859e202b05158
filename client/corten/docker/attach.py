"""`attach`, and `start`, which may attach."""

from __future__ import annotations

from corten.command import Command
from corten.docker.attached import (
    Attachment,
    NoProxy,
    Resizer,
    SignalProxy,
    check_terminal,
    each,
    wait_status,
)
from corten.docker.engine import container_path
from corten.flags import Flag
from corten.output import err
from corten_shared.errors import Conflict, CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.docker.session import Session
    from corten.flags import Options

_KEYS = Flag("detach-keys", "string", "Keys that detach from the container")
_PROXY = Flag("sig-proxy", "bool", "Pass signals on to the process", default=True)


def _run_attach(session: Session, options: Options) -> int:
    name, engine = options.args[0], session.engine
    info = engine.call("GET", container_path(name, "/json"))
    _check_running(info)
    terminal = bool(info["Config"].get("Tty"))
    stdin = bool(info["Config"].get("OpenStdin")) and not options["no-stdin"]
    check_terminal(stdin=stdin, terminal=terminal)
    identifier = str(info["Id"])
    waiting = engine.open("POST", container_path(identifier, "/wait"))
    reply = engine.hijack(container_path(identifier, "/attach"), _query(options, stdin=stdin))
    proxied = options["sig-proxy"] and not terminal
    proxy = SignalProxy(engine, identifier) if proxied else NoProxy()
    resizer = Resizer(engine, container_path(identifier, "/resize"))
    watch = resizer if terminal else NoProxy()
    keys = session.detach_keys(options["detach-keys"])
    with Attachment(reply, terminal=terminal, stdin=stdin, keys=keys) as attachment, proxy, watch:
        proxy.started()
        if terminal:  # a size that is not the present one makes programs draw themselves anew
            resizer.now(extra_rows=1)
            resizer.now()
        if attachment.pump():
            raise CortenError("read escape sequence")
        return wait_status(waiting)


def _check_running(info: dict[str, Any]) -> None:
    state = info.get("State") or {}
    if not state.get("Running"):
        raise Conflict("cannot attach to a stopped container, start it first")
    if state.get("Paused"):
        raise Conflict("cannot attach to a paused container, unpause it first")
    if state.get("Restarting"):
        raise Conflict("cannot attach to a restarting container, wait until it is running")


def _query(options: Options, *, stdin: bool) -> dict[str, object]:
    query: dict[str, object] = {"stream": 1, "stdout": 1, "stderr": 1}
    if stdin:
        query["stdin"] = 1
    if options["detach-keys"]:
        query["detachKeys"] = options["detach-keys"]
    return query


def _run_start(session: Session, options: Options) -> int:
    names = options.args
    if options["attach"] or options["interactive"]:
        if len(names) > 1:
            raise CortenError("you cannot start and attach multiple containers at once")
        return _start_attached(session, options, names[0])
    query = {"checkpoint": options["checkpoint"] or None, "checkpoint-dir": options["checkpoint-dir"] or None}
    failed: list[str] = []

    def start(name: str) -> str:
        failed.append(name)
        session.engine.call("POST", container_path(name, "/start"), query)
        failed.pop()
        return name

    if each(names, start):
        err(f"Error: failed to start containers: {', '.join(failed)}")
        return 1
    return 0


def _start_attached(session: Session, options: Options, name: str) -> int:
    engine = session.engine
    info = engine.call("GET", container_path(name, "/json"))
    identifier, config = str(info["Id"]), info["Config"]
    terminal = bool(config.get("Tty"))
    stdin = bool(options["interactive"] and config.get("OpenStdin"))
    check_terminal(stdin=stdin, terminal=terminal)
    reply = engine.hijack(container_path(identifier, "/attach"), _query(options, stdin=stdin))
    removed = bool((info.get("HostConfig") or {}).get("AutoRemove"))
    condition = "removed" if removed else "next-exit"
    waiting = engine.open("POST", container_path(identifier, "/wait"), {"condition": condition})
    proxy = SignalProxy(engine, identifier) if options["sig-proxy"] and not terminal else NoProxy()
    resizer = Resizer(engine, container_path(identifier, "/resize"))
    watch = resizer if terminal else NoProxy()
    keys = session.detach_keys(options["detach-keys"])
    with Attachment(reply, terminal=terminal, stdin=stdin, keys=keys) as attachment, proxy, watch:
        engine.call("POST", container_path(identifier, "/start"))
        proxy.started()
        if terminal:
            resizer.now()
        if attachment.pump():
            return 0
        return wait_status(waiting)


ATTACH = Command(
    "Attach local standard input, output, and error to a running container",
    _run_attach,
    arguments="CONTAINER",
    flags=[_KEYS, Flag("no-stdin", "bool", "Do not attach STDIN"), _PROXY],
    least=1,
    most=1,
)

START = Command(
    "Start one or more stopped containers",
    _run_start,
    arguments="CONTAINER [CONTAINER...]",
    flags=[
        Flag("attach", "bool", "Attach STDOUT and STDERR and pass signals on", short="a"),
        Flag("checkpoint", "string", "Restore from this checkpoint"),
        Flag("checkpoint-dir", "string", "Where checkpoints are, when not at the usual place"),
        _KEYS,
        Flag("interactive", "bool", "Attach the container's STDIN", short="i"),
        Flag("sig-proxy", "bool", "Pass signals on to the process", default=True, hidden=True),
    ],
    least=1,
    most=None,
)
