"""The `corten` command as a process: what it imports, prints, and exits with."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest

import corten
from corten.docker.commands import ALIASES, COMMANDS, NOUNS
from unit.client.recorder import Recorder, Request, raw, reply

IDENTIFIER = "c" * 64
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


def run(*words: str, host: str = "unix:///nonexistent/s", stdin: bytes = b"", **environ: str) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "corten", "-H", host, *words],
        input=stdin, capture_output=True, env={**ENVIRON, **environ}, timeout=60,
    )  # fmt: skip


def imported(*words: str, host: str) -> set[str]:
    """Every module that a command line loads."""
    code = (
        "import sys, os\nsys.argv = ['corten'] + sys.argv[1:]\nfrom corten.__main__ import main\n"
        "leave = os._exit\n"
        "os._exit = lambda code: (sys.stderr.write('\\n'.join(sys.modules)), leave(code))\nmain()"
    )
    given = ["-H", host, *words] if host else list(words)
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, *given], capture_output=True, text=True, timeout=60,
        env={**ENVIRON, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )  # fmt: skip
    return set(done.stderr.split("\n"))


HEAVY = {"typer", "click", "rich", "pydantic", "httpx", "asyncio", "http", "ssl", "inspect", "dataclasses"}
SLOW = {"json", "re", "enum", "socket", "signal", "typing", "argparse", "pathlib", "subprocess", "tempfile", "shutil"}


def test_version_imports_nothing() -> None:
    """Its budget is 2.5 times an empty interpreter: not one module of the command line is loaded."""
    found = imported("--version", host="")
    assert "corten" in found
    assert {name for name in found if name.startswith("corten")} == {"corten", "corten.__main__"}
    assert not found & (HEAVY | SLOW)


@pytest.mark.parametrize("words", [("ps",), ("run", "-d", "x"), ("exec", "x", "true"), ("images",), ("rm", "x")])
def test_hot_commands_import_no_slow_module(daemon: Recorder, words: tuple[str, ...]) -> None:
    """The budget, in modules and not in time: each of these costs a command milliseconds."""
    for method in ("GET", "POST", "DELETE"):
        daemon.on(method, "/", reply("200 OK", []))
    found = imported(*words, host=daemon.host)
    assert "corten.transport" in found
    assert not found & (HEAVY | SLOW)


def test_version_line_is_what_tools_parse() -> None:
    done = subprocess.run([sys.executable, "-m", "corten", "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"corten version {corten.__version__}, build release\n"
    assert run("-v").stdout.decode() == done.stdout


def test_version_is_the_packages() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert project["project"]["version"] == corten.__version__


def test_submodules_do_not_load_the_sdk() -> None:
    """`from corten import tty` asks the package first; that must not import httpx."""
    code = "import sys; from corten import tty; assert 'corten.sdk' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
    with pytest.raises(AttributeError):
        corten.nothing  # noqa: B018


@pytest.mark.parametrize("words", [("ps",), ("run", "busybox"), ("exec", "x", "true"), ("pull", "x"), ("rm", "a", "b")])
def test_daemon_down_is_one_line_with_the_command_that_starts_it(words: tuple[str, ...]) -> None:
    done = run(*words)
    line = done.stderr.decode()
    assert line.count("\n") == 1
    assert "cannot connect to cortend at unix:///nonexistent/s; is it running? Start it with `cortend`" in line
    assert done.returncode == (125 if words[0] == "run" else 1)


def test_every_command_has_help_and_its_summary() -> None:
    from corten import usage
    from corten.docker.main import PROGRAM

    for path, entry in [
        *((f"corten {name}", entry) for name, entry in COMMANDS.items()),
        *((f"corten {noun} {name}", entry) for noun, (_, table) in NOUNS.items() for name, entry in table.items()),
    ]:
        command = PROGRAM.load(entry)
        text = usage.command_help(PROGRAM, path, command)
        assert text.startswith(f"Usage:  {path}")
        assert command.summary in text
        assert len({flag.name for flag in command.flags}) == len(command.flags)
    for noun, names in ALIASES.items():
        assert set(names.values()) <= set(NOUNS[noun][1])


def test_help_pages() -> None:
    assert b"Management Commands:" in run().stdout
    assert b"Commands:" in run("container").stdout
    assert run("help", "run").stdout == run("run", "--help").stdout
    assert b"corten container run, corten run" in run("run", "--help").stdout


def test_misspelt_commands_and_flags_are_guessed() -> None:
    assert b"Did you mean this?\n        images" in run("imagse").stderr
    assert b"unknown flag: --detahc (did you mean --detach?)" in run("run", "--detahc", "x").stderr


def fake_container(daemon: Recorder, output: bytes, *, tty: bool = False, code: int = 0) -> list[bytes]:
    """A daemon whose containers print `output` once started, then end; what was typed is returned."""
    started, ended, typed = threading.Event(), threading.Event(), []
    daemon.at_close += [started.set, ended.set]

    def attach(request: Request, sock: socket.socket) -> bool:
        kind = "application/vnd.docker.raw-stream" if tty else MULTIPLEXED
        sock.sendall(f"HTTP/1.1 101 UPGRADED\r\nContent-Type: {kind}\r\nUpgrade: tcp\r\n\r\n".encode())
        started.wait(30)
        if "stdin=1" in request.query:
            typed.append(b"".join(iter(lambda: sock.recv(100), b"")))
        sock.sendall(output)
        ended.set()
        return False

    def start(request: Request, sock: socket.socket) -> bool:
        started.set()
        return bool(reply("204 No Content")(request, sock))

    def wait(request: Request, sock: socket.socket) -> bool:
        body = json.dumps({"StatusCode": code}).encode()
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        ended.wait(30)
        sock.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        return True

    daemon.on("POST", "/containers/create", reply("201 Created", {"Id": IDENTIFIER, "Warnings": ["be\x1bware"]}))
    daemon.on("POST", f"/containers/{IDENTIFIER}/attach", attach)
    daemon.on("POST", f"/containers/{IDENTIFIER}/start", start)
    daemon.on("POST", f"/containers/{IDENTIFIER}/wait", wait)
    daemon.on("POST", f"/containers/{IDENTIFIER}/resize", reply("200 OK"))
    daemon.on("POST", f"/containers/{IDENTIFIER}/kill", reply("204 No Content"))
    return typed


def frame(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


def test_run_keeps_dockers_order_and_the_containers_exit_code(daemon: Recorder) -> None:
    """create, attach, wait, start: no output and no exit can be missed."""
    fake_container(daemon, frame(1, b"out\n") + frame(2, b"err\n"), code=42)
    done = run("run", "--rm", "busybox", host=daemon.host)
    assert done.stdout == b"out\n"
    assert done.stderr == b"WARNING: be\\x1bware\nerr\n"
    assert done.returncode == 42
    paths = [(request.method, request.path.rpartition("/")[2]) for request in daemon.requests]
    assert paths == [("POST", "create"), ("POST", "attach"), ("POST", "wait"), ("POST", "start")]
    assert daemon.sent("POST", f"/containers/{IDENTIFIER}/wait")[0].query == "condition=removed"
    assert daemon.sent("POST", f"/containers/{IDENTIFIER}/attach")[0].query == "stream=1&stderr=1&stdout=1"


def test_run_sends_stdin_and_its_end(daemon: Recorder) -> None:
    typed = fake_container(daemon, frame(1, b"done"))
    assert run("run", "-i", "busybox", host=daemon.host, stdin=b"typed").stdout == b"done"
    assert typed == [b"typed"]


def test_run_detached_prints_the_id_and_starts(daemon: Recorder) -> None:
    fake_container(daemon, b"")
    assert run("run", "-d", "busybox", host=daemon.host).stdout == f"{IDENTIFIER}\n".encode()
    assert [request.path.rpartition("/")[2] for request in daemon.requests] == ["create", "start"]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('exec: "nope": executable file not found in $PATH: unknown', 127),
        ("stat /x: no such file or directory", 127),
        ('exec: "/etc": permission denied', 126),
        ("port is already allocated", 125),
    ],
)
def test_a_failed_start_exits_as_dockers(daemon: Recorder, message: str, code: int) -> None:
    daemon.on("POST", f"/containers/{IDENTIFIER}/start", reply("400 Bad Request", {"message": message}))
    fake_container(daemon, b"")
    done = run("run", "busybox", host=daemon.host)
    assert done.returncode == code
    assert done.stderr.decode().endswith(
        f"corten: Error response from daemon: {message}\n\nRun 'corten run --help' for more information\n"
    )


def test_run_pulls_a_missing_image_and_tries_again(daemon: Recorder) -> None:
    """Progress goes to stderr: stdout is the container's alone."""
    pulled = threading.Event()

    def create(request: Request, sock: socket.socket) -> bool:
        if pulled.is_set():
            return bool(reply("201 Created", {"Id": IDENTIFIER, "Warnings": []})(request, sock))
        return bool(reply("404 Not Found", {"message": "No such image: busybox:latest"})(request, sock))

    def pull(request: Request, sock: socket.socket) -> bool:
        pulled.set()
        lines = [{"status": "Pulling from library/busybox", "id": "latest"}, {"status": "Pull complete", "id": "abc"}]
        return bool(reply("200 OK", b"".join(json.dumps(x).encode() + b"\r\n" for x in lines))(request, sock))

    daemon.on("POST", "/containers/create", create)
    daemon.on("POST", "/images/create", pull)
    fake_container(daemon, frame(1, b"hi\n"))
    done = run("run", "busybox", host=daemon.host)
    assert done.stdout == b"hi\n"
    assert done.stderr.decode().split("\n")[:3] == [
        "Unable to find image 'busybox:latest' locally", "latest: Pulling from library/busybox", "abc: Pull complete",
    ]  # fmt: skip


def test_an_error_inside_a_pull_fails_it(daemon: Recorder) -> None:
    line = json.dumps({"errorDetail": {"message": "toomany\x1brequests"}, "error": "x"}).encode()
    daemon.on("POST", "/images/create", reply("200 OK", line))
    done = run("pull", "-q", "busybox", host=daemon.host)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"toomany\\x1brequests\n")


def test_signals_go_to_the_container(daemon: Recorder) -> None:
    """And do not end the client: the container's exit does."""
    received, ended = threading.Event(), threading.Event()

    def attach(request: Request, sock: socket.socket) -> bool:
        sock.sendall(b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n")
        received.wait(30)
        ended.set()
        return False

    def start(request: Request, sock: socket.socket) -> bool:
        reply("204 No Content")(request, sock)
        os.kill(client.pid, signal.SIGTERM)
        return True

    def kill(request: Request, sock: socket.socket) -> bool:
        received.set()
        return bool(reply("204 No Content")(request, sock))

    daemon.on("POST", f"/containers/{IDENTIFIER}/attach", attach)
    daemon.on("POST", f"/containers/{IDENTIFIER}/start", start)
    daemon.on("POST", f"/containers/{IDENTIFIER}/kill", kill)
    daemon.on("POST", f"/containers/{IDENTIFIER}/wait", reply("200 OK", {"StatusCode": 143}))
    daemon.on("POST", "/containers/create", reply("201 Created", {"Id": IDENTIFIER, "Warnings": []}))
    client = subprocess.Popen([sys.executable, "-m", "corten", "-H", daemon.host, "run", "x"], env=ENVIRON)
    assert client.wait(60) == 143
    assert [request.query for request in daemon.sent("POST", f"/containers/{IDENTIFIER}/kill")] == ["signal=TERM"]


def in_terminal(*words: str, host: str) -> tuple[subprocess.Popen[bytes], int, int]:
    """The client on a pseudo-terminal of 33 rows and 77 columns: process, our end, its end."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (33, 77))
    process = subprocess.Popen(
        [sys.executable, "-m", "corten", "-H", host, *words], env=ENVIRON, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    return process, ours, theirs


def read_until(fd: int, mark: bytes) -> bytes:
    data = b""
    while mark not in data:
        data += os.read(fd, 1000)
    return data


def test_run_it_is_raw_sized_and_restored(daemon: Recorder) -> None:
    """Raw while attached, the container's terminal as large as ours, ours as before at the end."""
    modes: list[int] = []

    def attach(request: Request, sock: socket.socket) -> bool:
        sock.sendall(b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n")
        sock.sendall(b"prompt# ")
        typed = sock.recv(100)
        modes.append(termios.tcgetattr(theirs)[3])
        sock.sendall(b"got " + typed)
        return False

    daemon.on("POST", f"/containers/{IDENTIFIER}/attach", attach)
    daemon.on("POST", f"/containers/{IDENTIFIER}/wait", reply("200 OK", {"StatusCode": 3}))
    fake_container(daemon, b"")
    process, ours, theirs = in_terminal("run", "-it", "x", host=daemon.host)
    before = termios.tcgetattr(theirs)
    read_until(ours, b"prompt# ")
    os.write(ours, b"\x03")  # raw: Ctrl-C is a byte for the container
    read_until(ours, b"got \x03")
    assert process.wait(60) == 3
    assert not modes[0] & (termios.ICANON | termios.ECHO | termios.ISIG)
    assert termios.tcgetattr(theirs) == before
    created = daemon.sent("POST", "/containers/create")[0].json()
    assert created["HostConfig"]["ConsoleSize"] == [33, 77]
    assert daemon.sent("POST", f"/containers/{IDENTIFIER}/resize")[0].query == "h=33&w=77"
    os.close(ours)
    os.close(theirs)


def test_a_new_size_is_passed_on_and_a_fatal_signal_restores_the_terminal(daemon: Recorder) -> None:
    resized, release = threading.Event(), threading.Event()
    daemon.at_close.append(release.set)

    def attach(request: Request, sock: socket.socket) -> bool:
        sock.sendall(b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\nready")
        release.wait(30)
        return False

    def resize(request: Request, sock: socket.socket) -> bool:
        if "w=100" in request.query:
            resized.set()
        return bool(reply("200 OK")(request, sock))

    daemon.on("POST", f"/containers/{IDENTIFIER}/attach", attach)
    daemon.on("POST", f"/containers/{IDENTIFIER}/resize", resize)
    fake_container(daemon, b"")
    process, ours, theirs = in_terminal("run", "-it", "x", host=daemon.host)
    before = termios.tcgetattr(theirs)
    read_until(ours, b"ready")
    termios.tcsetwinsize(theirs, (40, 100))
    process.send_signal(signal.SIGWINCH)
    assert resized.wait(30)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == -signal.SIGTERM
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def test_detach_keys_leave_the_container_running(daemon: Recorder) -> None:
    release = threading.Event()
    daemon.at_close.append(release.set)

    def attach(request: Request, sock: socket.socket) -> bool:
        sock.sendall(b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\nready")
        release.wait(30)
        return False

    daemon.on("POST", f"/containers/{IDENTIFIER}/attach", attach)
    fake_container(daemon, b"")
    process, ours, theirs = in_terminal("run", "-it", "--detach-keys", "a,ctrl-b", "x", host=daemon.host)
    read_until(ours, b"ready")
    os.write(ours, b"a\x02")
    assert process.wait(60) == 0
    os.close(ours)
    os.close(theirs)


def test_exec_runs_and_reads_its_exit_code(daemon: Recorder) -> None:
    daemon.on("POST", "/containers/web/exec", reply("201 Created", {"Id": "e1"}))

    def start(request: Request, sock: socket.socket) -> bool:
        sock.sendall(b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n" + frame(1, b"hi\n"))
        return False

    daemon.on("POST", "/exec/e1/start", start)
    daemon.on("GET", "/exec/e1/json", reply("200 OK", {"ExitCode": 9}))
    done = run("exec", "web", "true", host=daemon.host)
    assert (done.stdout, done.returncode) == (b"hi\n", 9)


CONTAINERS = [
    {
        "Id": IDENTIFIER, "Names": ["/web", "/other/link"], "Image": "busybox", "ImageID": "sha256:" + "a" * 64,
        "Command": "sh -c 'a very long command'", "Created": 0, "State": "running", "Status": "Up 5 minutes",
        "Ports": [
            {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"PrivatePort": 91, "Type": "tcp"}, {"PrivatePort": 90, "Type": "tcp"},
            {"IP": "::", "PrivatePort": 53, "PublicPort": 53, "Type": "udp"},
        ],
        "Labels": {"a": "1", "b": "\x1b[31m"}, "SizeRw": 0,
    },
]  # fmt: skip


def test_ps_is_dockers_table(daemon: Recorder) -> None:
    daemon.on("GET", "/containers/json", reply("200 OK", CONTAINERS))
    header, row = run("ps", host=daemon.host).stdout.decode().splitlines()
    assert header.split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert row.startswith("cccccccccccc   busybox   \"sh -c 'a very long …\"   ")
    assert row.endswith("ago   Up 5 minutes   [::]:53->53/udp, 90-91/tcp, 0.0.0.0:8080->80/tcp   web")
    assert run("ps", "-q", host=daemon.host).stdout == b"cccccccccccc\n"
    assert run("ps", "-q", "--no-trunc", host=daemon.host).stdout == f"{IDENTIFIER}\n".encode()


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("{{.ID}} {{.Names}}", "cccccccccccc web\n"),
        ("table {{.ID}}\\t{{upper .Names}}", "CONTAINER ID   NAMES\ncccccccccccc   WEB\n"),
        ('{{.Label "a"}}', "1\n"),
        ('{{.Label "b"}}', "\\x1b[31m\n"),
        ("{{.Size}}", "0B\n"),
    ],
)
def test_ps_formats(daemon: Recorder, form: str, text: str) -> None:
    daemon.on("GET", "/containers/json", reply("200 OK", CONTAINERS))
    assert run("ps", "--format", form, host=daemon.host).stdout.decode() == text


def test_ps_json_is_an_object_a_line(daemon: Recorder) -> None:
    daemon.on("GET", "/containers/json", reply("200 OK", CONTAINERS))
    row = json.loads(run("ps", "--format", "json", host=daemon.host).stdout)
    assert row["Names"] == "web"
    assert row["Labels"] == "a=1,b=\x1b[31m"


def test_an_unknown_field_is_told_with_those_there_are(daemon: Recorder) -> None:
    daemon.on("GET", "/containers/json", reply("200 OK", CONTAINERS))
    done = run("ps", "--format", "{{.Nmae}}", host=daemon.host)
    assert done.returncode == 1
    assert b'no entry for key "Nmae"' in done.stderr
    assert b"Names" in done.stderr


def test_images_table(daemon: Recorder) -> None:
    entries = [
        {"Id": "sha256:" + "b" * 64, "RepoTags": ["busybox:latest", "localhost:5000/x:1"], "Created": 1,
         "Size": 4261574, "RepoDigests": ["busybox@sha256:" + "d" * 64]},
        {"Id": "sha256:" + "e" * 64, "RepoTags": [], "RepoDigests": [], "Created": 1, "Size": 5},
    ]  # fmt: skip
    daemon.on("GET", "/images/json", reply("200 OK", entries))
    rows = [line.split() for line in run("images", host=daemon.host).stdout.decode().splitlines()]
    assert rows[0] == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert [row[:3] for row in rows[1:]] == [
        ["busybox", "latest", "b" * 12], ["localhost:5000/x", "1", "b" * 12], ["<none>", "<none>", "e" * 12],
    ]  # fmt: skip
    assert rows[1][-1] == "4.26MB"
    assert b"sha256:dddd" in run("images", "--digests", host=daemon.host).stdout


def test_inspect_prints_what_it_found_and_fails_for_the_rest(daemon: Recorder) -> None:
    """Kinds are tried in turn; `[]` and the message when nothing is there."""
    daemon.on("GET", "/images/img/json", reply("200 OK", {"Id": "i", "Text": "\x1b"}))
    done = run("inspect", "img", "none", host=daemon.host)
    assert json.loads(done.stdout) == [{"Id": "i", "Text": "\x1b"}]
    assert b"\x1b" not in done.stdout
    assert (done.returncode, done.stderr) == (1, b"Error: No such object: none\n")
    assert run("inspect", "none", host=daemon.host).stdout == b"[]\n"
    assert run("inspect", "-f", "{{.Id}}", "img", host=daemon.host).stdout == b"i\n"


def test_logs_are_framed_or_raw_as_the_reply_says(daemon: Recorder) -> None:
    """An engine that is too old to say so is asked about the container."""
    framed = frame(2, b"e") + frame(1, b"o")
    daemon.on("GET", "/containers/new/logs", reply("200 OK", framed, f"Content-Type: {MULTIPLEXED}\r\n"))
    done = run("logs", "new", host=daemon.host)
    assert (done.stdout, done.stderr) == (b"o", b"e")
    daemon.on("GET", "/containers/tty/logs", reply("200 OK", b"raw"))
    assert run("logs", "tty", host=daemon.host).stdout == b"raw"


def test_several_names_each_get_their_answer(daemon: Recorder) -> None:
    daemon.on("DELETE", "/containers/a", reply("204 No Content"))
    done = run("rm", "a", "b\x1b", host=daemon.host)
    assert (done.returncode, done.stdout) == (1, b"a\n")
    assert done.stderr.count(b"\n") == 1
    assert b"\x1b" not in done.stderr


def test_a_reader_that_goes_away_ends_it_quietly(daemon: Recorder) -> None:
    daemon.on("GET", "/containers/json", reply("200 OK", CONTAINERS * 2000))
    process = subprocess.Popen(
        [sys.executable, "-m", "corten", "-H", daemon.host, "ps"], env=ENVIRON,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141


def test_a_broken_config_is_named_and_passed_over(daemon: Recorder, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{broken")
    daemon.on("GET", "/containers/json", reply("200 OK", []))
    done = run("ps", host=daemon.host, DOCKER_CONFIG=str(tmp_path))
    assert done.returncode == 0
    assert str(tmp_path / "config.json").encode() in done.stderr


def test_formats_and_credentials_come_from_the_config(daemon: Recorder, tmp_path: Path) -> None:
    """Credentials go to their registry only."""
    config = {"psFormat": "{{.Names}}!", "auths": {"reg.example": {"auth": "dXNlcjpwYXNz"}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    daemon.on("GET", "/containers/json", reply("200 OK", CONTAINERS))
    daemon.on("POST", "/images/create", reply("200 OK", b""))
    assert run("ps", host=daemon.host, DOCKER_CONFIG=str(tmp_path)).stdout == b"web!\n"
    for image in ("reg.example/a", "busybox"):
        run("pull", "-q", image, host=daemon.host, DOCKER_CONFIG=str(tmp_path))
    with_auth, without = daemon.sent("POST", "/images/create")
    import base64

    assert json.loads(base64.urlsafe_b64decode(with_auth.headers["x-registry-auth"])) == {
        "username": "user", "password": "pass", "serveraddress": "reg.example",
    }  # fmt: skip
    assert "x-registry-auth" not in without.headers


def test_save_leaves_no_half_made_file(daemon: Recorder, tmp_path: Path) -> None:
    daemon.on("GET", "/images/get", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"))
    done = run("save", "-o", str(tmp_path / "out.tar"), "x", host=daemon.host)
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_load_streams_its_input(daemon: Recorder, tmp_path: Path) -> None:
    (tmp_path / "in.tar").write_bytes(b"tar")
    daemon.on("POST", "/images/load", reply("200 OK", b'{"stream":"Loaded image: x:1\\n"}\r\n'))
    done = run("load", "-i", str(tmp_path / "in.tar"), host=daemon.host)
    assert done.stdout == b"Loaded image: x:1\n"
    assert b"tar" in daemon.requests[-1].body
