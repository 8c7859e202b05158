"""The functions that templates can call: Go's own and docker's."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAX_WIDTH = 10_000


def go_text(value: Any) -> str:
    """A value as Go's `%v` prints it."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + " ".join(_inner(item) for item in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_inner(item)}" for key, item in sorted(value.items())) + "]"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    return str(value)


def _inner(value: Any) -> str:
    return "<nil>" if value is None else go_text(value)


def truth(value: Any) -> bool:
    """Go's truth: not the zero value, not empty."""
    return bool(value)


def to_json(value: Any) -> str:
    """Compact JSON without Go's HTML escapes; control characters stay escaped."""
    return plain_json(value, separators=(",", ":"))


def plain_json(value: Any, **options: Any) -> str:
    """JSON with text as it is, but for characters that a terminal would obey."""
    text = json.dumps(value, ensure_ascii=False, **options)
    return text.translate(_C1)


_C1 = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}
_C1.update({code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))})


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise ValueError("missing argument for comparison")
    return any(first == other and isinstance(first, bool) == isinstance(other, bool) for other in others)


def _compare(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(a: Any, b: Any) -> bool:
        if isinstance(a, str) != isinstance(b, str):
            raise ValueError("incompatible types for comparison")
        return test(a, b)

    return compare


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key if isinstance(key, str) else go_text(key))
        elif isinstance(value, list | str):
            if not isinstance(key, int) or not 0 <= key < len(value):
                raise IndexError(f"index out of range: {go_text(key)}")
            value = value[key]
        else:
            raise ValueError("index of untyped nil" if value is None else f"can't index {go_text(value)[:40]}")
    return value


def _slice(value: Any, *bounds: int) -> Any:
    start = bounds[0] if bounds else 0
    end = bounds[1] if len(bounds) > 1 else len(value)
    if not 0 <= start <= end <= len(value):
        raise IndexError(f"index out of range: {end}")
    return value[start:end]


def _printf(form: str, *values: Any) -> str:
    """Go's verbs by way of Python's: %v %s %d %q %x %f %t %%, with flags and widths."""
    out, rest, at = [], list(values), 0
    while at < len(form):
        if form[at] != "%":
            out.append(form[at])
            at += 1
            continue
        end = at + 1
        while end < len(form) and form[end] in "+-# 0123456789.":
            end += 1
        verb = form[end : end + 1]
        flags = form[at + 1 : end]
        at = end + 1
        if verb == "%":
            out.append("%")
        elif not rest:
            out.append(f"%!{verb}(MISSING)")
        else:
            out.append(_verb(flags, verb, rest.pop(0)))
    return "".join(out)


def _verb(flags: str, verb: str, value: Any) -> str:
    if any(len(part) > 4 for part in flags.strip("+-# 0").split(".")):
        raise ValueError(f"width too large in %{flags}{verb}")
    if verb in ("v", "s", "t"):
        return f"%{flags.replace('+', '').replace('#', '')}s" % go_text(value)
    if verb == "q":
        return f"%{flags}s" % json.dumps(go_text(value), ensure_ascii=False)
    if verb in ("d", "x", "X", "o") and isinstance(value, int | float):
        return f"%{flags}{verb}" % int(value)
    if verb in ("f", "e", "g") and isinstance(value, int | float):
        return f"%{flags}{verb}" % value
    return f"%!{verb}({go_text(value)})"


def _pad(text: str, before: int, after: int) -> str:
    if not text:
        return text
    return " " * min(before, MAX_WIDTH) + text + " " * min(after, MAX_WIDTH)


def _truncate(text: str, width: int) -> str:
    return text[:width] if len(text) > width else text


def _title(text: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in text.split(" "))


def _print(*values: Any) -> str:
    """Go's Sprint: a blank between two neighbours that are both no strings."""
    out = ""
    for at, value in enumerate(values):
        if at and not isinstance(value, str) and not isinstance(values[at - 1], str):
            out += " "
        out += go_text(value)
    return out


def _html(text: Any) -> str:
    escapes = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"}
    return "".join(escapes.get(char, char) for char in go_text(text))


def _urlquery(text: Any) -> str:
    from corten.transport import quote

    return quote(go_text(text)).replace("%20", "+")


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    return len(value)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": lambda *values: values[-1],  # the parser evaluates these two as far as needed
    "or": lambda *values: values[-1],
    "not": lambda value: not truth(value),
    "eq": _equal,
    "ne": lambda a, b: not _equal(a, b),
    "lt": _compare(lambda a, b: a < b),
    "le": _compare(lambda a, b: a <= b),
    "gt": _compare(lambda a, b: a > b),
    "ge": _compare(lambda a, b: a >= b),
    "len": _length,
    "index": _index,
    "slice": _slice,
    "print": _print,
    "printf": _printf,
    "println": lambda *values: " ".join(map(go_text, values)) + "\n",
    "html": _html,
    "js": lambda value: json.dumps(go_text(value))[1:-1],
    "urlquery": _urlquery,
    "json": to_json,
    "split": lambda text, separator: text.split(separator),
    "join": lambda items, separator: separator.join(map(go_text, items)),
    "title": _title,
    "lower": str.lower,
    "upper": str.upper,
    "pad": _pad,
    "truncate": _truncate,
}
"""By name, as templates call them."""
