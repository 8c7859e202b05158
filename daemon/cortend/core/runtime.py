"""Running containers: bundles, tasks under conmon and an OCI runtime, and their streams.

cortend is never in a container's data path: conmon, one small process per container or exec,
owns its terminal or pipes, writes its log and keeps its exit code; it outlives the daemon. What
is here makes conmon and the OCI runtime (crun or runc) do something, or reads what they left.

    prepare -> create -> start -> (pause, resume, exec, kill)* -> wait -> delete
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from corten_shared.models.snapshot import Mount
from corten_shared.models.task import Metrics, Process, ProcessId


class RuntimeInfo(NamedTuple):
    """An OCI runtime on this host; `usable` is what the probe found, `reason` why not."""

    name: str
    path: str
    version: str
    usable: bool
    reason: str = ""


class TaskKey(NamedTuple):
    """Which task: a container's namespace and id."""

    ns: str
    id: str


class Bundle(NamedTuple):
    """An OCI bundle directory (`/run/corten/bundles/<ns>/<id>`) whose `rootfs` is mounted."""

    path: Path
    rootfs: Path


class IO(NamedTuple):
    """How conmon connects a process: a terminal or pipes, whether stdin is kept open, whether stdin closes when
    the (first) attached client goes, and its log file (None: output is kept nowhere)."""

    terminal: bool
    stdin: bool
    stdin_once: bool
    log_path: Path | None


class Handle(NamedTuple):
    """The processes of a created task or exec: conmon and the container's init (or the exec'd process)."""

    monitor: ProcessId
    process: ProcessId


class Exit(NamedTuple):
    """How a process ended: its exit code (128+n for signal n), when (ns since the epoch), whether the
    kernel's OOM killer was in it.

    `code` 255 with `lost` set: conmon died before it could write the code down.
    """

    code: int
    finished_at: int
    oom_killed: bool = False
    lost: bool = False


class Chunk(NamedTuple):
    """Output as it was written: stream 1 is stdout, 2 stderr."""

    stream: int
    data: bytes


class Attachment(Protocol):
    """One client's connection to a running process's streams. An async iterator of Chunk; ends
    when the process's output ends.

    A client that reads too slowly is dropped (its iterator raises ResourceExhausted) rather than stalling the
    container or others.
    """

    def __aiter__(self) -> AsyncIterator[Chunk]: ...

    async def write(self, data: bytes) -> None:
        """Write to the process's stdin; waits while it is not read. Raises Conflict when stdin is closed."""
        ...

    async def close_stdin(self) -> None:
        """Tell the process that its input has ended (half-close). Idempotent."""
        ...

    async def close(self) -> None:
        """Detach. Idempotent."""
        ...


class TaskRuntime(Protocol):
    """Tasks on this host. The caller serialises calls on one task; different tasks run side by side.

    Errors of crun and runc come back as taxonomy errors whose message keeps the runtime's own sentence
    (docker's clients match on
    `executable file not found`, `no such file or directory`, `permission denied`).
    """

    def runtimes(self) -> list[RuntimeInfo]:
        """What the probe at start found, in order of preference."""
        ...

    def resolve(self, name: str) -> RuntimeInfo:
        """The runtime called `name`, or the default for an empty one. Raises InvalidArgument in docker's
        words (`unknown or invalid runtime name`)."""
        ...

    async def probe(self) -> None:
        """Find out which runtimes work here: run a tiny container with each (see the architecture on hybrid
        cgroups)."""
        ...

    def bundle(self, key: TaskKey) -> Bundle:
        """Where the task's bundle is, or would be. Pure."""
        ...

    def cgroup_path(self, container_id: str, parent: str = "") -> str:
        """The cgroup of a container, as OCI's `linux.cgroupsPath`; `parent` empty: the configured one. Pure.

        Raises InvalidArgument for a parent that is not an absolute path without `..`.
        """
        ...

    async def prepare(self, key: TaskKey, mounts: Sequence[Mount]) -> Bundle:
        """Make the bundle and mount its rootfs; refuses (InvalidArgument) a root whose /dev, /proc, /sys or /etc is not
        a directory. A left-over bundle of the same key is cleared first."""
        ...

    async def create(self, key: TaskKey, spec: dict[str, Any], io: IO, *, runtime: str = "") -> Handle:
        """Write `config.json` and have conmon create the container; its init waits for `start`. On failure
        nothing of it is left running; the bundle stays until `delete`."""
        ...

    async def start(self, key: TaskKey) -> None:
        """Let the created container's process run."""
        ...

    async def kill(self, key: TaskKey, signal: int, *, all: bool = False, exec_id: str | None = None) -> None:
        """Send a signal to init, to every process, or to an exec's. Raises NotFound when it has ended."""
        ...

    async def pause(self, key: TaskKey) -> None:
        """Freeze every process; idempotent."""
        ...

    async def resume(self, key: TaskKey) -> None:
        """Thaw; idempotent."""
        ...

    async def update(self, key: TaskKey, resources: dict[str, Any]) -> None:
        """Change limits of a live container; `resources` as in OCI linux.resources."""
        ...

    async def wait(self, key: TaskKey, handle: Handle) -> Exit:
        """Return when the task's conmon ended, with what it wrote down. Works for tasks of an
        earlier daemon, also when they have ended
        already; any number of waiters."""
        ...

    def is_alive(self, process: ProcessId) -> bool:
        """Whether this very process (number and start time) exists and is no zombie. Does not block."""
        ...

    async def delete(self, key: TaskKey, *, runtime: str = "") -> None:
        """End and clear whatever is left of the task: processes, cgroup, conmon, runtime state, exit files,
        mounts, bundle. Idempotent."""
        ...

    async def exec(
        self, key: TaskKey, exec_id: str, process: dict[str, Any], io: IO, *, attach: bool = False, runtime: str = ""
    ) -> tuple[Handle, Attachment | None]:
        """Run a further process (`process` as in OCI) under its own conmon; it has started when this returns.

        With `attach` conmon holds the process back until the attachment returned is connected (conmon's
        `--exec-attach`), so that the first byte is not lost. Raises InvalidArgument with the runtime's
        sentence when it cannot be started; then nothing
        of it is left.
        """
        ...

    async def wait_exec(self, key: TaskKey, exec_id: str, handle: Handle) -> Exit:
        """As wait, for an exec; its files are removed once the exit is known."""
        ...

    async def attach(self, key: TaskKey, exec_id: str | None = None, *, stdin: bool = True) -> Attachment:
        """Connect to the streams of a created or running task or exec; made before `start`, it misses nothing."""
        ...

    async def resize(self, key: TaskKey, width: int, height: int, exec_id: str | None = None) -> None:
        """Set the terminal's size in characters. Raises Conflict without a terminal."""
        ...

    async def reopen_log(self, key: TaskKey) -> None:
        """Have conmon open its log file anew, after it was renamed."""
        ...

    async def processes(self, key: TaskKey) -> list[Process]:
        """Every process of the container, from its cgroup, as the host sees it."""
        ...

    async def metrics(self, key: TaskKey) -> Metrics:
        """What it uses now, from cgroup v1, hybrid or v2."""
        ...

    async def leftovers(self) -> list[TaskKey]:
        """Every task that has a bundle on this host, for the sweep at start."""
        ...
