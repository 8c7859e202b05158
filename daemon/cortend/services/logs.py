"""Reading what conmon wrote down: lines with their time and stream, from the end, from a position, or followed.

The format is CRI's (kubernetes, kubelet/kuberuntime/logs): `TIME STREAM TAG CONTENT\\n`, TIME in RFC 3339
with nanoseconds,
STREAM stdout or stderr, TAG F for a full line and P for a piece of one that goes on. `logfiles` says how the log is cut
into files.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from corten_shared.errors import CortenError
from corten_shared.times import parse_rfc3339
from cortend.services.logfiles import parts_of
from cortend.services.requests import LogLine, LogOptions

_BLOCK = 256 << 10
_MAX_LINE = 1 << 20
_STREAMS = {b"stdout": 1, b"stderr": 2}


def parse_line(line: bytes) -> LogLine | None:
    """One line of the file without its newline; None when it is not of the format."""
    parts = line.split(b" ", 3)
    if len(parts) != 4 or (stream := _STREAMS.get(parts[1])) is None:
        return None
    try:
        time_ns = _parse_time(parts[0])
    except (ValueError, CortenError):
        return None
    return LogLine(time_ns, stream, parts[3] if parts[2][:1] == b"P" else parts[3] + b"\n")


def _parse_time(text: bytes) -> int:
    """conmon's time stamp. Its seconds repeat from line to line, so the expensive part is cached."""
    whole, dot, rest = text.decode("ascii").partition(".")
    if not dot:
        return parse_rfc3339(whole)
    fraction = rest[:9]
    return _seconds(whole + rest[len(fraction) :]) * 1_000_000_000 + int(fraction.ljust(9, "0"))


_last_second: tuple[str, int] = ("", 0)


def _seconds(text: str) -> int:
    global _last_second
    known, value = _last_second
    if known != text:
        value = int(datetime.fromisoformat(text).timestamp())
        _last_second = (text, value)
    return value


class LogReader:
    """Reads one container's log. Blocking: use it from a worker, `read` in pieces."""

    def __init__(self, directory: Path, options: LogOptions, *, position: int = 0) -> None:
        self._options = options
        self._directory = directory
        self._lines = self._history()
        self._file: BinaryIO | None = None
        self._rest = b""
        self._position = position
        self.consumed = position
        """Where the line that was given last ends in the log's stream (`logfiles`)."""

    def read(self, count: int = 2000) -> list[LogLine]:
        """The next lines, at most `count`; empty when there are no more for now."""
        lines: list[LogLine] = []
        size = 0
        for line in self._lines:
            lines.append(line)
            size += len(line.data)
            if len(lines) >= count or size >= _BLOCK:
                return lines
        if not lines and self._options.follow:
            self._lines = filter(self._accepts, self._forward())
            return [line for _, line in zip(range(count), self._lines, strict=False)]
        return lines

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _history(self) -> Iterator[LogLine]:
        tail = self._options.tail
        wanted = self._tail(tail) if tail is not None else self._forward()
        yield from filter(self._accepts, wanted)

    def _tail(self, count: int) -> Iterator[LogLine]:
        """The last `count` whole lines of the streams asked for, found from the end of each file.

        The newest file stays open where its whole lines end: a follower goes on from there.
        """
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(file) for file in self._open_all()]
            ends = [_end_of_lines(file) for file in files]
            found: deque[LogLine] = deque()
            for file, end in zip(reversed(files), reversed(ends), strict=True):
                if self._collect(file, end, count, found):
                    break
            yield from found
            if files:
                self._file = os.fdopen(os.dup(files[-1].fileno()), "rb")
                self._file.seek(ends[-1])
                self._position += ends[-1]

    def _open_all(self) -> list[BinaryIO]:
        """Every file of the log; `position` becomes where the newest begins. Those that vanish meanwhile are old."""
        files: list[BinaryIO] = []
        for part in parts_of(self._directory):
            with contextlib.suppress(FileNotFoundError):
                files.append(part.path.open("rb"))
                self._position = part.start
        return files

    def _collect(self, file: BinaryIO, end: int, count: int, found: deque[LogLine]) -> bool:
        """Put the file's last lines before those in `found`; whether there are `count` whole ones now."""
        lines = sum(line.data.endswith(b"\n") for line in found)
        for raw in _backwards(file, end):
            line = parse_line(raw)
            if line is None or not self._wants(line):
                continue
            if line.data.endswith(b"\n"):
                if lines == count:
                    return True
                lines += 1
            found.appendleft(line)
        return False

    def _forward(self) -> Iterator[LogLine]:
        """From where it stands to the end of what is written now, through every file on the way."""
        while True:
            if self._file is not None:
                yield from self._drain(self._file)
            if not self._go_on():
                return

    def _go_on(self) -> bool:
        """Open the file that holds the next byte; False when there is none, or it is not written yet."""
        parts = parts_of(self._directory)
        here = next((part for part in reversed(parts) if part.start <= self._position < part.end), None)
        if here is None:
            # What begins later: either conmon has a new, empty file, or what was next has been removed as too old.
            here = next((part for part in parts if part.start >= self._position and part.end > self._position), None)
        if here is None:
            return False
        if self._file is not None and here.start <= self._position and self._has_open(here.path):
            return os.fstat(self._file.fileno()).st_size > self._file.tell()
        self.close()
        self._rest = b""
        with contextlib.suppress(FileNotFoundError):
            self._file = here.path.open("rb")
            self._file.seek(max(0, self._position - here.start))
            self._position = max(self._position, here.start)
        return True

    def _has_open(self, path: Path) -> bool:
        assert self._file is not None
        try:
            return path.stat().st_ino == os.fstat(self._file.fileno()).st_ino
        except FileNotFoundError:
            return False

    def _drain(self, file: BinaryIO) -> Iterator[LogLine]:
        while block := file.read(_BLOCK):
            at = self._position - len(self._rest)
            self._position += len(block)
            *complete, self._rest = (self._rest + block).split(b"\n")
            if len(self._rest) > _MAX_LINE:
                self._rest = b""
            for raw in complete:
                at += len(raw) + 1
                self.consumed = at
                if (line := parse_line(raw)) is not None:
                    yield line

    def _wants(self, line: LogLine) -> bool:
        return self._options.stdout if line.stream == 1 else self._options.stderr

    def _accepts(self, line: LogLine) -> bool:
        options = self._options
        if not self._wants(line) or line.time_ns < options.since_ns:
            return False
        return not options.until_ns or line.time_ns <= options.until_ns


def _end_of_lines(file: BinaryIO) -> int:
    """Where the last whole line ends; what follows is being written."""
    position = file.seek(0, os.SEEK_END)
    while position > 0:
        step = min(_BLOCK, position)
        position -= step
        file.seek(position)
        if (newline := file.read(step).rfind(b"\n")) >= 0:
            return position + newline + 1
    return 0


def _backwards(file: BinaryIO, end: int) -> Iterator[bytes]:
    """The lines that end before `end`, the end of a line; the last comes first. Without newlines."""
    position = end
    rest = b""
    while position > 0:
        step = min(_BLOCK, position)
        position -= step
        file.seek(position)
        parts = (file.read(step) + rest).split(b"\n")
        rest = parts[0]
        yield from reversed(parts[1:-1] if position + step == end else parts[1:])
    if end:
        yield rest
