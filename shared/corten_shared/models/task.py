"""Tasks: a container's process, while it runs and after it ended."""

from __future__ import annotations

from enum import StrEnum

from corten_shared.models.base import Record
from corten_shared.times import Timestamp


class TaskStatus(StrEnum):
    """What a task is doing. `starting` is an intent: the runtime may or may not know it yet."""

    STARTING = "starting"
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class ProcessId(Record):
    """A process that cannot be mistaken for a later one of the same number.

    `start` is field 22 of /proc/PID/stat (clock ticks since boot).
    """

    pid: int
    start: int


class HealthProbe(Record):
    """One run of a health check; exit code -1: it was killed after its timeout, or could not be run."""

    start: Timestamp
    end: Timestamp
    exit_code: int
    output: str = ""


class Health(Record):
    """A container's health: starting, healthy or unhealthy, failures in a row, the last probes."""

    status: str
    failing_streak: int = 0
    log: list[HealthProbe] = []


class TaskRecord(Record):
    """The last or present run of a container's process.

    `exit_code` is None while it runs; 128+n where signal n ended it; 255 where nobody knows
    (`error` says why). `boot_id` tells runs of an earlier boot from those of this one.
    `held`: it is paused for the daemon's own while (commit), not by a user.
    `health` is empty without a health check.
    `runtime` is the name of the OCI runtime that made it, `pid` its init, `monitor` its conmon.
    """

    container_id: str
    status: TaskStatus
    runtime: str = ""
    pid: ProcessId | None = None
    monitor: ProcessId | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""
    started_at: Timestamp = 0
    finished_at: Timestamp = 0
    restart_count: int = 0
    stop_requested: bool = False
    held: bool = False
    health: str = ""
    boot_id: str = ""


class ExecRecord(Record):
    """A further process in a running container."""

    id: str
    container_id: str
    args: list[str]
    env: list[str] = []
    cwd: str = ""
    user: str = ""
    tty: bool = False
    open_stdin: bool = False
    attach_stdout: bool = True
    attach_stderr: bool = True
    privileged: bool = False
    detach_keys: str = ""
    running: bool = False
    pid: ProcessId | None = None
    exit_code: int | None = None
    created_at: Timestamp = 0


class Process(Record):
    """One process inside a container, as the host sees it."""

    pid: int
    command: str


class Metrics(Record):
    """What a container uses, in docker's units: nanoseconds of CPU, bytes of memory."""

    read_at: Timestamp
    cpu_total_ns: int = 0
    cpu_user_ns: int = 0
    cpu_system_ns: int = 0
    memory_usage: int = 0
    memory_limit: int = 0
    memory_inactive_file: int = 0
    pids: int = 0
    pids_limit: int = 0
    throttled_periods: int = 0
    throttled_ns: int = 0
    oom_kills: int = 0
