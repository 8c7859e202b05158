"""What callers ask of the services, and the small answers that are not records."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from corten_shared.models.base import Record
from corten_shared.models.container import ContainerRecord, ContainerSpec

WaitCondition = Literal["not-running", "next-exit", "removed"]


class CreateRequest(Record):
    """A container to make. `spec` is as it was asked, not merged with the image's defaults.

    In `spec`, None for `entrypoint`, `cmd` and `healthcheck` and the empty string for `cwd`, `user` and `stop_signal`
    stand for the image's own; `env` holds the caller's variables; `args` is computed and ignored here.
    An empty `name` asks for a random one. `extensions` is kept as it is.
    """

    image: str
    name: str = ""
    platform: str = ""
    snapshotter: str = ""
    spec: ContainerSpec = ContainerSpec()
    labels: dict[str, str] = {}
    extensions: dict[str, Any] = {}


class Created(NamedTuple):
    """A new container, and what it will not do as asked."""

    record: ContainerRecord
    warnings: list[str]


class WaitResult(NamedTuple):
    """How a container ended: its exit code, and why it could not be known or started (or empty)."""

    exit_code: int
    error: str = ""


class ExecRequest(Record):
    """A further process; empty `cwd` and `user` stand for the container's."""

    args: list[str]
    id: str = ""
    env: list[str] = []
    cwd: str = ""
    user: str = ""
    tty: bool = False
    open_stdin: bool = False
    attach_stdout: bool = True
    attach_stderr: bool = True
    privileged: bool = False
    detach_keys: str = ""


class LogOptions(Record):
    """Which lines of a log: times in ns since the epoch (0: no bound), `tail` lines from the end (None: all)."""

    stdout: bool = True
    stderr: bool = True
    since_ns: int = 0
    until_ns: int = 0
    tail: int | None = None
    follow: bool = False


class LogLine(NamedTuple):
    """A line as it was written: when, to which stream (1 stdout, 2 stderr), its bytes.

    `data` ends with a newline, except for a piece of a line that conmon had to split.
    """

    time_ns: int
    stream: int
    data: bytes
