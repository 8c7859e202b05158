"""The daemon's log on standard error: text for people on a terminal, one JSON object a line for collectors.

Modules log through `logging.getLogger(__name__)`; facts go in `extra={"fields": {...}}`. Messages carry names that
came from registries, images and clients, so text mode shows control characters escaped and never obeys them.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any, TextIO

from corten_shared.times import format_rfc3339
from cortend.config import LogFormat, LogLevel

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_CONTROL.update({code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029)})
_RESERVED = frozenset({"time", "level", "logger", "message", "exception"})


def configure(level: LogLevel, format: LogFormat, stream: TextIO | None = None) -> None:
    """Send everything logged in this process, uvicorn's lines and Python's warnings too, to `stream` (stderr)."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    as_json = format == "json" or (format == "auto" and not stream.isatty())
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a log that cannot be written must not end what it is about
    set_level(level)


def set_level(level: LogLevel) -> None:
    """Change how much is logged. Libraries stay at warnings: their debug lines carry headers, and so logins."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(max(number, logging.WARNING))
    for name in ("cortend", "corten_shared", "uvicorn"):
        logging.getLogger(name).setLevel(number if name != "uvicorn" else max(number, logging.INFO))


def escape(text: str) -> str:
    """`text` on one line, with control characters and those that re-order text made visible."""
    return text.translate(_CONTROL)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = getattr(record, "fields", None)
    return fields if isinstance(fields, dict) else {}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the record's fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        entry: dict[str, Any] = {
            "time": format_rfc3339(int(record.created * 1_000_000) * 1000),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry.update((f"{k}_" if k in _RESERVED else str(k), v) for k, v in _fields(record).items())
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, separators=(",", ":"))


class TextFormatter(logging.Formatter):
    """`12:00:01.123 INFO  message  key=value`, an exception's lines below."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line, or several with an exception."""
        clock = self.formatTime(record, "%H:%M:%S")
        line = f"{clock}.{int(record.msecs):03d} {record.levelname:<7} {escape(record.getMessage())}"
        for key, value in _fields(record).items():
            text = str(value)
            shown = escape(text) if text and not set(text) & set(' "=') else json.dumps(text, ensure_ascii=False)
            line += f" {key}={escape(shown)}"
        if record.exc_info:
            line += "".join(f"\n  {escape(row)}" for row in self.formatException(record.exc_info).splitlines())
        return line
