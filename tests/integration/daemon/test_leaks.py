"""Nothing stays behind: what the daemon holds of the machine is counted before and after."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from daemon import Cortend
from holdings import Holdings

pytestmark = pytest.mark.root


@pytest.fixture
def before(engine: Cortend) -> Holdings:
    """What the daemon holds when it has done everything once: pools of threads and connections are filled."""
    engine.corten("run", "--rm", "-p", "127.0.0.1::80", "-v", "/data", "busybox", "true")
    engine.remove_all()
    return Holdings.when_idle(engine)


def test_after_thirty_containers(engine: Cortend, before: Holdings) -> None:
    def run(number: int) -> bytes:
        argv = ["run", "--rm", "-p", "127.0.0.1::80", "-v", "/data", "--tmpfs", "/scratch", "busybox"]
        return engine.corten(*argv, "echo", str(number)).stdout

    with ThreadPoolExecutor(3) as pool:
        outputs = list(pool.map(run, range(30)))
    assert outputs == [f"{number}\n".encode() for number in range(30)]
    assert engine.corten("ps", "-aq").stdout == b""
    Holdings.settle(engine, before)


def test_after_thirty_execs(engine: Cortend) -> None:
    engine.corten("run", "-d", "--name", "host", "busybox", "sleep", "1000")
    engine.corten("exec", "host", "true")
    before = Holdings.of(engine)

    def run(number: int) -> int:
        return engine.corten("exec", "host", "sh", "-c", f"exit {number}", check=False).returncode

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(run, range(30))) == list(range(30))
    for _ in range(3):
        assert engine.corten("exec", "host", "no-such-program", check=False).returncode == 127
    Holdings.settle(engine, before)
    assert b"sleep 1000" in engine.corten("top", "host").stdout


@pytest.mark.parametrize(
    "flags",
    [
        ["busybox", "no-such-program"],
        ["busybox", "/etc/passwd"],
        ["-u", "stranger", "busybox", "true"],
        ["-w", "/etc/passwd", "busybox", "true"],
        ["--device", "/dev/missing", "busybox", "true"],
        ["--sysctl", "kernel.panic=1", "busybox", "true"],
        ["--network", "container:nobody", "busybox", "true"],
        ["-v", "/data", "-p", "127.0.0.1::80", "busybox", "no-such-program"],
        ["--tmpfs", "/etc/passwd", "busybox", "true"],
    ],
    ids=lambda flags: flags[0] + "=" + flags[1],
)
def test_after_a_failed_start(engine: Cortend, before: Holdings, flags: list[str]) -> None:
    done = engine.corten("run", "--rm", *flags, check=False)
    assert done.returncode in (125, 126, 127)
    assert engine.corten("ps", "-aq").stdout == b""
    Holdings.settle(engine, before)
    # Without --rm the container stays, with why it did not start, and starts no better; rm takes it away.
    engine.corten("create", "--name", "failed", *flags)
    for _ in range(2):
        assert engine.corten("start", "failed", check=False).returncode == 1
    state = engine.inspect("failed")["State"]
    assert state["Status"] in ("created", "exited") and state["Error"] and state["ExitCode"] in (126, 127, 128)
    engine.corten("rm", "-v", "failed")
    Holdings.settle(engine, before)


def test_after_a_stop_start_and_restart(engine: Cortend, before: Holdings) -> None:
    engine.corten("run", "-d", "--name", "again", "-p", "127.0.0.1::80", "busybox", "sleep", "1000")
    for _ in range(3):
        engine.corten("stop", "-t", "0", "again")
        engine.corten("start", "again")
        engine.corten("restart", "-t", "0", "again")
    engine.corten("rm", "-f", "again")
    Holdings.settle(engine, before)
