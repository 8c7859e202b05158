"""Tasks: containers' processes, from bundle to exit (implements core.runtime.TaskRuntime).

What must survive the daemon is in files (`bundle`, `state`), the kernel knows what is alive, conmon writes
down how it ended; the objects here are only what a live daemon keeps open: watches and stream hubs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal as signals
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from corten_shared import times
from corten_shared.errors import Conflict, Internal, InvalidArgument, NotFound, Unavailable
from corten_shared.models.snapshot import Mount
from corten_shared.models.task import Metrics, Process, ProcessId
from cortend.core.runtime import IO, Attachment, Bundle, Exit, Handle, RuntimeInfo, TaskKey
from cortend.core.workers import Workers
from cortend.linux import process as processes
from cortend.runtime import state as states
from cortend.runtime.attach import Hub
from cortend.runtime.bundle import Bundles
from cortend.runtime.cgroups import Cgroups
from cortend.runtime.conmon import MAX_SIZE, Conmon, Launch, connect, control, read_exit
from cortend.runtime.oci import OciRuntime
from cortend.runtime.probe import probe_all
from cortend.runtime.state import TaskState
from cortend.runtime.watch import Watcher

log = logging.getLogger(__name__)

DEFAULT_RUNTIMES = {"crun": "crun", "runc": "runc"}
"""Candidates in order of preference: name and program."""

_EXITS_KEPT = 256

Where = tuple[TaskKey, str | None]
"""A process: a task's own, or one of its execs."""


class Tasks:
    """Tasks below one state root.

    `runtimes` maps names to programs in order of preference; `default` names one of them (empty: the first
    that works). `cgroup_parent` and `state_root` are the daemon's own, so that several run side by side.
    """

    def __init__(
        self,
        *,
        state_root: Path,
        workers: Workers,
        runtimes: Mapping[str, str] = DEFAULT_RUNTIMES,
        default: str = "",
        conmon: str = "conmon",
        cgroup_parent: str = "/corten",
    ) -> None:
        self._state_root = state_root
        self._workers = workers
        self._candidates = dict(runtimes)
        self._default = default
        self._cgroup_parent = "/" + cgroup_parent.strip("/")
        self._bundles = Bundles(state_root / "bundles")
        self._cgroups = Cgroups.detect()
        self._watcher = Watcher()
        self._conmon = Conmon(shutil.which(conmon) or conmon, self._watcher)
        self._found: list[RuntimeInfo] = []
        self._hubs: dict[Where, Hub] = {}
        self._exits: dict[Where, Exit] = {}

    # --- runtimes ---

    async def probe(self) -> None:
        """Find out which runtimes work here. Raises Unavailable when none does."""
        self._state_root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._found = await probe_all(
            self._candidates, state=self._state_root, cgroups=self._cgroups, parent=self._cgroup_parent
        )
        for info in self._found:
            log.info("runtime %s %s: %s", info.name, info.version, info.reason or "works")

    def runtimes(self) -> list[RuntimeInfo]:
        """What the probe found, the default first."""
        return sorted(self._found, key=lambda info: (info.name != self._default, not info.usable))

    def resolve(self, name: str) -> RuntimeInfo:
        """The runtime called `name`, or the default for an empty one."""
        for info in self.runtimes():
            if info.name == name or (not name and info.usable):
                if not info.usable:
                    raise Unavailable(f"runtime {name} does not work here: {info.reason}")
                return info
        if name:
            raise InvalidArgument(
                f"unknown or invalid runtime name: {name[:60]}",
                hint=f"configured: {', '.join(self._candidates) or 'none'}",
            )
        reasons = "; ".join(f"{info.name}: {info.reason}" for info in self._found)
        raise Unavailable(f"no OCI runtime works here ({reasons or 'none was probed'})", hint="apt-get install runc")

    def _runtime(self, key: TaskKey, name: str) -> OciRuntime:
        info = self.resolve(name)
        return OciRuntime(info.name, info.path, self._state_root / "runtime" / info.name / key.ns)

    def cgroup_path(self, container_id: str, parent: str = "") -> str:
        """Where a container's control group is, for the spec; `parent` as the request names it."""
        parts = parent.split("/")
        if parent and (parts[0] or ".." in parts or "." in parts or "\0" in parent):
            raise InvalidArgument(f"invalid cgroup parent {parent[:80]!r}", hint="an absolute path, as in /batch")
        return f"{parent.rstrip('/') or self._cgroup_parent}/{container_id}"

    # --- making and ending tasks ---

    def bundle(self, key: TaskKey) -> Bundle:
        """Where the task's bundle is."""
        path = self._bundles.path(key)
        return Bundle(path, path / "rootfs")

    async def prepare(self, key: TaskKey, mounts: Sequence[Mount]) -> Bundle:
        """Make the bundle, mount and check its root; what a crash left of the same key is cleared first."""
        if self._bundles.path(key).exists():
            await self.delete(key)
        return await self._workers.run(self._bundles.prepare, key, mounts)

    async def create(self, key: TaskKey, spec: dict[str, Any], io: IO, *, runtime: str = "") -> Handle:
        """Have conmon create the container; its init waits for `start`."""
        program = self._runtime(key, runtime)
        directory = self._bundles.path(key)
        group = spec["linux"]["cgroupsPath"]
        await self._workers.run(_write_config, directory, program.root, spec)
        try:
            spawned = await self._conmon.launch(Launch(key.id, directory, program, io))
        except BaseException:
            await asyncio.shield(self._clear(key, program, group))
            raise
        state = TaskState(program.name, spawned.handle, group, io.terminal, io.stdin, io.stdin_once)
        states.save(directory, state)
        return spawned.handle

    async def start(self, key: TaskKey) -> None:
        """Let the created container's process run."""
        await self._runtime(key, self._state(key).runtime).start(key.id)

    async def delete(self, key: TaskKey, *, runtime: str = "") -> None:
        """End and clear whatever is left of the task; idempotent."""
        directory = self._bundles.path(key)
        state = states.load(directory)
        for hub in [hub for where, hub in self._hubs.items() if where[0] == key]:
            hub.close()
        self._exits = {where: ended for where, ended in self._exits.items() if where[0] != key}
        if not directory.exists() and state is None:
            return
        monitors = _monitors(directory)
        if state is None:
            # Its creation was cut off: the runtime may be at it still, and dies with its conmon.
            for monitor in monitors:
                _signal(monitor, signals.SIGKILL)
        wanted = state.runtime if state else runtime
        names = [wanted] if wanted else [info.name for info in self._found if info.usable]
        group = state.cgroup if state else self._group_of(directory)
        for name in names:
            with contextlib.suppress(Unavailable):
                await self._clear(key, self._runtime(key, name), group)
        for monitor in monitors:
            await self._end_monitor(monitor)
        await self._workers.run(self._bundles.remove, key)

    async def _clear(self, key: TaskKey, program: OciRuntime, group: str) -> None:
        """Processes, runtime state and control group of a task, whatever is there of each."""
        if group and not await self._workers.run(self._cgroups.kill, group):
            log.error("processes of %s/%s do not end", key.ns, key.id)
        await program.delete(key.id)
        if group:
            await self._workers.run(self._cgroups.remove, group)

    @staticmethod
    def _group_of(directory: Path) -> str:
        """The control group of a task whose creation was cut off: its configuration says it."""
        try:
            return str(json.loads((directory / "config.json").read_text())["linux"]["cgroupsPath"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    async def _end_monitor(self, monitor: ProcessId) -> None:
        """conmon ends by itself when its process has; one that does not is killed."""
        ended = self._watcher.add(monitor)
        try:
            async with asyncio.timeout(2):
                await asyncio.shield(ended)
        except TimeoutError:
            _signal(monitor, signals.SIGKILL)
            await asyncio.shield(ended)

    # --- live tasks ---

    def _state(self, key: TaskKey, exec_id: str | None = None) -> TaskState:
        state = states.load(self._directory(key, exec_id))
        if state is None:
            raise NotFound(f"{exec_id or key.id} is not running", subject=exec_id or key.id)
        return state

    def _directory(self, key: TaskKey, exec_id: str | None) -> Path:
        return self._bundles.path(key) if exec_id is None else self._bundles.exec_path(key, exec_id)

    async def kill(self, key: TaskKey, signal: int, *, all: bool = False, exec_id: str | None = None) -> None:
        """Send a signal to init, to every process, or to an exec's."""
        state = self._state(key, exec_id)
        if all:
            sent = await self._workers.run(self._cgroups.signal, state.cgroup, signal) > 0
        else:
            sent = _signal(state.handle.process, signal)
        if not sent:
            raise NotFound(f"container {key.id} is not running", subject=key.id)
        if signal == signals.SIGKILL and self._cgroups.frozen(state.cgroup):
            # A frozen process gets its signals when it thaws.
            await self._runtime(key, state.runtime).resume(key.id)

    async def pause(self, key: TaskKey) -> None:
        """Freeze every process; idempotent."""
        state = self._state(key)
        if not self._cgroups.frozen(state.cgroup):
            await self._runtime(key, state.runtime).pause(key.id)

    async def resume(self, key: TaskKey) -> None:
        """Thaw; idempotent."""
        state = self._state(key)
        if self._cgroups.frozen(state.cgroup):
            await self._runtime(key, state.runtime).resume(key.id)

    async def update(self, key: TaskKey, resources: dict[str, Any]) -> None:
        """Change limits of a live container."""
        await self._runtime(key, self._state(key).runtime).update(key.id, resources, self._bundles.path(key))

    def is_alive(self, process: ProcessId) -> bool:
        """Whether this very process exists and is no zombie."""
        return processes.is_alive(process.pid, process.start)

    async def wait(self, key: TaskKey, handle: Handle) -> Exit:
        """Return when the task's conmon ended, with what it wrote down."""
        await asyncio.shield(self._watcher.add(handle.monitor))
        directory = self._bundles.path(key)
        state = states.load(directory)
        ended = read_exit(directory)
        if ended is None:
            ended = self._exits.get((key, None))
        if ended is None:
            if state:
                await self._workers.run(self._cgroups.kill, state.cgroup)
            _signal(handle.process, signals.SIGKILL)
            ended = Exit(255, times.now(), lost=True)
        if not ended.oom_killed and state and self._cgroups.oom_kills(state.cgroup):
            ended = ended._replace(oom_killed=True)
        self._remember((key, None), ended)
        return ended

    def _remember(self, where: Where, ended: Exit) -> None:
        self._exits[where] = ended
        while len(self._exits) > _EXITS_KEPT:
            del self._exits[next(iter(self._exits))]

    # --- execs ---

    async def exec(
        self, key: TaskKey, exec_id: str, process: dict[str, Any], io: IO, *, attach: bool = False, runtime: str = ""
    ) -> tuple[Handle, Attachment | None]:
        """Run a further process under its own conmon; with `attach` it starts when its streams are connected."""
        state = self._state(key)
        directory = self._bundles.exec_path(key, exec_id)
        if directory.exists():
            raise Conflict(f"exec {exec_id} exists already", subject=exec_id)
        await self._workers.run(_write_process, directory, process)
        program = self._runtime(key, runtime or state.runtime)
        try:
            launch = Launch(key.id, directory, program, io, directory / "process.json", attach)
            spawned = await self._conmon.launch(launch)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        made = TaskState(program.name, spawned.handle, state.cgroup, io.terminal, io.stdin, io.stdin_once)
        states.save(directory, made)
        if spawned.attached is None:
            return spawned.handle, None
        hub = self._add_hub((key, exec_id), spawned.attached, made)
        return spawned.handle, hub.attach(stdin=io.stdin)

    async def wait_exec(self, key: TaskKey, exec_id: str, handle: Handle) -> Exit:
        """As wait, for an exec; its files are removed once the exit is known."""
        await asyncio.shield(self._watcher.add(handle.monitor))
        directory = self._bundles.exec_path(key, exec_id)
        ended = read_exit(directory) or self._exits.get((key, exec_id))
        if ended is None:
            _signal(handle.process, signals.SIGKILL)
            ended = Exit(255, times.now(), lost=True)
        self._remember((key, exec_id), ended)
        await self._workers.run(shutil.rmtree, directory, True)
        return ended

    # --- streams ---

    async def attach(self, key: TaskKey, exec_id: str | None = None, *, stdin: bool = True) -> Attachment:
        """Connect to the streams of a created or running task or exec."""
        hub = self._hubs.get((key, exec_id))
        if hub is None:
            state = self._state(key, exec_id)
            hub = self._add_hub((key, exec_id), connect(self._directory(key, exec_id)), state)
        return hub.attach(stdin=stdin)

    def _add_hub(self, where: Where, sock: socket.socket, state: TaskState) -> Hub:
        def forget() -> None:
            if self._hubs.get(where) is hub:
                del self._hubs[where]

        hub = Hub(sock, closes_stdin=state.closes_stdin, on_close=forget)
        self._hubs[where] = hub
        return hub

    async def resize(self, key: TaskKey, width: int, height: int, exec_id: str | None = None) -> None:
        """Set the terminal's size in characters."""
        if not self._state(key, exec_id).terminal:
            raise Conflict(f"{exec_id or key.id} has no terminal", subject=exec_id or key.id)
        columns, rows = (max(0, min(size, MAX_SIZE)) for size in (width, height))
        control(self._directory(key, exec_id), f"1 {rows} {columns}\n")

    async def reopen_log(self, key: TaskKey) -> None:
        """Have conmon open its log file anew."""
        self._state(key)
        control(self._bundles.path(key), "2 0 0\n")

    # --- figures ---

    async def processes(self, key: TaskKey) -> list[Process]:
        """Every process of the container, as the host sees it."""
        return await self._workers.run(self._cgroups.processes, self._state(key).cgroup)

    async def metrics(self, key: TaskKey) -> Metrics:
        """What it uses now."""
        return await self._workers.run(self._cgroups.metrics, self._state(key).cgroup)

    async def leftovers(self) -> list[TaskKey]:
        """Every task that has a bundle on this host."""
        return await self._workers.run(lambda: list(self._bundles.walk()))

    def close(self) -> None:
        """Let go of every process and stream; they go on without the daemon."""
        for hub in list(self._hubs.values()):
            hub.close()
        self._watcher.close()


def _write_config(directory: Path, root: Path, spec: dict[str, Any]) -> None:
    if not (directory / "rootfs").is_dir():
        raise Internal(f"bundle {directory} was not prepared")
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(spec))


def _write_process(directory: Path, process: dict[str, Any]) -> None:
    directory.mkdir(mode=0o700, parents=True)
    (directory / "process.json").write_text(json.dumps(process))


def _monitors(directory: Path) -> list[ProcessId]:
    """The conmons of a task and its execs, as far as they are written down."""
    found = [directory, *directory.glob("execs/*")]
    return [monitor for path in found if (monitor := states.load_monitor(path))]


def _signal(target: ProcessId, number: int) -> bool:
    """Signal this very process; whether it was there."""
    fd = processes.open_same(target.pid, target.start)
    if fd is None:
        return False
    try:
        processes.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True
