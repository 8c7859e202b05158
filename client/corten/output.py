"""What a command prints: tables, sizes, times, and text that cannot harm a terminal.

Names, labels and messages come from the daemon, and through it from images and registries: they
are escaped before they reach a terminal. Container output itself is never touched here.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from corten_shared.errors import CortenError

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_CONTROL.update({0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"})
# Characters that re-order or hide text around them (Unicode "bidi" controls and separators).
_BIDI = (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029)
_CONTROL.update({code: f"\\u{code:04x}" for code in _BIDI})
_LINES_KEPT = {code: text for code, text in _CONTROL.items() if code not in (0x09, 0x0A)}

MIN_WIDTH = 10
PADDING = 3
"""docker's tabwriter: columns at least ten wide, three blanks between them."""


def escape(text: object) -> str:
    """`text` on one line, control characters shown as `\\x1b` rather than obeyed."""
    return str(text).translate(_CONTROL)


def escape_lines(text: object) -> str:
    """The same for text of several lines: newlines and tabs stay."""
    return str(text).translate(_LINES_KEPT)


def out(text: str = "", end: str = "\n") -> None:
    """Write to standard output."""
    sys.stdout.write(text + end)


def err(text: str = "", end: str = "\n") -> None:
    """Write to standard error, at once and after what was written to standard output."""
    sys.stdout.flush()
    sys.stderr.write(text + end)
    sys.stderr.flush()


def sentence(error: CortenError) -> str:
    """An error and its next step in one escaped line."""
    message = escape(error.message.rstrip())
    if not error.hint:
        return message
    return f"{message}{'' if message.endswith(('.', '?', '!', ':')) else '.'} {escape(error.hint)}"


def table(rows: Iterable[Sequence[str]], headers: Sequence[str] | None = None) -> str:
    """Rows aligned as docker does; every cell escaped; ends in a newline unless empty."""
    cells = [[escape(cell) for cell in row] for row in rows]
    if headers is not None:
        cells.insert(0, list(headers))
    widths: list[int] = []
    for row in cells:
        for at, cell in enumerate(row[:-1]):
            if at == len(widths):
                widths.append(MIN_WIDTH)
            widths[at] = max(widths[at], len(cell) + PADDING)
    lines = ("".join([*map(str.ljust, row[:-1], widths), row[-1]]) + "\n" for row in cells if row)
    return "".join(lines)


def align(text: str) -> str:
    """Text whose cells are separated by tabs, aligned as `table` does (docker's `table` formats)."""
    return table([line.split("\t") for line in text.splitlines()])


def ellipsis(text: str, limit: int) -> str:
    """`text` cut to `limit` characters, the last of them `…` when it was longer."""
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + "…"


def short_id(identifier: str) -> str:
    """Twelve hex digits of an id, without its `sha256:`."""
    return identifier.removeprefix("sha256:")[:12]


def _significant(value: float, digits: int) -> str:
    """`value` as Go's `%.<digits>g` prints it for values of 1 to 9999."""
    text = f"{value:.{digits}g}"
    if "e" in text:
        text = f"{float(text):.0f}"
    return text


def human_size(size: float, digits: int = 3) -> str:
    """Bytes in decimal units as docker shows sizes: `0B`, `4.26MB`, `1.5GB`."""
    units = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
    at = 0
    while size >= 1000 and at < len(units) - 1:
        size /= 1000
        at += 1
    return _significant(size, digits) + units[at]


def binary_size(size: float, digits: int = 4) -> str:
    """Bytes in binary units as docker shows memory: `3.828GiB`."""
    units = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    at = 0
    while size >= 1024 and at < len(units) - 1:
        size /= 1024
        at += 1
    return _significant(size, digits) + units[at]


def human_duration(seconds: float) -> str:
    """A duration as docker words it: `Less than a second`, `5 minutes`, `About an hour`, `2 weeks`."""
    whole = int(seconds)
    minutes, hours = whole // 60, round(seconds / 3600)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    for unit, length, limit in (("hours", 1, 48), ("days", 24, 24 * 14), ("weeks", 168, 24 * 60)):
        if hours < limit:
            return f"{hours // length} {unit}"
    if hours < 24 * 365 * 2:
        return f"{hours // (24 * 30)} months"
    return f"{int(seconds / 3600) // 24 // 365} years"


def ago(unix_seconds: float) -> str:
    """How long ago that was, in words."""
    return human_duration(max(0.0, time.time() - unix_seconds)) + " ago"


def local_time(unix_seconds: float) -> str:
    """A time as Go prints it (`CreatedAt` fields): `2024-05-01 12:00:00 +0200 CEST`."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(unix_seconds))


def terminal_width(fd: int = 1, default: int = 80) -> int:
    """Columns of the terminal on `fd`."""
    try:
        return os.get_terminal_size(fd).columns or default
    except OSError:
        return default
