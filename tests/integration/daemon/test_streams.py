"""Attach, logs and exec through real clients: nothing is lost, nobody waits for somebody else."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from compat.terminal import Terminal
from corten.transport import Response
from daemon import BIN, Cortend

pytestmark = pytest.mark.root


@pytest.fixture(params=["corten", "docker"])
def cli(request: pytest.FixtureRequest, engine: Cortend) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Both command lines, one after the other."""
    if request.param == "docker" and shutil.which("docker") is None:
        pytest.skip("the docker CLI is not installed")
    run: Callable[..., subprocess.CompletedProcess[bytes]] = getattr(engine, request.param)
    return run


@pytest.fixture
def terminal(engine: Cortend) -> Iterator[Callable[..., Terminal]]:
    """Runs `corten` commands on a terminal."""
    with ExitStack() as stack:

        def run(*args: str, rows: int = 24, columns: int = 80) -> Terminal:
            argv = [str(BIN / "corten"), "-H", engine.host, *args]
            return stack.enter_context(closing(Terminal(argv, {"TERM": "dumb"}, rows=rows, columns=columns)))

        yield run


def attached(engine: Cortend, name: str, **query: object) -> Response:
    """A connection to a container's streams, as the Engine API has it."""
    response = engine.api().hijack(
        "POST", f"/containers/{name}/attach", query={"stream": True, "stdout": True, "stderr": True, **query}
    )
    assert response.status == 101
    return response


# -- first and last bytes ---------------------------------------------------------------------------------------------


def test_output_of_the_first_millisecond_is_never_lost(engine: Cortend) -> None:
    """Attach goes before start: what a process says at once, and ends, arrives whole, every time."""
    with engine.api() as api:
        for number in range(50):
            body = {"Image": "busybox", "Cmd": ["echo", f"said {number}"], "HostConfig": {"NetworkMode": "none"}}
            made = api.request("POST", "/containers/create", body=body).json()["Id"]
            stream = attached(engine, made)
            assert api.request("POST", f"/containers/{made}/start").status == 204
            said = b"".join(iter(lambda: stream.connection.take(65536), b""))  # noqa: B023
            assert said[8:] == f"said {number}\n".encode()
            assert said[:8] == bytes([1, 0, 0, 0, 0, 0, 0, len(said) - 8])
            stream.close()
            assert api.request("DELETE", f"/containers/{made}", query={"force": True}).status == 204


def test_exec_output_of_the_first_millisecond_is_never_lost(engine: Cortend) -> None:
    engine.corten("run", "-d", "--name", "host", "busybox", "sleep", "1000")
    with engine.api() as api:
        for number in range(30):
            body = {"Cmd": ["echo", f"said {number}"], "AttachStdout": True, "AttachStderr": True}
            made = api.request("POST", "/containers/host/exec", body=body).json()["Id"]
            stream = engine.api().hijack("POST", f"/exec/{made}/start", body={"Detach": False, "Tty": False})
            said = b"".join(iter(lambda: stream.connection.take(65536), b""))  # noqa: B023
            assert said[8:] == f"said {number}\n".encode()
            stream.close()
            assert api.request("GET", f"/exec/{made}/json").json()["ExitCode"] == 0


@pytest.mark.parametrize("size", [1, 65536, 5_000_001])
def test_stdin_goes_in_whole_and_ends(cli: Callable[..., Any], size: int) -> None:
    data = os.urandom(size)
    assert cli("run", "--rm", "-i", "busybox", "cat", input=data).stdout == data


def test_stdin_of_an_exec_goes_in_whole_and_ends(cli: Callable[..., Any], engine: Cortend) -> None:
    engine.corten("run", "-d", "--name", "host", "busybox", "sleep", "1000")
    data = os.urandom(3_000_001)
    assert cli("exec", "-i", "host", "cat", input=data).stdout == data
    said = cli("exec", "-i", "host", "sh", "-c", "cat >/dev/null; echo after the end", input=b"x" * 100_000).stdout
    assert said == b"after the end\n"


def test_both_streams_stay_apart_to_the_last_byte(cli: Callable[..., Any]) -> None:
    script = "seq 1 20000; seq 20001 40000 >&2"
    done = cli("run", "--rm", "busybox", "sh", "-c", script)
    assert done.stdout == b"".join(b"%d\n" % n for n in range(1, 20001))
    assert done.stderr == b"".join(b"%d\n" % n for n in range(20001, 40001))


# -- logs -------------------------------------------------------------------------------------------------------------


def test_logs_hold_what_was_said_by_stream_line_and_time(engine: Cortend) -> None:
    script = "echo one; sleep 0.05; echo two >&2; printf 'no end'"  # apart, so that the times differ
    engine.corten("run", "--name", "talker", "busybox", "sh", "-c", script)
    done = engine.corten("logs", "talker")
    assert (done.stdout, done.stderr) == (b"one\nno end", b"two\n")
    assert engine.corten("logs", "--tail", "1", "talker").stdout == b"no end"
    stamp = engine.corten("logs", "-t", "--tail", "3", "talker").stdout.split()[0].decode()
    assert engine.corten("logs", "--until", stamp, "talker").stdout == b"one\n"
    assert engine.corten("logs", "--since", stamp, "talker").stdout == b"one\nno end"
    later = f"{time.time():.9f}"
    engine.corten("start", "-a", "talker")
    assert engine.corten("logs", "--since", later, "talker").stdout == b"one\nno end"
    assert engine.corten("logs", "talker").stdout == b"one\nno endone\nno end"


def test_followed_logs_miss_nothing_and_end_with_the_container(engine: Cortend) -> None:
    """Followers that come at any moment, with and without a tail, see every line from theirs on, once."""
    script = "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done"
    engine.corten("create", "--name", "counter", "busybox", "sh", "-c", script)
    engine.corten("start", "counter")
    followers = [engine.popen("logs", "-f", *tail, "counter") for tail in ((), ("--tail", "1"), ("--tail", "0"))]
    outputs = [follower.communicate(timeout=60)[0].split() for follower in followers]
    assert outputs[0] == [b"%d" % n for n in range(3000)]
    for output in outputs[1:]:
        assert output == [b"%d" % n for n in range(3000 - len(output), 3000)]


def test_a_follower_of_a_container_that_is_removed_ends(engine: Cortend) -> None:
    engine.corten("run", "-d", "--name", "doomed", "busybox", "sh", "-c", "echo here; sleep 1000")
    follower = engine.popen("logs", "-f", "doomed")
    assert follower.stdout is not None and follower.stdout.readline() == b"here\n"
    engine.corten("rm", "-f", "doomed")
    follower.communicate(timeout=30)
    assert follower.returncode == 0


# -- many clients -----------------------------------------------------------------------------------------------------


def test_every_attached_client_sees_the_output(engine: Cortend) -> None:
    engine.corten("run", "-d", "-i", "--name", "cat", "busybox", "cat")
    streams = [attached(engine, "cat") for _ in range(5)]
    writer = attached(engine, "cat", stdin=True)
    writer.connection.send(b"to all\n")
    for stream in [*streams, writer]:
        assert stream.connection.take(8 + 7)[8:] == b"to all\n"
    for stream in streams:
        stream.connection.close()
    writer.connection.send(b"still there\n")
    assert writer.connection.take(100)[8:] == b"still there\n"
    writer.connection.close()


def test_a_client_that_does_not_read_stalls_neither_the_container_nor_others(engine: Cortend) -> None:
    script = "cat >/dev/null; dd if=/dev/zero bs=1M count=48 2>/dev/null | tr '\\0' 'x'; echo; echo end"
    engine.corten("create", "-i", "--name", "loud", "busybox", "sh", "-c", script)
    lazy = attached(engine, "loud")
    reader = engine.popen("start", "-a", "-i", "loud")
    assert reader.stdin is not None
    out, _ = reader.communicate(b"go\n", timeout=100)
    assert reader.returncode == 0
    assert len(out) == (48 << 20) + 5 and out.endswith(b"x\nend\n")
    assert engine.wait("loud") == [0]
    engine.corten("version")
    lazy.connection.close()


def test_clients_that_vanish_leave_the_container_alone(engine: Cortend) -> None:
    engine.corten("run", "-d", "-i", "--name", "cat", "busybox", "cat")
    for _ in range(3):
        client = engine.popen("attach", "--sig-proxy=false", "cat")
        assert client.stdin is not None and client.stdout is not None
        client.stdin.write(b"hello\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"hello\n"
        client.kill()
        client.communicate()
    assert engine.inspect("cat")["State"]["Running"]


# -- terminals --------------------------------------------------------------------------------------------------------


def test_a_terminal_has_the_clients_size_and_follows_it(engine: Cortend, terminal: Callable[..., Terminal]) -> None:
    session = terminal("run", "-it", "--name", "tty", "busybox", "sh", rows=33, columns=99)
    session.expect(b"#")
    session.send(b"stty size; echo e''nd\n")
    assert b"33 99" in session.expect(b"end\r\n")
    with engine.api() as api:
        assert api.request("POST", "/containers/tty/resize", query={"h": 11, "w": 22}).status == 200
    session.send(b"while ! stty size | grep -q '11 22'; do :; done; echo re''sized\n")
    session.expect(b"resized\r\n")
    session.send(b"exit 3\n")
    assert session.wait() == 3


def test_the_interrupt_key_reaches_the_process(terminal: Callable[..., Terminal]) -> None:
    script = "trap 'echo caught; exit 5' INT; echo up; while :; do sleep 0.05; done"
    session = terminal("run", "--rm", "-it", "busybox", "sh", "-c", script)
    session.expect(b"up\r\n")
    session.send(b"\x03")
    session.expect(b"caught\r\n")
    assert session.wait() == 5


def test_detach_keys_leave_it_running(engine: Cortend, terminal: Callable[..., Terminal]) -> None:
    session = terminal("run", "-it", "--name", "left", "--detach-keys", "ctrl-x,x", "busybox", "sh")
    session.expect(b"#")
    session.send(b"\x18x")
    assert session.wait() == 0
    assert engine.inspect("left")["State"]["Running"]
    inside = terminal("exec", "-it", "left", "sh")
    inside.expect(b"#")
    inside.send(b"\x10\x11")
    assert inside.wait() in (0, 1)  # docker: "Error: read escape sequence", exit code 1


def test_an_exec_on_a_terminal_has_its_size_and_code(engine: Cortend, terminal: Callable[..., Terminal]) -> None:
    engine.corten("run", "-d", "--name", "host", "busybox", "sleep", "1000")
    session = terminal("exec", "-it", "host", "sh", rows=21, columns=42)
    session.expect(b"#")
    session.send(b"while ! stty size | grep -q '21 42'; do :; done; echo sized; exit 4\n")
    session.expect(b"sized\r\n")
    assert session.wait() == 4


# -- exec -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["host", "sh", "-c", "exit 9"], 9),
        (["host", "sh", "-c", "kill -KILL $$"], 137),
        (["host", "no-such-program"], 127),
        (["host", "/etc/passwd"], 126),
        (["-w", "/no/such/dir", "host", "true"], 127),
        (["-u", "stranger", "host", "true"], 1),
        (["nobody-there", "true"], 1),
    ],
)
def test_exec_codes(cli: Callable[..., Any], engine: Cortend, args: list[str], code: int) -> None:
    engine.corten("run", "-d", "--name", "host", "busybox", "sleep", "1000")
    done = cli("exec", *args, check=False)
    assert done.returncode == code, done


def test_an_exec_ends_with_its_container(engine: Cortend) -> None:
    engine.corten("run", "-d", "--name", "host", "busybox", "sleep", "1000")
    inside = engine.popen("exec", "host", "sh", "-c", "echo in; sleep 1000")
    assert inside.stdout is not None and inside.stdout.readline() == b"in\n"
    engine.corten("kill", "host")
    inside.communicate(timeout=30)
    assert inside.returncode == 137


def test_execs_side_by_side_do_not_mix(engine: Cortend) -> None:
    engine.corten("run", "-d", "--name", "host", "busybox", "sleep", "1000")
    running = [engine.popen("exec", "-i", "host", "sh", "-c", f"cat; exit {number}") for number in range(8)]
    for number, client in enumerate(running):
        out, _ = client.communicate(b"%d\n" % number * 1000, timeout=60)
        assert (client.returncode, out) == (number, b"%d\n" % number * 1000)
