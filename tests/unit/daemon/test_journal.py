"""The daemon's log: text that cannot harm a terminal, JSON that parses, libraries kept quiet."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from cortend import journal


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is the process's: give it back as it was."""
    root = logging.getLogger()
    handlers, level, raising = list(root.handlers), root.level, logging.raiseExceptions
    levels = {name: logging.getLogger(name).level for name in ("cortend", "corten_shared", "uvicorn")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raising
    logging.captureWarnings(False)
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_json_lines_carry_the_fields() -> None:
    stream = io.StringIO()
    journal.configure("info", "auto", stream)
    logging.getLogger("cortend.x").info("hello\n\x1b[31m", extra={"fields": {"ns": "default", "level": "mine"}})
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert entry["message"] == "hello\n\x1b[31m"
    assert (entry["level"], entry["logger"], entry["ns"], entry["level_"]) == ("info", "cortend.x", "default", "mine")
    assert entry["time"].endswith("Z")


def test_text_on_a_terminal_escapes_what_would_move_the_cursor() -> None:
    stream = Terminal()
    journal.configure("info", "auto", stream)
    logging.getLogger("cortend.x").warning("pulled %s", "a\x1b[2Jb\nc\u202e", extra={"fields": {"k": "v w", "n": 1}})
    (line,) = stream.getvalue().splitlines()
    assert "WARNING pulled a\\x1b[2Jb\\x0ac\\u202e" in line
    assert line.endswith(' k="v w" n=1')


@pytest.mark.parametrize("format", ["text", "json"])
def test_exceptions_are_shown(format: journal.LogFormat) -> None:
    stream = io.StringIO()
    journal.configure("info", format, stream)
    try:
        raise ValueError("inner \x1b")
    except ValueError:
        logging.getLogger("cortend.x").exception("outer")
    assert "ValueError: inner" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_level_is_for_our_loggers_and_libraries_stay_at_warnings() -> None:
    """httpx's debug lines carry headers, and so logins."""
    stream = io.StringIO()
    journal.configure("debug", "json", stream)
    logging.getLogger("cortend.x").debug("ours")
    logging.getLogger("httpcore.http11").debug("authorization: secret")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["ours"]
    journal.set_level("error")
    logging.getLogger("cortend.x").warning("quiet now")
    assert "quiet now" not in stream.getvalue()
