"""Containers outlive the daemon, however it ends, and what happened meanwhile is told."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import import_busybox
from corten_shared.times import parse_rfc3339
from daemon import Cortend, eventually, running
from holdings import Holdings

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def mortal(busybox_tar: bytes) -> Iterator[Cortend]:
    """One daemon for this module, for tests that end it; each leaves it running and empty."""
    with running() as daemon:
        import_busybox(daemon, busybox_tar)
        yield daemon


@pytest.fixture(autouse=True)
def empty(mortal: Cortend) -> Iterator[None]:
    yield
    if mortal.process is None or mortal.process.poll() is not None:
        mortal.start()
    mortal.remove_all()


END: dict[str, Callable[[Cortend], Any]] = {"SIGTERM": Cortend.stop, "kill -9": Cortend.kill}
ends = pytest.mark.parametrize("end", END.values(), ids=END.keys())


def monitor_of(pid: int) -> int:
    """The conmon of a container's process: its parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@contextmanager
def ended(pid: int) -> Iterator[None]:
    """The block makes the process end; this returns when its conmon, which outlives it by a moment, is gone too."""
    descriptor = os.pidfd_open(monitor_of(pid))
    try:
        yield
        assert select.select([descriptor], [], [], 30)[0], "it does not end"
    finally:
        os.close(descriptor)


def fifo(mortal: Cortend, name: str) -> Path:
    """A named pipe that a container reads from; what it does next is in the test's hands."""
    path = mortal.base / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


@ends
def test_a_container_is_there_after_the_restart_with_its_log_whole(
    mortal: Cortend, end: Callable[[Cortend], Any]
) -> None:
    gate = fifo(mortal, "gate")
    script = "echo before; cat /gate; cat /gate; echo after; exit 7"
    mortal.corten("run", "-d", "--name", "old", "-v", f"{gate}:/gate", "busybox", "sh", "-c", script)
    pid = mortal.inspect("old")["State"]["Pid"]
    end(mortal)
    gate.write_text("while it was down\n")
    mortal.start()
    state = mortal.inspect("old")["State"]
    assert (state["Status"], state["Pid"]) == ("running", pid)
    assert mortal.corten("exec", "old", "echo", "in").stdout == b"in\n"
    gate.write_text("when it was back\n")
    assert mortal.wait("old") == [7]
    expected = b"before\nwhile it was down\nwhen it was back\nafter\n"
    assert mortal.corten("logs", "old").stdout == expected


@ends
def test_an_exit_while_the_daemon_was_down_is_told_with_code_and_time(
    mortal: Cortend, end: Callable[[Cortend], Any]
) -> None:
    gate = fifo(mortal, "gate")
    for name, script in (("by-code", "cat /gate; exit 9"), ("by-signal", "cat /gate; kill -KILL $$")):
        mortal.corten(
            "run", "-d", "--init", "--name", name, "-v", f"{gate}:/gate", "busybox", "sh", "-c", script
        )
        pid = mortal.inspect(name)["State"]["Pid"]
        since = int(time.time())
        end(mortal)
        before = time.time()
        with ended(pid):
            gate.write_text("")
        after = time.time()
        mortal.start()
        state = mortal.inspect(name)["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", {"by-code": 9, "by-signal": 137}[name])
        assert before - 1 <= parse_rfc3339(state["FinishedAt"]) / 1e9 <= after + 1
        event = mortal.await_event(name, "die", since=since)
        assert event["Actor"]["Attributes"]["exitCode"] == str(state["ExitCode"])
        mortal.corten("rm", name)


def test_rm_containers_that_end_meanwhile_are_removed(mortal: Cortend) -> None:
    before = Holdings.of(mortal)
    gate = fifo(mortal, "gate")
    argv = ["run", "-d", "--rm", "--name", "brief", "-v", "/data", "-v", f"{gate}:/gate", "-p", "127.0.0.1::80"]
    mortal.corten(*argv, "busybox", "cat", "/gate")
    pid = mortal.inspect("brief")["State"]["Pid"]
    mortal.kill()
    with ended(pid):
        gate.write_text("")
    mortal.start()
    assert mortal.corten("ps", "-aq").stdout == b""
    Holdings.settle(mortal, before)


def test_restart_policies_at_start(mortal: Cortend) -> None:
    """always and unless-stopped start again, unless the latter was stopped; on-failure and no do not after a stop."""
    for name, policy in (("a1", "always"), ("b1", "unless-stopped"), ("c1", "on-failure"), ("d1", "no"),
                         ("e1", "unless-stopped"), ("f1", "always")):  # fmt: skip
        mortal.corten("run", "-d", "--name", name, "--restart", policy, "busybox", "sleep", "1000")
    mortal.corten("stop", "-t", "0", "e1", "f1")
    before = {name: mortal.inspect(name)["State"]["Pid"] for name in ("a1", "b1", "c1", "d1")}
    mortal.kill()
    for pid in before.values():
        with ended(pid):
            os.kill(pid, signal.SIGKILL)
    since = time.time()
    mortal.start()
    for name in ("a1", "b1", "c1", "f1"):
        mortal.await_event(name, "start", since=since)
    states = {name: mortal.inspect(name)["State"]["Status"] for name in ("a1", "b1", "c1", "d1", "e1", "f1")}
    assert states == {
        "a1": "running", "b1": "running", "c1": "running", "d1": "exited", "e1": "exited", "f1": "running"
    }
    assert mortal.inspect("d1")["State"]["ExitCode"] == 137


def test_a_stop_that_was_asked_for_holds_over_kill_9(mortal: Cortend) -> None:
    """The stop's answer came before the kill: unless-stopped must not start it again."""
    mortal.corten("run", "-d", "--name", "stopped", "--restart", "unless-stopped", "busybox", "sleep", "1000")
    mortal.corten("stop", "-t", "0", "stopped")
    mortal.kill()
    mortal.start()
    assert mortal.inspect("stopped")["State"]["Status"] == "exited"


@pytest.mark.parametrize("down", [False, True], ids=["running", "down"])
def test_a_killed_conmon_is_noticed(mortal: Cortend, down: bool) -> None:
    before = Holdings.of(mortal)
    mortal.corten("run", "-d", "--name", "orphan", "busybox", "sleep", "1000")
    pid = mortal.inspect("orphan")["State"]["Pid"]
    (monitor,) = Holdings.of(mortal).conmons
    since = int(time.time())
    if down:
        mortal.kill()
    os.kill(monitor, signal.SIGKILL)
    if down:
        mortal.start()
    mortal.await_event("orphan", "die", since=since)
    state = mortal.inspect("orphan")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 255)
    assert "conmon" in state["Error"]
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "its process is not left without a keeper")
    mortal.corten("rm", "orphan")
    Holdings.settle(mortal, before)


def test_ports_and_addresses_hold_over_restarts(mortal: Cortend) -> None:
    mortal.corten(
        "run", "-d", "--name", "web", "-p", "127.0.0.1::80", "busybox",
        "sh", "-c", "mkdir /w; echo served > /w/index.html; httpd -f -h /w",
    )  # fmt: skip
    where = mortal.corten("port", "web", "80").stdout.decode().strip()
    mortal.kill()
    fetch = ["curl", "-s", "--noproxy", "*", "--retry", "20", "--retry-connrefused", f"http://{where}/"]
    assert subprocess.run(fetch, capture_output=True).stdout == b"served\n"  # the kernel forwards without us
    mortal.start()
    assert mortal.corten("port", "web", "80").stdout.decode().strip() == where
    assert subprocess.run(fetch, capture_output=True).stdout == b"served\n"
    again = mortal.corten("run", "-d", "--name", "new", "busybox", "sleep", "1000")
    assert again.returncode == 0
    addresses = [mortal.inspect(name)["NetworkSettings"]["IPAddress"] for name in ("web", "new")]
    assert len(set(addresses)) == 2


def test_a_paused_container_stays_paused(mortal: Cortend) -> None:
    mortal.corten("run", "-d", "--name", "frozen", "busybox", "sleep", "1000")
    mortal.corten("pause", "frozen")
    mortal.kill()
    mortal.start()
    assert mortal.inspect("frozen")["State"]["Paused"]
    mortal.corten("unpause", "frozen")
    assert mortal.corten("exec", "frozen", "echo", "thawed").stdout == b"thawed\n"


def test_a_new_attach_after_the_restart_reaches_the_process(mortal: Cortend) -> None:
    mortal.corten("run", "-d", "-i", "--name", "cat", "busybox", "cat")
    mortal.kill()
    mortal.start()
    client = mortal.popen("attach", "cat")
    assert client.stdin is not None and client.stdout is not None
    client.stdin.write(b"hello again\n")
    client.stdin.flush()
    assert client.stdout.readline() == b"hello again\n"
    client.kill()
    client.communicate()
    assert mortal.inspect("cat")["State"]["Running"]
