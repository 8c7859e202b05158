"""Regular expressions in RE2's syntax, matched in time linear in the text.

Filters come from clients. Python's `re` backtracks, so that one `(a+)+b` would hold a worker for hours; Go's, whose
syntax filters promise, does not. This matcher runs all alternatives side by side (Thompson's construction) and
remembers the sets of states that it has seen. It only says whether a text contains a match, which is all that a
filter asks.

    expression = branch ("|" branch)*
    branch     = (atom repeat?)*
    repeat     = ("*" | "+" | "?" | "{n[,[m]]}") "?"?
    atom       = literal | "." | "[" class "]" | "(" ["?:" | "?i:" | "?P<name>"] expression ")"
               | "^" | "$" | \\A | \\z | \\b | \\B | \\d \\D \\s \\S \\w \\W | \\n \\t … | \\x41

`(?i)` at the start ignores case, `(?s)` lets `.` match a newline. Not there: Unicode classes (\\p), POSIX classes,
flags in the middle, and (as in RE2) back references and lookarounds; each is refused with a word.
"""

from __future__ import annotations

from corten_shared.errors import ResourceExhausted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PATTERN = 1000
"""Characters of a pattern."""
MAX_STATES = 1000
"""States of its automaton; what repeats of repeats run into."""
MAX_WORK = 100_000
"""States visited in one search, those remembered not counted: about a tenth of a second."""
MAX_REPEAT = 1000
"""Highest count in braces (RE2's)."""
_MAX_DEPTH = 100
_CACHE = 2000
"""Transitions remembered per pattern."""

_SPACES = "\t\n\f\r "
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_EMPTY, _START, _END, _WORD, _NOT_WORD = "empty", "start", "end", "word", "not word"


class PatternError(ValueError):
    """The pattern is wrong; says where."""


class Pattern:
    """A compiled pattern; for one thread at a time."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_PATTERN:
            raise PatternError(f"a pattern has at most {MAX_PATTERN} characters")
        program = _Program()
        self._begin = _Parser(text, program).parse(program.add(_ACCEPT))
        self._steps = program.steps
        self._seen: dict[tuple[frozenset[int], str, bool], frozenset[int]] = {}
        self._work = 0

    def search(self, text: str) -> bool:
        """Whether any part of `text` matches. Raises ResourceExhausted when that is too much work to find out."""
        self._work = 0
        states: frozenset[int] = frozenset()
        before = ""
        for at in range(len(text) + 1):
            after = text[at : at + 1]
            states = self._follow(states | {self._begin}, before, after)
            if _ACCEPTED in states:
                return True
            if not after:
                return False
            states = self._advance(states, after)
            before = after
        return False

    def _advance(self, states: frozenset[int], char: str) -> frozenset[int]:
        key = (states, char, True)
        found = self._seen.get(key)
        if found is None:
            steps = self._steps
            found = frozenset(
                targets[0] for accept, targets in (steps[state] for state in states if state != _ACCEPTED)
                if callable(accept) and accept(char)
            )  # fmt: skip
            self._remember(key, found)
        return found

    def _follow(self, states: frozenset[int], before: str, after: str) -> frozenset[int]:
        """Every state that is reached without taking a character, between `before` and `after`."""
        kind = ("^" if not before else "w" if _is_word(before) else "-") + (
            "$" if not after else "w" if _is_word(after) else "-"
        )
        key = (states, kind, False)
        found = self._seen.get(key)
        if found is None:
            found = frozenset(self._closure(states, before, after))
            self._remember(key, found)
        return found

    def _closure(self, states: frozenset[int], before: str, after: str) -> set[int]:
        boundary = _is_word(before) != _is_word(after)
        holds = {_EMPTY: True, _START: not before, _END: not after, _WORD: boundary, _NOT_WORD: not boundary}
        reached: set[int] = set()
        pending = list(states)
        while pending:
            state = pending.pop()
            if state in reached:
                continue
            reached.add(state)
            accept, targets = self._steps[state]
            if isinstance(accept, str) and holds.get(accept):
                pending.extend(targets)
        return reached

    def _remember(self, key: tuple[frozenset[int], str, bool], found: frozenset[int]) -> None:
        self._work += len(key[0]) + len(found)
        if self._work > MAX_WORK:
            raise ResourceExhausted("a regular expression of a filter takes too long", hint="simplify it")
        if len(self._seen) >= _CACHE:
            self._seen.clear()
        self._seen[key] = found


_ACCEPT = "accept"
_ACCEPTED = 0
"""The accepting state: the first that is made."""


class _Program:
    """States: what a step takes (a test of one character, or a condition on its place), and where it leads."""

    def __init__(self) -> None:
        self.steps: list[tuple[Callable[[str], bool] | str, list[int]]] = []
        self._made = 0

    def add(self, accept: Callable[[str], bool] | str, *targets: int) -> int:
        self.count()
        self.steps.append((accept, list(targets)))
        return len(self.steps) - 1

    def count(self) -> None:
        """Count a state, or the repeat of a part that has none."""
        self._made += 1
        if self._made > MAX_STATES:
            raise PatternError("the pattern is too large; repeat less")


class _Parser:
    """Reads a pattern by recursive descent.

    A part of it is a function that, given the state after the part, makes its states and returns the first.
    """

    def __init__(self, text: str, program: _Program) -> None:
        self._text, self._program = text, program
        self._at = self._depth = 0
        self._fold = self._dotall = False

    def parse(self, accept: int) -> int:
        self._flags()
        node = self._alternatives()
        if self._at < len(self._text):
            raise self._wrong("unexpected )")
        return node(accept)

    def _flags(self) -> None:
        for flag in ("(?i)", "(?s)", "(?is)", "(?si)"):
            if self._text.startswith(flag):
                self._at = len(flag)
                self._fold, self._dotall = "i" in flag, "s" in flag

    def _alternatives(self) -> Callable[[int], int]:
        branches = [self._branch()]
        while self._takes("|"):
            branches.append(self._branch())
        if len(branches) == 1:
            return branches[0]
        return lambda after: self._program.add(_EMPTY, *(branch(after) for branch in branches))

    def _branch(self) -> Callable[[int], int]:
        parts = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            parts.append(self._repeated(self._atom()))

        def build(after: int) -> int:
            for part in reversed(parts):
                after = part(after)
            return after

        return build

    def _repeated(self, node: Callable[[int], int]) -> Callable[[int], int]:
        counts = self._counts()
        if counts is None:
            return node
        self._takes("?")  # lazy: which match is found does not matter
        if self._at < len(self._text) and self._text[self._at] in "*+?":
            raise self._wrong("a repeat of a repeat needs parentheses")
        least, most = counts

        def build(after: int) -> int:
            if most is None:
                loop = self._program.add(_EMPTY)
                self._program.steps[loop][1].extend((node(loop), after))
                after = loop
            else:
                end = after
                for _ in range(most - least):
                    after = self._program.add(_EMPTY, node(after), end)
            for _ in range(least):
                self._program.count()
                after = node(after)
            return after

        return build

    def _counts(self) -> tuple[int, int | None] | None:
        """How often the atom before may stand; None without a repeat."""
        for sign, counts in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._takes(sign):
                return counts
        end = self._text.find("}", self._at)
        if self._text[self._at : self._at + 1] != "{" or end < 0:
            return None
        first, comma, second = self._text[self._at + 1 : end].partition(",")
        if not _is_number(first) or (second and not _is_number(second)):
            return None  # a literal brace, as in RE2
        self._at = end + 1
        least = int(first)
        most = (int(second) if second else None) if comma else least
        if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
            raise self._wrong("bad repeat count")
        return least, most

    def _atom(self) -> Callable[[int], int]:
        char = self._next()
        if char == "(":
            return self._group()
        if char == "[":
            return self._one(self._class())
        if char == ".":
            return self._one((lambda c: True) if self._dotall else (lambda c: c != "\n"))
        if char in "^$":
            return self._place(_START if char == "^" else _END)
        if char in "*+?":
            self._at -= 1
            raise self._wrong("nothing to repeat")
        if char == "\\":
            return self._escape()
        return self._one(self._literal(char))

    def _group(self) -> Callable[[int], int]:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._wrong("parentheses are nested too deep")
        fold = self._fold
        if self._takes("?"):
            if self._takes("i:"):
                self._fold = True
            elif self._takes("P<") or (self._text[self._at :].startswith("<") and self._takes("<")):
                self._name()
            elif not self._takes(":"):
                raise self._wrong("this kind of group is not supported")
        node = self._alternatives()
        self._fold = fold
        if not self._takes(")"):
            raise self._wrong("missing )")
        self._depth -= 1
        return node

    def _name(self) -> None:
        end = self._text.find(">", self._at)
        if end < 0 or not self._text[self._at : end].isidentifier():
            raise self._wrong("bad name of a group")
        self._at = end + 1

    def _escape(self) -> Callable[[int], int]:
        char = self._next("nothing after \\")
        places = {"A": _START, "z": _END, "b": _WORD, "B": _NOT_WORD}
        if char in places:
            return self._place(places[char])
        found = _shorthand(char)
        return self._one(found or self._literal(self._escaped(char)))

    def _escaped(self, char: str) -> str:
        if char in _ESCAPES:
            return _ESCAPES[char]
        if char == "x":
            return self._hexadecimal()
        if char.isalnum():
            self._at -= 1
            raise self._wrong(f"\\{char} is not supported")
        return char

    def _hexadecimal(self) -> str:
        if self._takes("{"):
            end = self._text.find("}", self._at)
            digits = self._text[self._at : end] if end > 0 else ""
            self._at = end + 1
        else:
            digits = self._text[self._at : self._at + 2]
            self._at += 2
        try:
            return chr(int(digits, 16))
        except (ValueError, OverflowError):
            raise self._wrong("bad \\x escape") from None

    def _class(self) -> Callable[[str], bool]:
        negated = self._takes("^")
        ranges: list[tuple[str, str]] = []
        others: list[Callable[[str], bool]] = []
        first = True
        while first or not self._takes("]"):
            first = False
            if self._text.startswith("[:", self._at):
                raise self._wrong("named classes are not supported")
            low = self._member(others)
            if low is None:
                continue
            high = low
            if self._text[self._at : self._at + 1] == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                found = self._member(others)
                if found is None or found < low:
                    raise self._wrong("bad range of characters")
                high = found
            ranges.append((low, high))
        return self._members(ranges, others, negated)

    def _member(self, others: list[Callable[[str], bool]]) -> str | None:
        """A character of a class; None when it was a shorthand like \\d."""
        char = self._next("missing ]")
        if char != "\\":
            return char
        char = self._next("missing ]")
        found = _shorthand(char)
        if found is None:
            return self._escaped(char)
        others.append(found)
        return None

    def _members(
        self, ranges: list[tuple[str, str]], others: list[Callable[[str], bool]], negated: bool
    ) -> Callable[[str], bool]:
        fold = self._fold

        def has(char: str) -> bool:
            forms = (char, char.lower(), char.upper()) if fold else (char,)
            return any(low <= form <= high for form in forms for low, high in ranges) or any(
                other(char) for other in others
            )

        return (lambda char: not has(char)) if negated else has

    def _literal(self, char: str) -> Callable[[str], bool]:
        if self._fold:
            folded = char.casefold()
            return lambda c: c.casefold() == folded
        return lambda c: c == char

    def _one(self, accept: Callable[[str], bool]) -> Callable[[int], int]:
        return lambda after: self._program.add(accept, after)

    def _place(self, condition: str) -> Callable[[int], int]:
        return lambda after: self._program.add(condition, after)

    def _takes(self, text: str) -> bool:
        if not self._text.startswith(text, self._at):
            return False
        self._at += len(text)
        return True

    def _next(self, problem: str = "unexpected end") -> str:
        if self._at >= len(self._text):
            raise self._wrong(problem)
        self._at += 1
        return self._text[self._at - 1]

    def _wrong(self, problem: str) -> PatternError:
        return PatternError(f"{problem} at character {min(self._at, len(self._text)) + 1}")


def _shorthand(char: str) -> Callable[[str], bool] | None:
    """\\d and its like; ASCII only, as in RE2."""
    lower = char.lower()
    if lower not in ("d", "s", "w"):
        return None
    tests: dict[str, Callable[[str], bool]] = {
        "d": lambda c: "0" <= c <= "9",
        "s": lambda c: c in _SPACES,
        "w": lambda c: _is_word(c),
    }
    test = tests[lower]
    return test if char == lower else lambda c: not test(c)


def _is_word(char: str) -> bool:
    return char == "_" or (char.isascii() and char.isalnum())


def _is_number(text: str) -> bool:
    return 0 < len(text) <= 5 and text.isascii() and text.isdigit()
