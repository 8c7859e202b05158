"""Processes of the benchmark: commands that are timed, daemons that are waited for, and how much memory they hold."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

READY_WITHIN = 60.0
LONGEST = 600.0


class BenchError(Exception):
    """A command of an engine failed; the message is its last words."""


def run(argv: Sequence[str], *, check: bool = True, timeout: float = LONGEST) -> str:
    """Run a command to its end; returns its standard output."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise BenchError(_failure(argv, done.returncode, done.stderr or done.stdout))
    return done.stdout


def timed(argv: Sequence[str]) -> float:
    """Seconds from before the fork to the exit of one command that must succeed; its output goes to /dev/null."""
    start = time.perf_counter()
    null = subprocess.DEVNULL
    done = subprocess.run(argv, stdin=null, stdout=null, stderr=subprocess.PIPE, timeout=LONGEST)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise BenchError(_failure(argv, done.returncode, done.stderr.decode(errors="replace")))
    return seconds


def _failure(argv: Sequence[str], code: int, said: str) -> str:
    last = " ".join(line for line in said.splitlines() if line and not line.startswith("Run '"))[-300:]
    return f"{' '.join(argv)[:160]} -> {code}: {last}"


@contextlib.contextmanager
def daemon(argv: Sequence[str], log: Path, ready: Callable[[], bool]) -> Iterator[int]:
    """A daemon in a session of its own, ready when this yields its process id; SIGTERM at the end, and waited for."""
    with log.open("ab") as out:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    try:
        _await(process, ready, log)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchError(f"{process.args!r} does not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)  # foreign daemons: nothing tells


def accepts(path: Path) -> bool:
    """Whether something accepts connections on a unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def rss(pids: Iterable[int]) -> int:
    """Bytes of resident memory of processes, each counted whole (VmRSS in proc(5))."""
    return sum(_kilobytes(Path(f"/proc/{pid}/status"), "VmRSS:") for pid in pids) * 1024


def pss(pids: Iterable[int]) -> int:
    """Bytes of memory of processes, shared pages split among those who share them (smaps_rollup in proc(5))."""
    return sum(_kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") for pid in pids) * 1024


def _kilobytes(path: Path, key: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    return 0


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def naming(words: Iterable[str]) -> list[int]:
    """Processes, this one apart, with one of `words` in an argument: the helpers of containers carry their ids."""
    wanted = [word.encode() for word in words]
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_bytes()
            if int(entry.name) != os.getpid() and any(word in line for word in wanted):
                found.append(int(entry.name))
    return found


def disk(path: Path) -> int:
    """Bytes that a directory takes on its own file system, mounts in it left out."""
    said = subprocess.run(["du", "-sx", "--block-size=1", path], capture_output=True, text=True).stdout
    return int(said.split()[0]) if said else 0
