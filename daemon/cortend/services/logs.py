"""Reading what conmon wrote down: lines with their time and stream, from the end or followed.

The format is CRI's (kubernetes, kubelet/kuberuntime/logs): `TIME STREAM TAG CONTENT\\n`, TIME in RFC 3339
with nanoseconds,
STREAM stdout or stderr, TAG F for a full line and P for a piece of one that goes on. Rotated files carry a number:
`container.log.2`, `container.log.1`, `container.log`, oldest first.
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
from cortend.services.requests import LogLine, LogOptions

LOG_NAME = "container.log"
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


def files_of(directory: Path) -> list[Path]:
    """The log's files that exist, oldest first."""
    rotated = sorted(
        (path for path in directory.glob(f"{LOG_NAME}.*") if path.suffix[1:].isdecimal()),
        key=lambda path: -int(path.suffix[1:]),
    )
    return [*rotated, directory / LOG_NAME]


class LogReader:
    """Reads one container's log. Blocking: use it from a worker, `read` in pieces."""

    def __init__(self, directory: Path, options: LogOptions) -> None:
        self._options = options
        self._directory = directory
        self._lines = self._history()
        self._file: BinaryIO | None = None
        self._rest = b""

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
            self._lines = self._fresh()
            return [line for _, line in zip(range(count), self._lines, strict=False)]
        return lines

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _history(self) -> Iterator[LogLine]:
        paths = files_of(self._directory)
        tail = self._options.tail
        wanted = self._tail(paths, tail) if tail is not None else self._all(paths)
        for line in wanted:
            if self._accepts(line):
                yield line

    def _all(self, paths: list[Path]) -> Iterator[LogLine]:
        for path in paths:
            file = self._open(path)
            if file is not None:
                yield from self._drain(file)

    def _tail(self, paths: list[Path], count: int) -> Iterator[LogLine]:
        """The last `count` whole lines of the streams asked for, found from the end of each file.

        The current file stays open where its whole lines end: a follower goes on from there.
        """
        found: deque[LogLine] = deque()
        current = self._open(paths[-1])
        end = _end_of_lines(current) if current is not None else 0
        complete = current is not None and self._collect(current, end, count, found)
        for path in reversed(paths[:-1]):
            if complete:
                break
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                complete = self._collect(file, _end_of_lines(file), count, found)
        yield from found
        if current is not None:
            current.seek(end)

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

    def _open(self, path: Path) -> BinaryIO | None:
        self.close()
        self._rest = b""
        with contextlib.suppress(FileNotFoundError):
            self._file = path.open("rb")
        return self._file

    def _fresh(self) -> Iterator[LogLine]:
        """What was written since, also after the file was rotated: the old one is read to its end first."""
        current = self._directory / LOG_NAME
        if self._file is None and self._open(current) is None:
            return
        assert self._file is not None
        yield from filter(self._accepts, self._drain(self._file))
        with contextlib.suppress(FileNotFoundError):
            if current.stat().st_ino != os.fstat(self._file.fileno()).st_ino:
                yield from filter(self._accepts, self._drain(self._file))
                file = self._open(current)
                if file is not None:
                    yield from filter(self._accepts, self._drain(file))

    def _drain(self, file: BinaryIO) -> Iterator[LogLine]:
        while block := file.read(_BLOCK):
            *complete, self._rest = (self._rest + block).split(b"\n")
            if len(self._rest) > _MAX_LINE:
                self._rest = b""
            for raw in complete:
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
