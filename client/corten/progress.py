"""Progress of a transfer in parts (layers): bars on a terminal, plain lines elsewhere.

Both command lines feed it; it knows no wire format. A part has a name, a state ("Downloading",
"Pull complete") and, while bytes move, a current and a total count.
"""

from __future__ import annotations

import os
import time

from corten.output import escape, human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import TextIO

REDRAW_SECONDS = 0.1
_BAR = 24
_WINDOW = 3.0
"""Seconds over which speed is measured."""


class Part:
    """One layer: its state, its counts, and recent samples to tell its speed from."""

    __slots__ = ("current", "name", "samples", "state", "total")

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = ""
        self.current = self.total = 0
        self.samples: list[tuple[float, int]] = []

    def moved(self, current: int, total: int, now: float) -> None:
        """Take new counts in."""
        self.current, self.total = current, total
        self.samples.append((now, current))
        while len(self.samples) > 2 and now - self.samples[0][0] > _WINDOW:
            self.samples.pop(0)

    def speed(self) -> float:
        """Bytes a second over the window; zero when unknown."""
        if len(self.samples) < 2:
            return 0.0
        (start, first), (end, last) = self.samples[0], self.samples[-1]
        return max(0.0, (last - first) / (end - start)) if end > start else 0.0


class Lines:
    """Progress without a terminal: a line whenever a part changes its state."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._states: dict[str, str] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()

    def message(self, text: str) -> None:
        """A line of its own."""
        self._stream.write(escape(text) + "\n")
        self._stream.flush()

    def update(self, name: str, state: str, current: int = 0, total: int = 0) -> None:
        """A part is in `state`. States that only move bytes are not told: there would be many."""
        if current or total:
            return
        if self._states.get(name) != state:
            self._states[name] = state
            self.message(f"{name}: {state}")


class Bars:
    """Progress on a terminal: one line a part, redrawn in place, and a line of totals.

    Messages scroll away above the bars. At most the terminal's height is drawn: parts that are
    done make room for those that move.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._parts: dict[str, Part] = {}
        self._drawn = 0
        self._next = 0.0
        self._started = time.monotonic()

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._draw(final=True)

    def message(self, text: str) -> None:
        """A line above the bars."""
        self._erase()
        self._stream.write(escape(text) + "\n")
        self._draw()

    def update(self, name: str, state: str, current: int = 0, total: int = 0) -> None:
        """A part is in `state`, with `current` of `total` bytes where they are known."""
        part = self._parts.get(name)
        fresh = part is None
        if part is None:
            part = self._parts[name] = Part(name)
        if state != part.state:
            part.samples.clear()
            fresh = True
        part.state = state
        now = time.monotonic()
        if total > 0 or current > 0:
            part.moved(max(0, current), max(0, total), now)
        if fresh or now >= self._next:
            self._next = now + REDRAW_SECONDS
            self._erase()
            self._draw()

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}A\r\x1b[J")
            self._drawn = 0

    def _draw(self, *, final: bool = False) -> None:
        if final:
            self._erase()
        width, height = self._terminal()
        lines = [render(part, width) for part in self._visible(height - 2)]
        if not final and (totals := render_totals(list(self._parts.values()), self._elapsed())):
            lines.append(totals[: width - 1])
        self._stream.write("".join(line + "\n" for line in lines))
        self._stream.flush()
        self._drawn = 0 if final else len(lines)

    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    def _terminal(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            return 80, 24
        return size.columns or 80, size.lines or 24

    def _visible(self, limit: int) -> list[Part]:
        parts = list(self._parts.values())
        surplus = len(parts) - max(limit, 1)
        for part in list(parts) if surplus > 0 else []:
            if surplus > 0 and _finished(part):
                parts.remove(part)
                surplus -= 1
        return parts[: max(limit, 1)]


def _finished(part: Part) -> bool:
    return part.state.endswith(("omplete", "exists", "ushed", "one"))


def render(part: Part, width: int) -> str:
    """One part's line, at most `width - 1` columns, so that it never wraps."""
    text = f"{escape(part.name)}: {escape(part.state)}"
    moving = part.total > 0 and part.samples and not _finished(part)
    if moving:
        share = min(1.0, part.current / part.total)
        filled = int(share * _BAR)
        bar = "=" * filled + (">" if filled < _BAR else "") + " " * (_BAR - filled - 1)
        text = f"{text:<28} [{bar}] {human_size(part.current)}/{human_size(part.total)}"
        if speed := part.speed():
            text += f"  {human_size(speed)}/s"
    elif part.samples and part.current and not _finished(part):
        text = f"{text:<28} {human_size(part.current)}"
    return text[: max(width - 1, 1)]


def render_totals(parts: list[Part], elapsed: float) -> str:
    """The sum of all parts that move, with the time left; nothing while nothing moves."""
    total = sum(part.total for part in parts)
    current = sum(part.total if _finished(part) else min(part.current, part.total) for part in parts)
    if not total or current >= total:
        return ""
    speed = sum(part.speed() for part in parts if not _finished(part))
    text = f"Total: {human_size(current)}/{human_size(total)} in {elapsed:.0f}s"
    if speed > 0:
        text += f", {human_size(speed)}/s, {(total - current) / speed:.0f}s left"
    return text


def board(stream: TextIO) -> Bars | Lines:
    """Bars when `stream` is a terminal that can draw them, lines otherwise."""
    capable = os.environ.get("TERM", "") not in ("", "dumb")
    return Bars(stream) if capable and stream.isatty() else Lines(stream)
