"""Logs stay small without losing a line on the way, whoever reads them and whether the daemon is there or not."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon import Cortend, eventually

pytestmark = pytest.mark.root

FLOOD = "seq 1 {} | sed 's/.*/line & of the flood, which is long enough to fill files/'"


def files(engine: Cortend, name: str) -> list[Path]:
    folder = Path(engine.inspect(name)["LogPath"]).parent
    return sorted(folder.iterdir())


def sizes(engine: Cortend, name: str) -> list[int]:
    found = []
    for path in files(engine, name):
        try:
            found.append(path.stat().st_size)
        except FileNotFoundError:
            continue
    return found


def settled(engine: Cortend, name: str, most: int, size: int) -> None:
    """Return once the log is within its limits: the last rotation comes after the end was told."""

    def within() -> bool:
        found = sizes(engine, name)
        return len(found) <= most and max(found) <= size

    eventually(within, f"at most {most} files of at most {size} bytes")


def numbers(output: bytes) -> list[int]:
    return [int(line.split()[1]) for line in output.splitlines()]


@pytest.fixture
def flood(engine: Cortend) -> Iterator[Callable[..., str]]:
    """Starts a container that writes `count` numbered lines; returns its name."""
    made = []

    def start(count: int, *flags: str, after: str = "", before: str = "") -> str:
        name = f"flood{len(made)}"
        made.append(name)
        script = f"{before or ':'}; {FLOOD.format(count)}; {after or ':'}"
        engine.corten("run", "-d", "--net", "none", "--name", name, *flags, "busybox", "sh", "-c", script)
        return name

    yield start
    if made:
        engine.corten("rm", "-f", *made, check=False)


def test_files_have_the_size_that_was_asked_for_and_the_newest_lines_are_kept(
    engine: Cortend, flood: Callable[..., str]
) -> None:
    name = flood(400_000, "--log-opt", "max-size=1m", "--log-opt", "max-file=3")
    assert engine.wait(name) == [0]
    settled(engine, name, 3, 1_000_000)
    assert sum(sizes(engine, name)) > 1_000_000
    kept = numbers(engine.corten("logs", name).stdout)
    assert kept == list(range(kept[0], 400_001))
    assert numbers(engine.corten("logs", "-n", "9000", name).stdout) == list(range(391_001, 400_001))


def test_no_line_is_lost_between_files_for_a_follower_nor_for_who_comes_later(
    engine: Cortend, flood: Callable[..., str]
) -> None:
    name = flood(150_000, "--log-opt", "max-size=200k", "--log-opt", "max-file=999", before="sleep 0.3")
    follower = engine.popen("logs", "-f", name)
    out, err = follower.communicate(timeout=90)
    assert follower.returncode == 0, err
    assert numbers(out) == list(range(1, 150_001))
    assert numbers(engine.corten("logs", name).stdout) == list(range(1, 150_001))
    settled(engine, name, 999, 200_000)
    assert len(sizes(engine, name)) > 10


def test_what_is_written_while_the_daemon_is_down_is_kept_and_brought_to_size(
    make_cortend: Callable[..., Cortend],
) -> None:
    engine = make_cortend('[logs]\nmax_size = 500000\nmax_files = 3\n')
    script = f"while [ ! -e /go ]; do sleep 0.1; done; {FLOOD.format(60_000)}; echo line 0; sleep 1000"
    engine.corten("run", "-d", "--net", "none", "--name", "box", "busybox", "sh", "-c", script)
    log = Path(engine.inspect("box")["LogPath"])
    engine.corten("exec", "box", "sh", "-c", "(sleep 1; touch /go) >/dev/null 2>&1 &")
    engine.kill()
    eventually(lambda: log.stat().st_size > 5_000_000, "the container wrote its lines")
    eventually(lambda: b"line 0\n" in log.read_bytes()[-200:], "the last line is written")
    engine.start()
    settled(engine, "box", 3, 500_000)
    kept = numbers(engine.corten("logs", "box").stdout)
    assert kept == [*range(kept[0], 60_001), 0]
    engine.corten("exec", "box", "sh", "-c", "echo line 7 > /proc/1/fd/1")
    eventually(
        lambda: numbers(engine.corten("logs", "-n", "1", "box").stdout) == [7], "the new file is written to and read"
    )


def test_logs_are_bounded_when_nobody_asks(engine: Cortend, flood: Callable[..., str]) -> None:
    name = flood(700_000)
    assert engine.wait(name) == [0]
    settled(engine, name, 3, 10_000_000)
    assert sum(sizes(engine, name)) > 10_000_000


def test_a_container_that_starts_again_goes_on_in_its_log(engine: Cortend, flood: Callable[..., str]) -> None:
    name = flood(5_000, "--log-opt", "max-size=100k", "--log-opt", "max-file=99")
    assert engine.wait(name) == [0]
    engine.corten("start", "-a", name)
    assert numbers(engine.corten("logs", name).stdout) == [*range(1, 5_001)] * 2
    settled(engine, name, 99, 100_000)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--log-driver", "nosuch"), "logger: no log driver named 'nosuch' is registered"),
        (("--log-opt", "maxsize=1m"), "unknown log opt 'maxsize' for json-file log driver"),
        (("--log-opt", "max-size=many"), "invalid size: 'many'"),
        (("--log-opt", "max-file=0"), "max-file cannot be less than 1"),
        (("--log-opt", "max-file=x"), "invalid max-file"),
    ],
)
def test_bad_options_are_refused_and_leave_nothing(engine: Cortend, flags: tuple[str, ...], words: str) -> None:
    before = engine.corten("ps", "-aq").stdout
    done = engine.corten("create", *flags, "busybox", "true", check=False)
    assert done.returncode in (1, 125) and words in done.stderr.decode(), done.stderr
    assert engine.corten("ps", "-aq").stdout == before


def test_details_show_chosen_labels_and_variables(engine: Cortend) -> None:
    engine.corten(
        "run", "--name", "detailed", "--label", "tier=web 1", "--label", "other=x", "-e", "WHERE=here",
        "--log-opt", "labels=tier,none", "--log-opt", "env-regex=^WH", "busybox", "echo", "hello",
    )  # fmt: skip
    try:
        assert engine.corten("logs", "--details", "detailed").stdout == b"WHERE=here,tier=web+1 hello\n"
    finally:
        engine.corten("rm", "detailed")


def test_a_flood_leaves_the_daemon_small(engine: Cortend, flood: Callable[..., str]) -> None:
    status = Path(f"/proc/{engine.pid}/status")

    def resident() -> int:
        return int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1])

    Path(f"/proc/{engine.pid}/clear_refs").write_text("5")
    before = resident()
    name = flood(2_000_000)
    with engine.popen("logs", "-f", name, stdout=subprocess.PIPE) as stalled:  # reads nothing
        assert engine.wait(name) == [0]
        assert resident() - before < 20_000
        stalled.kill()
