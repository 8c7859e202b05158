"""A container's log on disk: one stream of bytes, cut into files.

    log/container.log                         what conmon writes to
    log/container.log.00000000000010485760    an older part; the digits say at which byte of the stream it begins

A part's name and size give every byte of the stream a position that no rotation changes, so a reader that has come to
the end of one file knows which file goes on, whatever was renamed, cut or removed meanwhile. Parts end where lines end.
`rotate` takes the current file away (conmon then opens a new one); `settle` cuts what it took into files of the size
that was asked for, and removes what is too old. When no older part is kept, an empty one marks the position.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LOG_NAME = "container.log"
_OLDER = re.compile(rf"{re.escape(LOG_NAME)}\.(\d{{20}})\Z")
_WINDOW = 64 << 10
_COPY = 64 << 20
_ATTEMPTS = 16


class LogLimits(NamedTuple):
    """How large one file may become, in bytes (0: no limit), and how many there may be, the current one included."""

    size: int
    files: int


class Part(NamedTuple):
    """A file of the log: the bytes from `start` to `end` of the stream. The current one's end is that of the moment."""

    path: Path
    start: int
    end: int

    @property
    def current(self) -> bool:
        """Whether conmon writes to it."""
        return self.path.name == LOG_NAME


def parts_of(directory: Path) -> list[Part]:
    """The log's files, oldest first; empty when nothing was written yet."""
    for _ in range(_ATTEMPTS):
        before = _names(directory)
        parts = list(_measured(directory, before))
        if _names(directory) == before:  # else a rotation came in between, and positions may be wrong
            break
    return parts


def _names(directory: Path) -> list[str]:
    """The older parts' names, oldest first, then the current one's."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return [*sorted(name for name in names if _OLDER.match(name)), *([LOG_NAME] if LOG_NAME in names else [])]


def _measured(directory: Path, names: list[str]) -> Iterator[Part]:
    end = 0
    for name in names:
        path = directory / name
        with contextlib.suppress(FileNotFoundError):
            size = path.stat().st_size
            start = end if name == LOG_NAME else int(name[-20:])
            end = max(end, start + size)
            yield Part(path, start, start + size)


def rotate(directory: Path) -> bool:
    """Rename the current file to what it is from now on; False when there is none. conmon must open its log anew."""
    parts = parts_of(directory)
    if not parts or not parts[-1].current:
        return False
    path, start, _ = parts[-1]
    path.rename(_older(directory, start))
    return True


def settle(directory: Path, limits: LogLimits) -> None:
    """Cut older parts to size and remove those that are too many. Only when nobody writes to them any more.

    Bytes are copied into new files, the old name is replaced last: a reader that has the old file open reads on.
    """
    keep = limits.files - 1
    older = [part for part in parts_of(directory) if not part.current]
    pieces = [piece for part in older for piece in _pieces(part, limits.size)]
    if not pieces:
        return
    wanted = pieces[len(pieces) - keep :] if keep > 0 else []
    for piece in reversed(wanted):
        _copy(directory, piece)
    if not wanted:
        _older(directory, pieces[-1].end).touch(mode=0o600)
    kept = {_older(directory, piece.start) for piece in wanted} or {_older(directory, pieces[-1].end)}
    for part in older:
        if part.path not in kept:
            part.path.unlink(missing_ok=True)


def size_of(directory: Path) -> int | None:
    """The current file's size; None when there is none."""
    try:
        return (directory / LOG_NAME).stat().st_size
    except FileNotFoundError:
        return None


def unsettled(directory: Path, limits: LogLimits) -> bool:
    """Whether older parts are too many or too large."""
    older = [part for part in parts_of(directory) if not part.current]
    full = [part for part in older if part.end > part.start]
    return len(full) >= limits.files or any(0 < limits.size < part.end - part.start for part in older)


def _older(directory: Path, start: int) -> Path:
    return directory / f"{LOG_NAME}.{start:020}"


def _pieces(part: Part, size: int) -> Iterator[Part]:
    """The part, cut after lines into pieces of at most `size` bytes (a longer line is a piece of its own)."""
    length = part.end - part.start
    if not 0 < size < length:
        if length:
            yield part
        return
    with part.path.open("rb") as file:
        at = 0
        while at < length:
            end = length if length - at <= size else _line_end(file.fileno(), at, at + size, length)
            yield Part(part.path, part.start + at, part.start + end)
            at = end


def _line_end(fd: int, after: int, before: int, length: int) -> int:
    """The last end of a line in (after, before], or the first one behind it."""
    low = max(after, before - _WINDOW)
    if (found := os.pread(fd, before - low, low).rfind(b"\n")) >= 0:
        return low + found + 1
    at = before
    while at < length:
        block = os.pread(fd, _WINDOW, at)
        if (found := block.find(b"\n")) >= 0:
            return at + found + 1
        at += len(block) or length
    return length


def _copy(directory: Path, piece: Part) -> None:
    """Put the piece under its own name, unless it is a whole file that has it already."""
    target = _older(directory, piece.start)
    offset, length = piece.start - int(piece.path.name[-20:]), piece.end - piece.start
    if target == piece.path and target.stat().st_size == length:
        return
    temporary = directory / ".cut"
    with piece.path.open("rb") as source, temporary.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        while length:
            copied = os.copy_file_range(source.fileno(), file.fileno(), min(length, _COPY), offset)
            if not copied:
                break
            offset, length = offset + copied, length - copied
    temporary.rename(target)
