"""The `filters` parameter: what was asked, and whether an object has it.

Both shapes are taken: `{"label": {"a=b": true}}` (Go clients) and `{"label": ["a=b"]}` (docker-py, dockerode).
Values of one key are alternatives, except labels, which must all be there; keys must all match.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from corten_shared.errors import InvalidArgument

MAX_PATTERN = 256
"""Characters of a pattern in a filter."""


class Filters:
    """Parsed filters. Absent keys match everything."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self._values = dict(values or {})

    @classmethod
    def parse(cls, text: str, known: Collection[str]) -> Filters:
        """The filters in `text`; raises InvalidArgument for other JSON and for keys that are not `known`."""
        if not text:
            return cls()
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidArgument("invalid filter") from error
        if raw is None:
            return cls()
        if not isinstance(raw, dict):
            raise InvalidArgument("invalid filter")
        return cls.of({key: _values(value) for key, value in raw.items()}, known)

    @classmethod
    def of(cls, values: Mapping[str, Iterable[str]], known: Collection[str]) -> Filters:
        """Filters that were parsed already; raises InvalidArgument for keys that are not `known`."""
        for key in values:
            if key not in known:
                raise InvalidArgument(f"invalid filter '{key[:80]}'")
        return cls({key: tuple(found) for key, found in values.items()})

    def __contains__(self, key: str) -> bool:
        return bool(self._values.get(key))

    def __bool__(self) -> bool:
        return any(self._values.values())

    def get(self, key: str) -> tuple[str, ...]:
        """The values asked for under `key`."""
        return self._values.get(key, ())

    def flag(self, key: str) -> bool | None:
        """A yes-or-no filter; None when it was not given."""
        if key not in self:
            return None
        chosen = {_boolean(key, value) for value in self.get(key)}
        if len(chosen) > 1:
            raise InvalidArgument(f"invalid filter '{key}={'/'.join(sorted(self.get(key)))}'")
        return chosen.pop()

    def integers(self, key: str) -> frozenset[int]:
        """Whole numbers."""
        try:
            return frozenset(int(value) for value in self.get(key))
        except ValueError:
            raise InvalidArgument(f"invalid filter '{key}={','.join(self.get(key))[:80]}'") from None

    def exact(self, key: str, candidates: Iterable[str]) -> bool:
        """Whether one of the candidates is asked for."""
        return key not in self or any(candidate in self.get(key) for candidate in candidates)

    def prefix(self, key: str, candidates: Iterable[str]) -> bool:
        """Whether one of the candidates begins with a value asked for."""
        return key not in self or any(c.startswith(value) for c in candidates for value in self.get(key))

    def search(self, key: str, candidates: Collection[str]) -> bool:
        """Whether one of the candidates matches a pattern asked for, anywhere (docker's rule for names and ids)."""
        if key not in self:
            return True
        return any(_matches(key, pattern, candidates) for pattern in self.get(key))

    def labels(self, labels: Mapping[str, str]) -> bool:
        """Whether all of `label` and none of `label!` are there; `key` alone asks for any value."""
        wanted = all(_has_label(labels, value) for value in self.get("label"))
        return wanted and not any(_has_label(labels, value) for value in self.get("label!"))


def _values(value: Any) -> tuple[str, ...]:
    if isinstance(value, dict):
        return tuple(str(key) for key, wanted in value.items() if wanted)
    if isinstance(value, list) and all(isinstance(item, (str, int)) for item in value):
        return tuple(str(item).lower() if isinstance(item, bool) else str(item) for item in value)
    if isinstance(value, str):
        return (value,)
    raise InvalidArgument("invalid filter")


def _boolean(key: str, value: str) -> bool:
    if value.lower() in ("1", "t", "true"):
        return True
    if value.lower() in ("0", "f", "false"):
        return False
    raise InvalidArgument(f"invalid filter '{key}={value[:40]}'")


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def _matches(key: str, pattern: str, candidates: Collection[str]) -> bool:
    if pattern in candidates:
        return True
    expression = _compile(key, pattern)
    return any(expression.search(candidate) for candidate in candidates)


def _compile(key: str, pattern: str) -> re.Pattern[str]:
    """A client's pattern. Python's matcher backtracks, Go's does not: what could take exponential time is refused."""
    risky = re.search(r"\)\s*[*+{?]|\\[1-9]", pattern) or len(re.findall(r"[*+{]", pattern)) > 4
    try:
        if len(pattern) <= MAX_PATTERN and not risky:
            return re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        pass
    raise InvalidArgument(f"invalid filter '{key}={pattern[:80]}'")
