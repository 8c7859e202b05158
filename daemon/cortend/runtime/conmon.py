"""conmon: one small monitor per container or exec. It holds the terminal or pipes, writes the log and the
exit code.

What its versions 2.1.x do, tried and read from its source:

- `_OCI_SYNCPIPE`: one JSON line `{"data": PID}` when the runtime has made the process, `{"data": -1,
  "message": …}` when not (`--api-version 1`). Its own complaints go to stderr, which is the same pipe here.
- `_OCI_ATTACHPIPE` and `_OCI_STARTPIPE` (exec with `--exec-attach`): a line when the attach socket listens;
  the runtime is called when a byte arrives, so a client is connected before the first output.
- `attach` in the bundle (`--full-attach`; its path may be longer than a socket's address, hence
  /proc/self/fd): SEQPACKET, first byte 2 (stdout) or 3 (stderr); what is sent goes to stdin, at most 32 KiB
  in a packet; a shut-down write side closes stdin unless `--leave-stdin-open`.
- `ctl` in the bundle: a fifo of lines, `1 HEIGHT WIDTH` resizes (up to 1000), `2 0 0` opens the log anew.
- `exit` and `oom` in `--persist-dir`; `oom` also in its working directory, hence the bundle. The exit file
is there before it ends. - `--sync` keeps it from forking once more: its pid is known at once and nobody else
needs to reap it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from corten_shared.errors import Conflict, DeadlineExceeded, Internal
from corten_shared.models.task import ProcessId
from cortend.core.runtime import IO, Exit, Handle
from cortend.linux import process as processes
from cortend.runtime import process
from cortend.runtime import state as states
from cortend.runtime.oci import OciRuntime, failure, last_error
from cortend.runtime.watch import Watcher

CREATE_TIMEOUT = 60.0
"""Seconds until a runtime that does not come back is killed (a fifo as /etc/passwd can hang one)."""

MAX_SIZE = 1000
"""Rows or columns that conmon takes."""


class Spawned(NamedTuple):
    """A process under a new conmon, and the attach socket if one was asked for."""

    handle: Handle
    attached: socket.socket | None


class Launch(NamedTuple):
    """What conmon shall run: the bundle's `create`, or with `exec_spec` (a path) an `exec`."""

    id: str
    directory: Path
    runtime: OciRuntime
    io: IO
    exec_spec: Path | None = None
    attach: bool = False

    def argv(self, conmon: str) -> list[str]:
        """conmon's command line."""
        directory, io = str(self.directory), self.io
        args = [
            conmon, "--api-version", "1", "--sync", "--cid", self.id, "--cuuid", self.id, "--name", self.id,
            "--runtime", self.runtime.path, "--bundle", directory, "--full-attach", "--persist-dir", directory,
            "--container-pidfile", f"{directory}/pid", "--no-sync-log",
            "--log-path", f"k8s-file:{io.log_path}" if io.log_path else "none",
        ]  # fmt: skip
        for arg in self.runtime.global_args(self.directory / "runtime.log"):
            args += ["--runtime-arg", arg]
        if io.terminal:
            args.append("--terminal")
        if io.stdin:
            args.append("--stdin")
        if io.stdin and (io.terminal or not io.stdin_once):
            args.append("--leave-stdin-open")
        if self.exec_spec:
            args += ["--exec", "--exec-process-spec", str(self.exec_spec)]
        if self.attach:
            args.append("--exec-attach")
        return args


class Conmon:
    """Starts conmons of one program."""

    def __init__(self, path: str, watcher: Watcher) -> None:
        self._path = path
        self._watcher = watcher

    async def launch(self, launch: Launch) -> Spawned:
        """Have the process made; when it cannot be, or the caller is cancelled, its conmon is gone too.
        Raises the runtime's error."""
        verb = "exec" if launch.exec_spec else "create"
        attached: socket.socket | None = None
        async with _pipes(3 if launch.attach else 1) as pipes:
            monitor = self._spawn(launch, pipes)
            ended = self._watcher.add(monitor)
            try:
                async with asyncio.timeout(CREATE_TIMEOUT):
                    if launch.attach:
                        os.write(pipes[2].write, b"1")
                        listening, _ = await _answer(pipes[1].read)
                        if listening == 0:
                            attached = connect(launch.directory)
                        os.write(pipes[2].write, b"1")
                        pipes[2].close_write()
                    pid, message = await _answer(pipes[0].read)
                if pid <= 0:
                    log = launch.directory / "runtime.log"
                    sentence = last_error(log.read_text(errors="replace")) if log.exists() else ""
                    raise failure(verb, launch.runtime.name, sentence or last_error(message))
            except BaseException as error:
                if attached:
                    attached.close()
                with suppress(ProcessLookupError):
                    os.kill(monitor.pid, signal.SIGKILL)
                await asyncio.shield(ended)
                if isinstance(error, TimeoutError):
                    raise DeadlineExceeded(
                        f"OCI runtime {verb} failed: {launch.runtime.name} did not come back in {CREATE_TIMEOUT:g} s"
                    ) from error
                raise
        start = processes.start_time(pid)
        # Ended already: no process will ever match, which is what is_alive shall say.
        return Spawned(Handle(monitor, ProcessId(pid=pid, start=start or 0)), attached)

    def _spawn(self, launch: Launch, pipes: Sequence[_Pipe]) -> ProcessId:
        env = dict(process.ENVIRONMENT)
        fds = [pipes[0].write]
        env["_OCI_SYNCPIPE"] = str(pipes[0].write)
        if launch.attach:
            env["_OCI_ATTACHPIPE"], env["_OCI_STARTPIPE"] = str(pipes[1].write), str(pipes[2].read)
            fds += [pipes[1].write, pipes[2].read]
        pid = process.spawn_detached(
            launch.argv(self._path), cwd=str(launch.directory), env=env, pass_fds=fds, stderr=pipes[0].write
        )
        pipes[0].close_write()
        if launch.attach:
            pipes[1].close_write()
            pipes[2].close_read()
        start = processes.start_time(pid)
        if start is None:
            raise Internal(f"conmon ({self._path}) vanished")
        monitor = ProcessId(pid=pid, start=start)
        states.save_monitor(launch.directory, monitor)
        return monitor


class _Pipe:
    """A pipe whose ends close once each."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe2(os.O_CLOEXEC)

    def close_read(self) -> None:
        self.read = _close(self.read)

    def close_write(self) -> None:
        self.write = _close(self.write)


def _close(fd: int) -> int:
    if fd >= 0:
        os.close(fd)
    return -1


@asynccontextmanager
async def _pipes(count: int) -> AsyncIterator[list[_Pipe]]:
    pipes: list[_Pipe] = []
    try:
        for _ in range(count):
            pipes.append(_Pipe())
        yield pipes
    finally:
        for pipe in pipes:
            pipe.close_read()
            pipe.close_write()


async def _answer(fd: int) -> tuple[int, str]:
    """conmon's first JSON line as (data, message); (-1, what it wrote otherwise) when it ended without
    one."""
    text = b""
    os.set_blocking(fd, False)
    while True:
        await _readable(fd)
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            continue
        text += data
        for line in text.split(b"\n"):
            if (found := _parse(line)) is not None:
                return found
        if not data or len(text) > 1 << 20:
            return -1, text.decode("utf-8", "replace")


def _parse(line: bytes) -> tuple[int, str] | None:
    if not line.startswith(b"{"):
        return None
    try:
        # strict=False: conmon leaves some control characters of a message as they are.
        answer = json.loads(line.decode("utf-8", "replace"), strict=False)
        return int(answer["data"]), str(answer.get("message", ""))
    except (ValueError, KeyError, TypeError):
        return None


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _set, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def connect(directory: Path) -> socket.socket:
    """The attach socket of the process whose files are in `directory`; raises Conflict when nobody
    listens."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sock.connect(f"/proc/self/fd/{fd}/attach")
        finally:
            os.close(fd)
    except OSError as error:
        sock.close()
        raise Conflict(f"cannot attach to {directory.name}: it is not running", subject=directory.name) from error
    return sock


def control(directory: Path, line: str) -> None:
    """Write a line to conmon's control fifo; raises Conflict when nobody reads it."""
    try:
        fd = os.open(directory / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Conflict(f"{directory.name} is not running", subject=directory.name) from error
    try:
        os.write(fd, line.encode())
    except BlockingIOError:
        # The fifo is full of lines that conmon has not read: for sizes the next one will do.
        pass
    finally:
        os.close(fd)


def read_exit(directory: Path) -> Exit | None:
    """What conmon wrote down; None if nothing (it was killed)."""
    path = directory / "exit"
    try:
        code = int(path.read_text())
        finished = path.stat().st_mtime_ns
    except (OSError, ValueError):
        return None
    return Exit(code if code >= 0 else 255, finished, (directory / "oom").exists())
