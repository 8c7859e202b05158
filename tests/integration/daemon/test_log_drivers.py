"""syslog and journald get what a container writes: the real receivers of Debian's rsyslog and systemd are asked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from daemon import Cortend, eventually
from support_registry import free_port

pytestmark = pytest.mark.root

_RSYSLOG = """\
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{folder}/log.sock" CreatePath="on")
input(type="imuxsock" Socket="{folder}/5424.sock" CreatePath="on" UseSpecialParser="off")
module(load="imtcp")
input(type="imtcp" port="{port}" address="127.0.0.1")
module(load="imudp")
input(type="imudp" port="{port}" address="127.0.0.1")
template(name="all" type="string" string="%pri% %app-name% %msg%\\n")
*.* action(type="omfile" file="{folder}/all.log" template="all")
"""


class Syslog:
    """A rsyslogd of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "rsyslog.conf").write_text(_RSYSLOG.format(folder=folder, port=self.port))

    def start(self) -> None:
        for name in ("log.sock", "5424.sock"):
            (self.folder / name).unlink(missing_ok=True)
        self.process = subprocess.Popen(
            ["rsyslogd", "-n", "-i", str(self.folder / "pid"), "-f", str(self.folder / "rsyslog.conf")],
            stdin=subprocess.DEVNULL,
        )
        eventually((self.folder / "5424.sock").exists, "rsyslogd listens")

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
            self.process = None

    def lines(self, tag: str) -> list[tuple[int, str]]:
        """(priority, text) of what arrived under the tag."""
        path = self.folder / "all.log"
        if not path.exists():
            return []
        rows = (line.split(" ", 2) for line in path.read_text().splitlines())
        return [(int(row[0]), row[2].strip()) for row in rows if len(row) == 3 and row[1] == tag]


@pytest.fixture
def syslog(tmp_path: Path) -> Iterator[Syslog]:
    if shutil.which("rsyslogd") is None:
        pytest.skip("rsyslogd is not installed")
    server = Syslog(tmp_path)
    server.start()
    yield server
    server.stop()


@dataclass(frozen=True)
class Journal:
    """A journald in a namespace of its own."""

    name: str

    @property
    def socket(self) -> str:
        return f"/run/systemd/journal.{self.name}/socket"

    def entries(self, **fields: str) -> list[dict[str, str]]:
        match = [f"{key}={value}" for key, value in fields.items()]
        done = subprocess.run(
            ["journalctl", f"--namespace={self.name}", "-o", "json", "--no-pager", "-q", *match],
            capture_output=True, check=True, timeout=30,
        )  # fmt: skip
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def journal() -> Iterator[Journal]:
    program = Path("/lib/systemd/systemd-journald")
    if not program.exists():
        pytest.skip("systemd-journald is not installed")
    found = Journal(f"cortentest{os.getpid()}")
    process = subprocess.Popen([program, found.name], stdin=subprocess.DEVNULL)
    try:
        eventually(Path(found.socket).exists, "journald listens")
        yield found
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(Path(found.socket).parent, ignore_errors=True)
        for top in ("/run/log/journal", "/var/log/journal"):
            for folder in Path(top).glob(f"*.{found.name}"):
                shutil.rmtree(folder, ignore_errors=True)


SAYS = "echo to stdout; echo to stderr >&2; printf unfinished"


@pytest.mark.parametrize("kind", ["unix", "unixgram", "udp", "tcp"])
@pytest.mark.parametrize("form", ["", "rfc5424", "rfc5424micro"])
def test_syslog_gets_every_line_with_its_severity(engine: Cortend, syslog: Syslog, kind: str, form: str) -> None:
    # rsyslog reads the newer form on a local socket only where it is told not to expect the old one
    path = f"{kind}://{syslog.folder}/{'5424' if form else 'log'}.sock"
    address = path if kind.startswith("unix") else f"{kind}://127.0.0.1:{syslog.port}"
    tag = f"tag-{kind}-{form}"
    done = engine.corten(
        "run", "--rm", "--net", "none", "--log-driver", "syslog", "--log-opt", f"syslog-address={address}",
        "--log-opt", f"syslog-format={form}", "--log-opt", f"tag={tag}", "--log-opt", "syslog-facility=local3",
        "busybox", "sh", "-c", SAYS,
    )  # fmt: skip
    assert done.stdout == b"to stdout\nunfinished"
    eventually(lambda: len(syslog.lines(tag)) == 3, "three lines have arrived")
    local3 = 19 * 8
    assert sorted(syslog.lines(tag)) == [
        (local3 + 3, "to stderr"), (local3 + 6, "to stdout"), (local3 + 6, "unfinished"),
    ]  # fmt: skip


def test_logs_can_be_read_whatever_the_driver(engine: Cortend, syslog: Syslog) -> None:
    engine.corten(
        "run", "--name", "dual", "--log-driver", "syslog", "--log-opt", f"syslog-address=udp://127.0.0.1:{syslog.port}",
        "busybox", "echo", "hello",
    )  # fmt: skip
    try:
        assert engine.corten("logs", "dual").stdout == b"hello\n"
        assert engine.inspect("dual")["HostConfig"]["LogConfig"]["Type"] == "syslog"
    finally:
        engine.corten("rm", "dual")


def test_a_receiver_that_goes_away_and_a_daemon_that_dies_lose_no_line(
    make_cortend: Callable[..., Cortend], syslog: Syslog
) -> None:
    engine = make_cortend()
    script = "n=0; while [ ! -e /stop ]; do n=$((n+1)); echo line $n; sleep 0.02; done; echo line last"
    engine.corten(
        "run", "-d", "--net", "none", "--name", "talker", "--log-driver", "syslog", "--log-opt", "tag=talker",
        "--log-opt", f"syslog-address=tcp://127.0.0.1:{syslog.port}", "busybox", "sh", "-c", script,
    )  # fmt: skip
    eventually(lambda: len(syslog.lines("talker")) > 3, "lines arrive")
    log = Path(engine.inspect("talker")["LogPath"])
    engine.kill()
    syslog.stop()
    before = len(syslog.lines("talker"))
    size = log.stat().st_size
    eventually(lambda: log.stat().st_size > size + 2000, "the container wrote on")
    syslog.start()
    engine.start()
    eventually(lambda: len(syslog.lines("talker")) > before + 10, "lines arrive again")
    engine.corten("exec", "talker", "touch", "/stop")
    engine.wait("talker")
    eventually(lambda: (30, "line last") in syslog.lines("talker"), "the last line arrived")
    arrived = [int(text.split()[1]) for _, text in syslog.lines("talker") if text != "line last"]
    assert set(range(1, max(arrived) + 1)) == set(arrived)
    assert len(arrived) - len(set(arrived)) <= 500  # at most one batch came twice


def test_a_server_that_is_not_there_refuses_the_start_as_docker_does(engine: Cortend) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    done = engine.corten(
        "run", "--name", "mute", "--log-driver", "syslog", "--log-opt", f"syslog-address={address}", "busybox", "true",
        check=False,
    )  # fmt: skip
    try:
        assert done.returncode == 125
        assert b"failed to initialize logging driver" in done.stderr and address.encode() in done.stderr
    finally:
        engine.corten("rm", "mute")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["syslog-address=ftp://x"], "unsupported scheme"),
        (["syslog-address=tcp://h:port"], "invalid syslog-address"),
        (["syslog-facility=loud"], "invalid syslog facility"),
        (["syslog-format=rfc1"], "Invalid syslog format"),
        (["tag={{.Nope}}"], "unknown field"),
        (["tag={{if .ID}}"], "cannot read"),
        (["labels-regex=("], "invalid labels-regex"),
    ],
)
def test_bad_options_are_refused_at_creation(engine: Cortend, options: list[str], words: str) -> None:
    flags = [word for option in options for word in ("--log-opt", option)]
    done = engine.corten("create", "--log-driver", "syslog", *flags, "busybox", "true", check=False)
    assert done.returncode in (1, 125) and words in done.stderr.decode(), done.stderr


def test_the_journal_has_dockers_fields(make_cortend: Callable[..., Cortend], journal: Journal) -> None:
    engine = make_cortend(f'[logs]\njournal = "{journal.socket}"\n')
    engine.corten(
        "run", "--name", "noted", "--log-driver", "journald", "--log-opt", "tag={{.Name}}/{{.ImageName}}",
        "--label", "my.tier=web", "--log-opt", "labels=my.tier", "busybox", "sh", "-c", SAYS,
    )  # fmt: skip
    eventually(lambda: len(journal.entries(CONTAINER_NAME="noted")) == 3, "the journal has three lines")
    found = {entry["MESSAGE"]: entry for entry in journal.entries(CONTAINER_NAME="noted")}
    assert set(found) == {"to stdout", "to stderr", "unfinished"}
    assert (found["to stdout"]["PRIORITY"], found["to stderr"]["PRIORITY"]) == ("6", "3")
    entry = found["to stdout"]
    identity = engine.inspect("noted")["Id"]
    assert (entry["CONTAINER_ID"], entry["CONTAINER_ID_FULL"]) == (identity[:12], identity)
    assert entry["CONTAINER_TAG"] == entry["SYSLOG_IDENTIFIER"] == "noted/busybox"
    assert entry["MY_TIER"] == "web"
    assert found["unfinished"]["CONTAINER_PARTIAL_MESSAGE"] == "true"
    assert sorted(engine.corten("logs", "noted").stdout.splitlines()) == [b"to stdout", b"unfinished"]
