"""What a restarted daemon must know of a task or exec that still runs: one small JSON file beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from corten_shared.models.task import ProcessId
from cortend.core.runtime import Handle

NAME = "task.json"
MONITOR = "monitor"


class TaskState(NamedTuple):
    """How a process was made: by which runtime, under which conmon, in which cgroup, with which stdin."""

    runtime: str
    handle: Handle
    cgroup: str
    terminal: bool
    stdin: bool
    stdin_once: bool

    @property
    def closes_stdin(self) -> bool:
        """Whether conmon closes stdin when its client's input ends (a terminal has ^D instead)."""
        return self.stdin and self.stdin_once and not self.terminal


def save(directory: Path, state: TaskState) -> None:
    """Write the file whole or not at all (it is on a tmpfs: a crash of the machine takes the task with
    it)."""
    monitor, process = state.handle
    text = json.dumps(
        {
            "runtime": state.runtime,
            "monitor": [monitor.pid, monitor.start],
            "process": [process.pid, process.start],
            "cgroup": state.cgroup,
            "terminal": state.terminal,
            "stdin": state.stdin,
            "stdin_once": state.stdin_once,
        }
    )
    temporary = directory / f".{NAME}"
    temporary.write_text(text)
    temporary.rename(directory / NAME)


def save_monitor(directory: Path, monitor: ProcessId) -> None:
    """Write down a conmon as soon as it runs: a crash before `save` must not leave one that nobody knows."""
    (directory / MONITOR).write_text(f"{monitor.pid} {monitor.start}")


def load_monitor(directory: Path) -> ProcessId | None:
    """The conmon that was started for the process in `directory`."""
    try:
        pid, start = (directory / MONITOR).read_text().split()
        return ProcessId(pid=int(pid), start=int(start))
    except (OSError, ValueError):
        return None


def load(directory: Path) -> TaskState | None:
    """The file's content; None where there is none (never created, or cut off by a crash)."""
    try:
        data = json.loads((directory / NAME).read_text())
        monitor, process = (ProcessId(pid=pid, start=start) for pid, start in (data["monitor"], data["process"]))
        return TaskState(
            data["runtime"], Handle(monitor, process), data["cgroup"], data["terminal"], data["stdin"],
            data["stdin_once"],
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return None
