"""The user's terminal: raw mode that is always given back, its size, and detach keys."""

from __future__ import annotations

# The C module: `signal` wraps it in enums, for 7 ms of every command.
import _signal as signal  # type: ignore[import-not-found]
import os
import termios
import tty

from corten_shared.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import Any

DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"
_FATAL = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


def is_terminal(fd: int) -> bool:
    """Whether `fd` is open and a terminal."""
    try:
        return os.isatty(fd)
    except OSError:
        return False


def size(fd: int) -> tuple[int, int]:
    """(rows, columns) of the terminal on `fd`; zeros when it has none."""
    try:
        columns, rows = os.get_terminal_size(fd)
    except OSError:
        return 0, 0
    return rows, columns


class Raw:
    """The terminal on `fd` in raw mode inside `with`; nothing happens when it is no terminal.

    It is given back on every way out, also when a signal ends the process: then it is restored
    first, and the process dies of that signal as its parent expects.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._saved: list[Any] | None = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Raw:
        if is_terminal(self._fd):
            self._saved = termios.tcgetattr(self._fd)
            for signum in _FATAL:
                if signal.getsignal(signum) in (signal.SIG_DFL, signal.default_int_handler):
                    self._handlers[signum] = signal.signal(signum, self._die)
            self._set()
        return self

    def _set(self) -> None:
        tty.setraw(self._fd, termios.TCSANOW)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)
        self._handlers.clear()

    def restore(self) -> None:
        """The terminal as it was; idempotent."""
        saved, self._saved = self._saved, None
        if saved is not None:
            try:
                termios.tcsetattr(self._fd, termios.TCSADRAIN, saved)
            except termios.error:  # the terminal itself has gone
                return

    def _die(self, signum: int, frame: FrameType | None) -> None:
        self.restore()
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)


class NoEcho(Raw):
    """The terminal on `fd` without echo inside `with`, for a password; given back as `Raw` gives it back."""

    def _set(self) -> None:
        mode = termios.tcgetattr(self._fd)
        mode[3] &= ~termios.ECHO
        termios.tcsetattr(self._fd, termios.TCSAFLUSH, mode)


class OnResize:
    """Calls `callback(rows, columns)` at every SIGWINCH inside `with`, for the terminal on `fd`."""

    def __init__(self, fd: int, callback: Callable[[int, int], None]) -> None:
        self._fd, self._callback = fd, callback
        self._before: Any = None

    def __enter__(self) -> OnResize:
        self._before = signal.signal(signal.SIGWINCH, self._changed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGWINCH, self._before)

    def _changed(self, signum: int, frame: FrameType | None) -> None:
        rows, columns = size(self._fd)
        if rows and columns:
            self._callback(rows, columns)


def parse_detach_keys(text: str) -> bytes:
    """The bytes of `ctrl-p,ctrl-q` or `a,ctrl-x`; raises InvalidArgument for other words."""
    keys = bytearray()
    for word in text.split(",") if text else []:
        if len(word) == 1 and word.isascii():
            keys.append(ord(word))
        elif word.lower() == "del":
            keys.append(127)
        elif len(word) == 6 and word.startswith("ctrl-") and "@" <= word[5].upper() <= "_":
            keys.append(ord(word[5].upper()) & 0x1F)
        else:
            raise InvalidArgument(f"invalid detach keys ({text}): unknown character {word!r}")
    return bytes(keys)


class DetachKeys:
    """Watches typed bytes for the detach sequence, holding back what may be its beginning.

    `feed` returns what goes on to the container; `found` is set once the sequence was typed.
    """

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0
        self.found = False

    def feed(self, data: bytes) -> bytes:
        """`data` without the detach sequence; what follows the sequence is dropped."""
        passed = bytearray()
        for at in range(len(data) if self._keys else 0):
            byte = data[at]
            if byte != self._keys[self._matched]:
                passed += self._keys[: self._matched]
                self._matched = 0
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    self.found = True
                    break
            else:
                passed.append(byte)
        return bytes(passed) if self._keys else data
