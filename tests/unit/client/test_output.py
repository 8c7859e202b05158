"""Tables, sizes, durations, progress: what people read."""

from __future__ import annotations

import io

import pytest

from corten import output, progress
from corten_shared.errors import NotFound


def test_control_characters_never_reach_the_terminal_raw() -> None:
    hostile = "a\x1b[2Jb\x07\x9b1m\r\n\t\x7f\u202ec"
    shown = output.escape(hostile)
    assert shown == r"a\x1b[2Jb\x07\x9b1m\r\n\t\x7f\u202ec"
    assert output.escape_lines("a\tb\nc\x1b") == "a\tb\nc\\x1b"
    assert "\x1b" not in output.table([[hostile, hostile]])


def test_an_error_is_one_line_with_its_next_step() -> None:
    assert output.sentence(NotFound("no image\nx", hint="pull it")) == r"no image\nx. pull it"
    assert output.sentence(NotFound("is it there?", hint="Look.")) == "is it there? Look."
    assert output.sentence(NotFound("plain")) == "plain"


def test_tables_align_as_dockers() -> None:
    """Ten columns at least, three blanks between, no blanks after the last."""
    text = output.table([["abcdefghijkl", "x", "last"]], ["ID", "NAME", "END"])
    assert text == "ID             NAME      END\nabcdefghijkl   x         last\n"
    assert output.table([]) == ""


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (999, "999B"), (1000, "1kB"), (4261574, "4.26MB"), (187_600_000, "188MB"), (1_500_000_000, "1.5GB"),
     (999_999, "1e+03kB"[:0] + "1000kB")],
)  # fmt: skip
def test_sizes_read_as_dockers(size: int, text: str) -> None:
    assert output.human_size(size) == text


def test_memory_sizes_read_as_dockers() -> None:
    assert output.binary_size(4_110_000_000) == "3.828GiB"
    assert output.binary_size(0) == "0B"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"),
        (119, "About a minute"), (120, "2 minutes"), (3599, "59 minutes"), (3600, "About an hour"),
        (47 * 3600, "47 hours"), (48 * 3600, "2 days"), (13 * 86400, "13 days"), (14 * 86400, "2 weeks"),
        (59 * 86400, "8 weeks"), (60 * 86400, "2 months"), (729 * 86400, "24 months"), (730 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_durations_read_as_dockers(seconds: float, text: str) -> None:
    assert output.human_duration(seconds) == text


def test_progress_elsewhere_is_a_line_per_state() -> None:
    """Byte counts are for terminals; each part says each state once; text is escaped."""
    stream = io.StringIO()
    with progress.Lines(stream) as board:
        board.message("latest: Pulling from x\x1b[0m")
        board.update("aaa", "Pulling fs layer")
        board.update("aaa", "Downloading", 5, 10)
        board.update("aaa", "Downloading", 9, 10)
        board.update("aaa", "Pull complete")
    assert stream.getvalue() == "latest: Pulling from x\\x1b[0m\naaa: Pulling fs layer\naaa: Pull complete\n"


def test_progress_on_a_terminal_redraws_in_place() -> None:
    """Bars are erased before they are drawn again, and stay as they are at the end."""
    stream = io.StringIO()
    with progress.Bars(stream) as board:
        board.update("aaa", "Downloading", 0, 4_000_000)
        board.update("bbb", "Waiting")
        board.message("a message")
        board.update("aaa", "Pull complete")
        board.update("bbb", "Pull complete")
    text = stream.getvalue()
    assert "\x1b[1A" in text or "\x1b[2A" in text
    assert text.endswith("aaa: Pull complete\nbbb: Pull complete\n")
    assert "Total: 0B/4MB" in text


def test_a_bar_shows_share_counts_and_speed_within_the_width() -> None:
    part = progress.Part("aaa")
    part.state = "Downloading"
    part.moved(0, 10_000_000, 0.0)
    part.moved(5_000_000, 10_000_000, 2.0)
    line = progress.render(part, 200)
    assert "[============>           ]" in line
    assert "5MB/10MB  2.5MB/s" in line
    assert len(progress.render(part, 20)) == 19


def test_more_parts_than_the_terminal_has_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finished parts make room for those that move."""
    board = progress.Bars(io.StringIO())
    for number in range(40):
        board.update(f"done{number}", "Pull complete")
    board.update("moving", "Downloading", 1, 2)
    shown = [part.name for part in board._visible(10)]
    assert len(shown) == 10
    assert "moving" in shown
