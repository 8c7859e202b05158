"""A task's streams on this terminal."""

from __future__ import annotations

import signal
import sys

from corten import tty
from corten.ctl.session import Session, segment
from corten.streams import Demultiplexer, Pump, Raw
from corten_shared.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Any

    from corten.transport import Response

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class Attached:
    """The connection to a task's streams, made before the task starts so that nothing is lost."""

    def __init__(self, session: Session, name: str, *, terminal: bool, stdin: bool, exec_id: str = "") -> None:
        """To the streams of `name`'s task; with `exec_id` to those of that exec, which this starts."""
        self._session, self._terminal, self._stdin = session, terminal, stdin
        self._path = f"/execs/{segment(exec_id)}" if exec_id else f"/tasks/{segment(name)}"
        if exec_id:
            self._reply: Response = session.hijack(f"{self._path}/start")
        else:
            self._reply = session.hijack(f"{self._path}/attach", stdin=str(stdin).lower())

    def pump(self) -> bool:
        """Carry the streams until the output ends; True when the user detached instead."""
        sys.stdout.flush()
        keys = tty.DetachKeys(tty.parse_detach_keys(tty.DEFAULT_DETACH_KEYS)) if self._terminal else None
        output = Raw() if self._terminal else Demultiplexer()
        pump = Pump(self._reply.connection, output, 0 if self._stdin else None, keys)
        with _Raw(self._terminal and self._stdin), _Signals(self._session, self._path, not self._terminal):
            resize = _Resize(self._session, self._path)
            if self._terminal:
                resize.send(*tty.size(1))
                with tty.OnResize(1, resize.send):
                    pump.run()
            else:
                pump.run()
        return pump.detached

    def close(self) -> None:
        """Let go of the connection."""
        self._reply.connection.close()


class _Raw(tty.Raw):
    """The terminal in raw mode, where that is wanted."""

    def __init__(self, wanted: bool) -> None:
        super().__init__(0 if wanted else -1)


class _Resize:
    """Keeps the task's terminal as large as ours."""

    def __init__(self, session: Session, path: str) -> None:
        self._session, self._path = session, path
        self._transport = session.transport.clone()

    def send(self, rows: int, columns: int) -> None:
        """A task that has ended meanwhile is no error."""
        if rows and columns:
            body = {"width": columns, "height": rows}
            try:
                self._session.open("POST", f"{self._path}/resize", body, transport=self._transport).read()
            except CortenError:
                return


class _Signals:
    """Passes this process's signals on to the task inside `with`."""

    def __init__(self, session: Session, path: str, wanted: bool) -> None:
        self._session, self._path, self._wanted = session, path, wanted
        self._transport = session.transport.clone()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        if self._wanted:
            self._before = {number: signal.signal(number, self._caught) for number in _FORWARDED}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        body = {"signal": signal.Signals(number).name}
        try:
            # A transport of its own for each: this may interrupt another one's request.
            transport = self._transport.clone()
            self._session.open("POST", f"{self._path}/kill", body, transport=transport).read()
        except CortenError:
            return
