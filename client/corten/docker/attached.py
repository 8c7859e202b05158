"""Being attached to a container or an exec: terminal, signals, detach keys, both streams."""

from __future__ import annotations

# The C module: `signal` wraps it in enums, for 7 ms of every command.
import _signal as signal  # type: ignore[import-not-found]
import sys

from corten import tty
from corten.docker.engine import Engine, EngineError
from corten.output import err
from corten.streams import Demultiplexer, Pump, Raw
from corten_shared.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import Any

    from corten.transport import Response

_PROXIED = {
    signal.SIGHUP: "HUP", signal.SIGINT: "INT", signal.SIGQUIT: "QUIT", signal.SIGUSR1: "USR1",
    signal.SIGUSR2: "USR2", signal.SIGALRM: "ALRM", signal.SIGTERM: "TERM", signal.SIGCONT: "CONT",
    signal.SIGTSTP: "TSTP",
}  # fmt: skip
"""Passed on to the container. Not WINCH (servers take it for "stop"), CHLD, PIPE: they are ours."""


def check_terminal(*, stdin: bool, terminal: bool) -> None:
    """A terminal for the container needs one here, when input is to go there."""
    if stdin and terminal and not tty.is_terminal(0):
        raise CortenError("the input device is not a TTY")


class Attachment:
    """A hijacked stream to this process's standard streams. Used as a context manager: the
    terminal is raw inside when the container has one.

        with Attachment(reply, terminal=True, stdin=True, keys="ctrl-p,ctrl-q") as attachment:
            ...start it...
            detached = attachment.pump()
    """

    def __init__(self, reply: Response, *, terminal: bool, stdin: bool, keys: str) -> None:
        self._reply = reply
        self._terminal = terminal
        self._stdin = stdin
        typed = terminal and stdin and tty.is_terminal(0)
        self._detach = tty.DetachKeys(tty.parse_detach_keys(keys)) if typed else None
        self._raw = tty.Raw(0) if typed else None

    def __enter__(self) -> Attachment:
        if self._raw is not None:
            self._raw.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._raw is not None:
            self._raw.__exit__(kind, exc, trace)
        self._reply.connection.close()

    def pump(self) -> bool:
        """Carry the streams until the output ends; True when the user detached instead."""
        sys.stdout.flush()
        output = Raw() if self._terminal else Demultiplexer()
        pump = Pump(self._reply.connection, output, 0 if self._stdin else None, self._detach)
        pump.run()
        return pump.detached


class Resizer:
    """Keeps the size of a container's or exec's terminal as ours is. `path` is its `/resize`."""

    def __init__(self, engine: Engine, path: str) -> None:
        self._engine = engine.clone()
        self._path = path
        self._watch = tty.OnResize(1, self._send)

    def __enter__(self) -> Resizer:
        self._watch.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.__exit__(kind, exc, trace)

    def now(self, extra_rows: int = 0) -> None:
        """Send the present size. A container that has just ended is no error."""
        rows, columns = tty.size(1)
        if rows and columns:
            self._send(rows + extra_rows, columns)

    def _send(self, rows: int, columns: int) -> None:
        try:
            self._engine.call("POST", self._path, {"h": rows, "w": columns})
        except CortenError:
            return


class SignalProxy:
    """Passes this process's signals on to a container inside `with`.

    Those that come before `started` is called are kept until then: the engine refuses signals for
    a container that does not run yet.
    """

    def __init__(self, engine: Engine, container: str) -> None:
        self._engine = engine.clone()
        self._path = f"/containers/{container}/kill"
        self._waiting: list[str] = []
        self._running = self._sending = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> SignalProxy:
        for signum in _PROXIED:
            self._before[signum] = signal.signal(signum, self._caught)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def started(self) -> None:
        """The container runs now: pass on what has come so far."""
        self._running = True
        self._drain()

    def _caught(self, signum: int, frame: FrameType | None) -> None:
        self._waiting.append(_PROXIED[signum])
        self._drain()

    def _drain(self) -> None:
        """One at a time: a signal that comes while one is being sent waits for its turn."""
        if self._sending or not self._running:
            return
        self._sending = True
        try:
            while self._waiting:
                self._kill(self._waiting.pop(0))
        finally:
            self._sending = False

    def _kill(self, name: str) -> None:
        try:
            self._engine.call("POST", self._path, {"signal": name})
        except EngineError as exc:
            if exc.status not in (404, 409):  # it has ended meanwhile
                err(f"Error sending signal: {exc.message}")
        except CortenError:
            return


class NoProxy:
    """Where no signals are passed on, or no size is followed."""

    def __enter__(self) -> NoProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def started(self) -> None:
        """Nothing waits."""


def wait_status(reply: Response) -> int:
    """The exit code that a `wait` reply ends with; 125 with a word on stderr when waiting failed."""
    answer = reply.json()
    if not isinstance(answer, dict):
        err("Error waiting for container: no status in the answer")
        return 125
    problem = answer.get("Error")
    if isinstance(problem, dict) and problem.get("Message"):
        from corten.output import escape

        err(f"Error waiting for container: {escape(problem['Message'])}")
        return 125
    return int(answer.get("StatusCode", 125))


def each(names: list[str], action: Callable[[str], str | None]) -> int:
    """Do `action` for every name; print what it returns; 1 when any failed, each told on stderr."""
    from corten.output import escape, out, sentence

    failed = False
    for name in names:
        try:
            text = action(name)
        except CortenError as exc:
            if not isinstance(exc, EngineError):  # the daemon is not there: once is enough
                raise
            err(sentence(exc))
            failed = True
        else:
            if text is not None:
                out(escape(text))
    return int(failed)
