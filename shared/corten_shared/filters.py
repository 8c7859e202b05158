"""containerd's filter language: which objects of a list are meant.

    filter    = selector ("," selector)*               all of them must hold; several filters: any of them
    selector  = fieldpath [operator value]             without an operator: the field is there
    fieldpath = field ("." field)*                     labels."containerd.io/gc.root"
    field     = quoted | [A-Za-z0-9_]+
    operator  = "==" | "!=" | "~="                     equal, other (or absent), matches the regular expression
    value     = quoted | [^ ,]+                        after ~= also in /slashes/ or |bars|
    quoted    = a string in double quotes, as in Go

    name==foo,labels.tier      labels."a.b"~=^x      name!=bar      name~=/^docker\\.io/[a-z]{2,}/

Grammar and meaning are those of containerd's pkg/filters; a wrong expression is refused with its place, where
containerd's ignores a wrong regular expression. What the fields of an object are, its surface says.
"""

from __future__ import annotations

from corten_shared.errors import InvalidArgument
from corten_shared.patterns import Pattern, PatternError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Lookup = Callable[[Sequence[str]], tuple[str, bool]]
    """A field of an object by its path: its value as text, and whether it is there."""
    Filter = Callable[[Lookup], bool]
    """Whether an object, given by its fields, is meant."""

MAX_FILTERS = 100
"""Filters of one request."""
MAX_LENGTH = 4096
"""Characters of one filter."""

_OPERATORS = ("==", "!=", "~=")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}
_HINT = 'as in name==busybox, labels."a.b"~=^x or name!=y; quote values that begin with / or hold a comma'


def parse_all(texts: Sequence[str]) -> Filter | None:
    """What any of the filters means; None for no filters, or one that is empty: everything. Raises InvalidArgument."""
    if len(texts) > MAX_FILTERS:
        raise InvalidArgument(f"{len(texts)} filters are more than {MAX_FILTERS}")
    parsed = [parse(text) for text in texts]
    if not parsed or None in parsed:
        return None
    return lambda lookup: any(accept(lookup) for accept in parsed if accept)


def parse(text: str) -> Filter | None:
    """What one filter means; None for the empty one: everything. Raises InvalidArgument, saying where."""
    if len(text) > MAX_LENGTH:
        raise InvalidArgument(f"a filter of {len(text)} characters is longer than {MAX_LENGTH}")
    if not text:
        return None
    selectors = _Parser(text).selectors()
    return lambda lookup: all(selector(lookup) for selector in selectors)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def selectors(self) -> list[Filter]:
        found = [self._selector()]
        while self._at < len(self._text):
            if not self._takes(","):
                raise self._wrong("unexpected input")
            found.append(self._selector())
        return found

    def _selector(self) -> Filter:
        path = [self._field()]
        while self._takes("."):
            path.append(self._field())
        self._skip()
        if self._at == len(self._text) or self._text[self._at] == ",":
            return lambda lookup: lookup(path)[1]
        operator = self._text[self._at : self._at + 2]
        if operator not in _OPERATORS:
            raise self._wrong('expected an operator ("==", "!=" or "~=")')
        self._at += 2
        self._skip()
        begin = self._at
        value = self._value(bars=operator == "~=")
        self._skip()
        return self._test(operator, path, value, begin)

    def _test(self, operator: str, path: list[str], value: str, begin: int) -> Filter:
        if operator == "==":
            return lambda lookup: lookup(path) == (value, True)
        if operator == "!=":
            return lambda lookup: lookup(path)[0] != value
        try:
            pattern = Pattern(value)
        except PatternError as error:
            self._at = begin
            raise self._wrong(f"invalid regular expression: {error}") from None
        return lambda lookup: pattern.search(lookup(path)[0])

    def _field(self) -> str:
        self._skip()
        if self._char() in ('"', "/", "|"):
            return self._quoted(bars=False)
        begin = self._at
        while self._char() == "_" or (self._char().isascii() and self._char().isalnum()):
            self._at += 1
        if begin == self._at:
            raise self._wrong("expected field or quoted")
        return self._text[begin : self._at]

    def _value(self, *, bars: bool) -> str:
        if self._char() in ('"', "/", "|"):
            return self._quoted(bars=bars)
        begin = self._at
        while self._char() not in ("", ",") and not self._char().isspace():
            self._at += 1
        if begin == self._at:
            raise self._wrong("expected value or quoted")
        return self._text[begin : self._at]

    def _quoted(self, *, bars: bool) -> str:
        """A quoted text. In slashes and bars only the quote itself is escaped: the rest is the expression's."""
        begin = self._at
        quote = self._char()
        self._at += 1
        parts = []
        while (char := self._char()) != quote:
            if not char or char == "\n":
                self._at = begin
                raise self._wrong("quoted literal not terminated")
            self._at += 1
            if char != "\\":
                parts.append(char)
            elif quote == '"':
                parts.append(self._escape())
            else:
                parts.append(self._raw_escape(quote))
        self._at += 1
        if quote != '"' and not bars:
            self._at = begin
            raise self._wrong("invalid quote encountered")
        return "".join(parts)

    def _raw_escape(self, quote: str) -> str:
        char = self._char()
        self._at += len(char)
        return char if char == quote else f"\\{char}"

    def _escape(self) -> str:
        """What follows a backslash in a Go string."""
        char = self._char()
        self._at += 1
        if char in _ESCAPES and char:
            return _ESCAPES[char]
        lengths = {"x": 2, "u": 4, "U": 8}
        digits, base = (lengths[char], 16) if char in lengths else (3, 8)
        if base == 8:
            self._at -= 1
        number = self._text[self._at : self._at + digits]
        try:
            if len(number) != digits or not number.isascii() or not number.isalnum():
                raise ValueError
            found = chr(int(number, base))
        except (ValueError, OverflowError):
            self._at -= 1 if base == 8 else 2
            raise self._wrong("unquoting failed: invalid escape") from None
        self._at += digits
        return found

    def _char(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self) -> None:
        while self._char().isspace():
            self._at += 1

    def _takes(self, char: str) -> bool:
        self._skip()
        if self._char() != char:
            return False
        self._at += 1
        return True

    def _wrong(self, problem: str) -> InvalidArgument:
        before, char, after = self._text[: self._at], self._char(), self._text[self._at + 1 :]
        shown = f"{before} >|{char}|< {after}" if char else before
        return InvalidArgument(
            f"invalid filter [{shown}]: {problem}",
            hint=_HINT,
            subject=self._text,
            details={"filter": self._text, "position": self._at},
        )
