"""conmon's log files read back: every line, in order, by stream, time and tail, across rotation."""

import itertools
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten_shared.times import parse_rfc3339
from cortend.services.logfiles import LogLimits, parts_of, rotate, settle, unsettled
from cortend.services.logs import LogReader, parse_line
from cortend.services.requests import LogOptions

BASE = "2026-01-02T03:04:05.{:09d}+00:00"


def write(path: Path, *lines: tuple[int, str, str, str]) -> None:
    with path.open("a") as file:
        for ns, stream, tag, text in lines:
            file.write(f"{BASE.format(ns)} {stream} {tag} {text}\n")


def texts(reader: LogReader) -> list[bytes]:
    found = []
    while lines := reader.read(3):
        found += [line.data for line in lines]
    reader.close()
    return found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "container.log"


def test_a_line_keeps_its_nanoseconds_and_stream() -> None:
    line = parse_line(b"2026-01-02T03:04:05.000000007+02:00 stderr F hello world")
    assert line is not None
    assert line.time_ns == parse_rfc3339("2026-01-02T01:04:05.000000007Z")
    assert (line.stream, line.data) == (2, b"hello world\n")


@pytest.mark.parametrize(
    "text", [b"", b"x", b"2026 stdout F x", b"2026-01-02T03:04:05.1+00:00 stdin F x", b"\xff \xff \xff \xff"]
)
def test_damaged_lines_are_passed_over(text: bytes) -> None:
    assert parse_line(text) is None


def test_pieces_of_a_long_line_join_without_a_newline(log: Path) -> None:
    write(log, (1, "stdout", "P", "abc"), (2, "stdout", "F", "def"))
    assert b"".join(texts(LogReader(log.parent, LogOptions()))) == b"abcdef\n"


def test_streams_and_times_select(log: Path) -> None:
    write(log, *((n, "stdout" if n % 2 else "stderr", "F", str(n)) for n in range(1, 7)))
    second = parse_rfc3339("2026-01-02T03:04:05Z")
    assert texts(LogReader(log.parent, LogOptions(stderr=False))) == [b"1\n", b"3\n", b"5\n"]
    assert texts(LogReader(log.parent, LogOptions(since_ns=second + 3, until_ns=second + 4))) == [b"3\n", b"4\n"]


@pytest.mark.parametrize("tail", [0, 1, 3, 5, 6, 99])
def test_tail_counts_whole_lines_across_rotated_files(log: Path, tail: int) -> None:
    write(log, (1, "stdout", "F", "1"), (2, "stdout", "F", "2"))
    rotate(log.parent)
    write(log, (3, "stdout", "F", "3"))
    rotate(log.parent)
    write(log, (4, "stdout", "P", "4"), (5, "stdout", "F", "5"), (6, "stdout", "F", "6"))
    whole = [b"1\n", b"2\n", b"3\n", b"45\n", b"6\n"]
    joined = b"".join(texts(LogReader(log.parent, LogOptions(tail=tail))))
    assert joined == b"".join(whole[len(whole) - min(tail, len(whole)) :])


def test_tail_of_a_log_larger_than_a_block(log: Path) -> None:
    write(log, *((n, "stdout", "F", f"{n} " + "x" * 500) for n in range(3000)))
    found = texts(LogReader(log.parent, LogOptions(tail=1500)))
    assert [int(line.split()[0]) for line in found] == list(range(1500, 3000))


def test_a_follower_sees_what_is_written_later_and_survives_rotation(log: Path) -> None:
    write(log, (1, "stdout", "F", "1"))
    reader = LogReader(log.parent, LogOptions(follow=True, tail=1))
    assert [line.data for line in reader.read()] == [b"1\n"]
    assert reader.read() == []
    write(log, (2, "stdout", "F", "2"))
    assert [line.data for line in reader.read()] == [b"2\n"]
    write(log, (3, "stdout", "F", "3"))
    rotate(log.parent)
    write(log, (4, "stdout", "F", "4"))
    assert [line.data for line in reader.read()] == [b"3\n", b"4\n"]
    reader.close()


def test_a_follower_with_no_file_yet_starts_when_there_is_one(log: Path) -> None:
    reader = LogReader(log.parent, LogOptions(follow=True))
    assert reader.read() == []
    write(log, (1, "stderr", "F", "late"))
    assert [line.data for line in reader.read()] == [b"late\n"]
    reader.close()


def test_an_unfinished_line_is_not_shown_until_it_ends(log: Path) -> None:
    write(log, (1, "stdout", "F", "1"))
    with log.open("a") as file:
        file.write(BASE.format(2) + " stdout F hal")
        file.flush()
        reader = LogReader(log.parent, LogOptions(follow=True))
        assert [line.data for line in reader.read()] == [b"1\n"]
        file.write("f\n")
    assert [line.data for line in reader.read()] == [b"half\n"]
    reader.close()


@pytest.mark.parametrize("tail", [0, 1, 9])
def test_a_follower_from_the_tail_gets_the_line_that_was_being_written(log: Path, tail: int) -> None:
    write(log, (1, "stdout", "F", "whole"))
    stamp = BASE.format(2)
    with log.open("a") as file:
        file.write(f"{stamp} stdout F half")
    reader = LogReader(log.parent, LogOptions(follow=True, tail=tail))
    found = [line.data for line in reader.read()]
    with log.open("a") as file:
        file.write(" and half\n")
    found += [line.data for line in reader.read()]
    reader.close()
    assert found == [*[b"whole\n"][:tail], b"half and half\n"]


def test_a_follower_from_the_tail_survives_a_rotation_right_after(log: Path) -> None:
    write(log, (1, "stdout", "F", "old"))
    reader = LogReader(log.parent, LogOptions(follow=True, tail=1))
    found = [line.data for line in reader.read()]
    write(log, (2, "stdout", "F", "last of the old file"))
    rotate(log.parent)
    write(log, (3, "stdout", "F", "first of the new"))
    while lines := reader.read():
        found += [line.data for line in lines]
    reader.close()
    assert found == [b"old\n", b"last of the old file\n", b"first of the new\n"]


def test_a_file_that_grew_too_large_is_cut_after_lines_and_the_newest_are_kept(log: Path) -> None:
    write(log, *((n, "stdout", "F", f"{n:03}") for n in range(100)))
    line = log.stat().st_size // 100
    rotate(log.parent)
    write(log, (100, "stdout", "F", "100"))
    limits = LogLimits(size=line * 10 + line // 2, files=4)
    assert unsettled(log.parent, limits)
    settle(log.parent, limits)
    assert not unsettled(log.parent, limits)
    sizes = [part.end - part.start for part in parts_of(log.parent)]
    assert sizes == [line * 10, line * 10, line * 10, line]
    assert [int(text) for text in texts(LogReader(log.parent, LogOptions()))] == list(range(70, 101))
    assert sorted(path.name for path in log.parent.iterdir())[0] == "container.log"  # nothing temporary stays


def test_one_file_means_that_nothing_old_is_kept_and_positions_go_on(log: Path) -> None:
    write(log, (1, "stdout", "F", "1"))
    reader = LogReader(log.parent, LogOptions(follow=True))
    assert [line.data for line in reader.read()] == [b"1\n"]
    for n in range(2, 5):
        rotate(log.parent)
        settle(log.parent, LogLimits(size=1, files=1))
        write(log, (n, "stdout", "F", str(n)))
        assert [line.data for line in reader.read()] == [f"{n}\n".encode()]
        assert texts(LogReader(log.parent, LogOptions())) == [f"{n}\n".encode()]
    reader.close()


def test_a_reader_of_a_file_that_is_cut_meanwhile_reads_it_whole(log: Path) -> None:
    write(log, *((n, "stdout", "F", "x" * 100) for n in range(100)))
    reader = LogReader(log.parent, LogOptions(follow=True))
    found = reader.read(10)
    rotate(log.parent)
    write(log, (100, "stdout", "F", "last"))
    settle(log.parent, LogLimits(size=1000, files=3))
    while lines := reader.read(7):
        found += lines
    reader.close()
    assert [line.time_ns % 1000 for line in found] == list(range(101))


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(st.sampled_from(["write", "write", "rotate", "settle", "read", "read some"]), max_size=60),
    size=st.integers(100, 2000),
    files=st.integers(1, 5),
    tail=st.sampled_from([None, 0, 3]),
)
def test_whatever_happens_a_follower_gets_each_line_at_most_once_and_in_order(
    steps: list[str], size: int, files: int, tail: int | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "container.log"
        numbers = itertools.count()
        reader = LogReader(log.parent, LogOptions(follow=True, tail=tail))
        found: list[int] = []
        open_file = log.open("a")  # conmon's: it writes on into a file that was renamed until it is told

        def reopen() -> None:
            nonlocal open_file
            open_file.close()
            open_file = log.open("a")

        lost = False
        for step in steps:
            if step == "write":
                for n in itertools.islice(numbers, 7):
                    open_file.write(f"{BASE.format(n)} stdout F {'y' * (n % 50)}\n")
                open_file.flush()
            elif step == "rotate":
                rotate(log.parent)
                reopen()
            elif step == "settle":
                before = {part.start for part in parts_of(log.parent)}
                settle(log.parent, LogLimits(size, files))
                kept = [part for part in parts_of(log.parent) if part.end > part.start or part.current]
                assert len(kept) <= files
                lost = lost or bool(kept and before and min(part.start for part in kept) > min(before))
            else:
                found += [line.time_ns % 1_000_000 for line in reader.read(3 if step == "read some" else 10_000)]
        while lines := reader.read():
            found += [line.time_ns % 1_000_000 for line in lines]
        reader.close()
        open_file.close()
        written = next(numbers)
        assert found == sorted(set(found))
        if found and not lost:
            assert found == list(range(found[0], written))
        if tail is None and not lost:
            assert len(found) == written
