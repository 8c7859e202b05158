"""The one way in which cortend starts programs: an argument list, a deadline, bounded output, no inherited
descriptors.

Every start is logged (debug) as a line that a person can paste into a shell. Nothing here forks the
interpreter: `subprocess` starts children with vfork, and exits are seen through pidfds instead of a thread
per child.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from corten_shared.errors import DeadlineExceeded, Unavailable

log = logging.getLogger(__name__)

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""What children see: nothing of the daemon's own (NOTIFY_SOCKET and LISTEN_PID would steer them)."""

OUTPUT_LIMIT = 1 << 20


class Result(NamedTuple):
    """How a program ended (negative: by that signal) and the first `limit` bytes that it wrote."""

    code: int
    stdout: bytes
    stderr: bytes


def install_child_watcher() -> None:
    """Have the running loop wait for children by pidfd; from Python 3.12 asyncio does so by itself.
    Idempotent."""
    if sys.version_info < (3, 12):
        current = asyncio.get_child_watcher()
        if not isinstance(current, asyncio.PidfdChildWatcher) or not current.is_active():
            watcher = asyncio.PidfdChildWatcher()
            watcher.attach_loop(asyncio.get_running_loop())
            asyncio.set_child_watcher(watcher)


async def run(
    argv: Sequence[str],
    *,
    timeout: float,
    cwd: str | None = None,
    env: Mapping[str, str] = ENVIRONMENT,
    pass_fds: Sequence[int] = (),
    capture: bool = True,
    limit: int = OUTPUT_LIMIT,
    input: bytes | None = None,
) -> Result:
    """Run a program to its end; it and its children die with the caller's cancellation or after `timeout`
    seconds. `input` is what it may read; it need not.

    Without `capture` output goes nowhere: for programs that leave processes behind which would keep the
    pipes open. Raises DeadlineExceeded, and Unavailable when the program cannot be started; its exit code is
    the caller's to judge.
    """
    install_child_watcher()
    _trace(argv, cwd)
    source = asyncio.subprocess.DEVNULL if input is None else asyncio.subprocess.PIPE
    output = asyncio.subprocess.PIPE if capture else asyncio.subprocess.DEVNULL
    try:
        child = await asyncio.create_subprocess_exec(
            *argv, stdin=source, stdout=output, stderr=output, cwd=cwd, env=dict(env),
            pass_fds=tuple(pass_fds), start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise Unavailable(f"cannot run {argv[0]}: {error.strerror}", hint="is it installed?") from error
    try:
        async with asyncio.timeout(timeout):
            stdout, stderr, _ = await asyncio.gather(
                _read(child.stdout, limit), _read(child.stderr, limit), _write(child.stdin, input)
            )
            return Result(await child.wait(), stdout, stderr)
    except TimeoutError as error:
        if child.returncode is not None:  # what it left behind holds its pipes
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child._transport.close()  # type: ignore[attr-defined]  # nothing public closes the pipes
        raise DeadlineExceeded(f"{argv[0]} did not end within {timeout:g} s") from error
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await asyncio.shield(child.wait())


async def _read(stream: asyncio.StreamReader | None, limit: int) -> bytes:
    """Everything up to `limit` bytes; the rest is read and dropped, so that the writer never blocks."""
    kept = bytearray()
    while stream is not None and (data := await stream.read(65536)):
        kept += data[: limit - len(kept)]
    return bytes(kept)


async def _write(stream: asyncio.StreamWriter | None, data: bytes | None) -> None:
    if stream is not None and data is not None:
        with contextlib.suppress(ConnectionError):
            stream.write(data)
            await stream.drain()
        stream.close()


def spawn_detached(
    argv: Sequence[str], *, cwd: str, env: Mapping[str, str], pass_fds: Sequence[int], stderr: int
) -> int:
    """Start a program that shall outlive the daemon, in its own session; returns its pid.

    It stays our child while we live (`watch.Watcher` reaps it) and is init's afterwards.
    """
    _trace(argv, cwd)
    try:
        child = subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, cwd=cwd,
            env=dict(env), pass_fds=tuple(pass_fds), start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise Unavailable(f"cannot run {argv[0]}: {error.strerror}", hint="is it installed?") from error
    # Popen's destructor would complain that the child still runs, which is what we want it to do.
    child.returncode = 0
    return child.pid


def _trace(argv: Sequence[str], cwd: str | None) -> None:
    if log.isEnabledFor(logging.DEBUG):
        log.debug("run: %s%s", f"cd {shlex.quote(cwd)} && " if cwd else "", shlex.join(argv))
