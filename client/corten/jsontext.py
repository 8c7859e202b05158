"""JSON to and from values without importing `json`, whose regular expressions and enums cost a
command more than its whole request (10 ms of 15, measured).

The interpreter's own C scanner and string encoder do the work, as they do inside `json`. Where an
interpreter lacks them, `json` itself is used; `tests/unit/client` compares the two.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

try:
    from _json import encode_basestring_ascii as _quote
    from _json import make_scanner as _make_scanner
except ImportError:  # another interpreter
    _make_scanner = None  # type: ignore[assignment, misc]

_BLANKS = " \t\r\n"
_CONSTANTS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


class _Context:
    """What the C scanner asks its decoder for."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = _CONSTANTS.__getitem__
    memo: dict[str, str] = {}


def loads(data: bytes | str) -> Any:
    """The value; raises ValueError (or RecursionError) when `data` is not JSON."""
    text = data if isinstance(data, str) else data.decode()
    if _make_scanner is None:
        import json

        return json.loads(text)
    start = len(text) - len(text.lstrip(_BLANKS))
    try:
        value, end = _make_scanner(_Context)(text, start)  # type: ignore[arg-type]  # any object will do
    except StopIteration as exc:
        raise ValueError(f"not JSON at character {exc.value}") from None
    except SystemError:  # the scanner looks for json's exception class, and json is not there
        import json

        return json.loads(text)  # which says what is wrong
    if text[end:].strip(_BLANKS):
        raise ValueError(f"more than one JSON value, at character {end}")
    return value


def dumps(value: Any) -> str:
    """Compact JSON in ASCII; raises TypeError for what JSON has no form for."""
    if _make_scanner is None:
        import json

        return json.dumps(value, separators=(",", ":"))
    if isinstance(value, str):
        return _quote(value)
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(dumps, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_quote(key)}:{dumps(item)}" for key, item in value.items()) + "}"
    raise TypeError(f"{type(value).__name__} has no form in JSON")
