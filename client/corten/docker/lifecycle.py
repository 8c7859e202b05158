"""What is done to containers by name: stop, restart, kill, pause, unpause, wait, rm, rename."""

from __future__ import annotations

from corten.command import Command
from corten.docker.attached import each
from corten.docker.engine import EngineError, container_path
from corten.docker.native import PLAN, plan
from corten.flags import Flag
from corten.output import err, sentence
from corten_shared.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from corten.docker.session import Session
    from corten.flags import Options

_MANY = "CONTAINER [CONTAINER...]"
_STOP_FLAGS = [
    Flag("signal", "string", "Signal to send to the container", short="s"),
    Flag("timeout", "int", "Seconds to wait before killing the container", short="t"),
    Flag("time", "int", "", hidden=True, to="timeout", warns=True),
]


def _post(action: str, query: Callable[[Options], dict[str, object]]) -> Callable[[Session, Options], int]:
    """A command that posts `action` for every name and prints the name."""

    def run(session: Session, options: Options) -> int:
        asked = query(options)

        def one(name: str) -> str:
            session.engine.call("POST", container_path(name, f"/{action}"), asked)
            return name

        return each(options.args, one)

    return run


def _stop_query(options: Options) -> dict[str, object]:
    given = options["timeout"] if "timeout" in options.changed else None
    return {"t": given, "signal": options["signal"] or None}


def _kill_query(options: Options) -> dict[str, object]:
    return {"signal": options["signal"] or None}


def _nothing(options: Options) -> dict[str, object]:
    return {}


def _run_wait(session: Session, options: Options) -> int:
    def one(name: str) -> str:
        answer = session.engine.call("POST", container_path(name, "/wait"))
        return str(answer.get("StatusCode", "")) if isinstance(answer, dict) else ""

    return each(options.args, one)


def _run_rm(session: Session, options: Options) -> int:
    if options["plan"]:
        names = [name.strip("/") for name in options.args]
        return plan(
            session, "containers.remove", names, force=bool(options["force"]), volumes=bool(options["volumes"])
        )
    query = {"force": options["force"] or None, "v": options["volumes"] or None, "link": options["link"] or None}

    def one(name: str) -> str | None:
        trimmed = name.strip("/")
        if not trimmed:
            raise InvalidArgument("container name cannot be empty")
        try:
            session.engine.call("DELETE", container_path(trimmed), query)
        except EngineError as exc:
            if exc.status != 404 or not options["force"]:
                raise
            err(sentence(exc))
            return None
        return name

    return each(options.args, one)


def _run_rename(session: Session, options: Options) -> int:
    old, new = (name.strip() for name in options.args)
    if not old or not new:
        raise InvalidArgument("neither old nor new names may be empty")
    try:
        session.engine.call("POST", container_path(old, "/rename"), {"name": new})
    except EngineError as exc:
        err(sentence(exc))
        err(f"Error: failed to rename container named {old}")
        return 1
    return 0


STOP = Command(
    "Stop one or more running containers",
    _post("stop", _stop_query), arguments=_MANY, flags=_STOP_FLAGS, least=1, most=None,
)  # fmt: skip
RESTART = Command(
    "Restart one or more containers",
    _post("restart", _stop_query), arguments=_MANY, flags=_STOP_FLAGS, least=1, most=None,
)  # fmt: skip
KILL = Command(
    "Kill one or more running containers",
    _post("kill", _kill_query), arguments=_MANY, flags=_STOP_FLAGS[:1], least=1, most=None,
)  # fmt: skip
PAUSE = Command(
    "Pause all processes within one or more containers",
    _post("pause", _nothing), arguments=_MANY, least=1, most=None,
)  # fmt: skip
UNPAUSE = Command(
    "Unpause all processes within one or more containers",
    _post("unpause", _nothing), arguments=_MANY, least=1, most=None,
)  # fmt: skip
WAIT = Command(
    "Block until containers stop, then print their exit codes",
    _run_wait, arguments=_MANY, least=1, most=None,
)  # fmt: skip
RENAME = Command(
    "Rename a container",
    _run_rename, arguments="CONTAINER NEW_NAME", least=2, most=2,
)  # fmt: skip
RM = Command(
    "Remove one or more containers",
    _run_rm,
    arguments=_MANY,
    flags=[
        Flag("force", "bool", "Force the removal of a running container (uses SIGKILL)", short="f"),
        Flag("link", "bool", "Remove the specified link", short="l"),
        PLAN,
        Flag("volumes", "bool", "Remove anonymous volumes of the container", short="v"),
    ],
    least=1,
    most=None,
)
