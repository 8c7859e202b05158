"""Processes by pidfd, and who a process id belongs to.

A process id alone may be reused; `(pid, start time)` never is while the machine is up.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from signal import Signals

_STATE, _START_TIME = 0, 19  # fields of /proc/PID/stat after the command name: 3 and 22 in proc(5)


def pidfd_open(pid: int) -> int:
    """A descriptor that becomes readable when `pid` exits; close it. Raises ProcessLookupError."""
    return os.pidfd_open(pid)


def pidfd_send_signal(pidfd: int, number: int | Signals) -> None:
    """Signal exactly the process behind `pidfd`; raises ProcessLookupError when it is gone."""
    signal.pidfd_send_signal(pidfd, number)


def start_time(pid: int) -> int | None:
    """When `pid` started, in clock ticks since boot; None when there is no such process."""
    fields = _stat(pid)
    return int(fields[_START_TIME]) if fields else None


def is_alive(pid: int, started: int | None = None) -> bool:
    """Whether `pid` runs (a zombie does not) and, when `started` is given, is still the same process."""
    fields = _stat(pid) if pid > 0 else None
    if not fields or fields[_STATE] in ("Z", "X", "x"):
        return False
    return started is None or int(fields[_START_TIME]) == started


def open_same(pid: int, started: int) -> int | None:
    """A pidfd of `pid` if it is alive and started at `started`, else None.

    The check comes after the open: the descriptor pins the process, so what was checked is what is held.
    """
    if pid <= 0:
        return None
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if is_alive(pid, started):
        return fd
    os.close(fd)
    return None


def boot_id() -> str:
    """The kernel's id of this boot: start times of another boot mean nothing."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def _stat(pid: int) -> list[str] | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            content = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name is in parentheses and may hold spaces and parentheses itself: cut at the last one.
    return content[content.rfind(b")") + 2 :].decode("ascii").split()
