"""Flags as docker reads them (Go's pflag), from one table per command.

`-itd`, `-p8080:80`, `-p=8080:80`, `--name x`, `--name=x`, `--rm=false`; `--` ends the options, and
for commands that run something the first argument ends them too. The tables are data, so that
help, completion and manual pages come from the same place as the parsing.

This is the lean reader: what executes a command line, of `corten` and of `cortenctl`. The same tables
are a Typer application in `application.py`, which answers every other line. Two readers, because
importing typer takes 66 ms and a whole `corten ps` 26 (docker's: 21; measured, see docs/performance.md).
"""

from __future__ import annotations

from corten import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class UsageError(Exception):
    """The command line itself is wrong.

    `bare` errors (of a single flag) are printed without `corten: ` before them. `code` is the exit
    code where it is not the command's own.
    """

    def __init__(self, message: str, *, bare: bool = True, code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.bare = bare
        self.code = code


class HelpRequested(Exception):
    """`--help` was among the flags."""


_KINDS: dict[str, Callable[[str], Any]] = {
    "bool": values.boolean,
    "int": values.integer,
    "uint16": values.unsigned16,
    "bytes": values.size,
    "decimal": values.nano_cpus,
    "duration": values.duration,
}


class Flag:
    """One flag of a command.

    `kind` is the word help shows for the value, and its default conversion; `convert` another
    one; `many` collects values in a list; `hidden` flags parse but are not shown; `to` names the
    flag whose value this one (an old spelling) sets; `warns` when docker says so of such a one.
    """

    __slots__ = ("convert", "default", "help", "hidden", "kind", "many", "name", "short", "to", "warns")

    def __init__(
        self,
        name: str,
        kind: str,
        help: str,
        *,
        short: str = "",
        default: Any = None,
        convert: Callable[[str], Any] | None = None,
        many: bool | None = None,
        hidden: bool = False,
        to: str = "",
        warns: bool = False,
    ) -> None:
        self.name, self.kind, self.help, self.short = name, kind, help, short
        self.convert = convert or _KINDS.get(kind)
        self.many = kind in ("list", "map", "strings", "filter") if many is None else many
        self.hidden, self.to, self.warns = hidden, to or name, warns
        if default is None and kind in ("string", "int", "bool", "bytes", "decimal", "duration", "uint16"):
            default = {"string": "", "bool": False}.get(kind, 0)
        self.default = default

    def title(self) -> str:
        """`-m, --memory`, as errors name the flag."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"

    def read(self, text: str) -> Any:
        """The value that `text` stands for; raises UsageError."""
        try:
            return self.convert(text) if self.convert else text
        except ValueError as exc:
            raise UsageError(f'invalid argument "{text}" for "{self.title()}" flag: {exc}') from None

    def keep(self, value: Any, options: Options) -> None:
        """Note that the flag was given with this value, already read."""
        if self.warns:
            options.notes[f"Flag --{self.name} has been deprecated, use --{self.to} instead"] = True
        if not self.many:
            options.values[self.to] = value
        elif self.to in options.changed:
            options.values[self.to].append(value)
        else:
            options.values[self.to] = [value]
        options.changed.add(self.to)


class Options:
    """The flags' values by name, which of them were given, the arguments, and what to tell first."""

    __slots__ = ("args", "changed", "notes", "values")

    def __init__(self, flags: Sequence[Flag]) -> None:
        self.values: dict[str, Any] = {}
        for flag in flags:
            if flag.to == flag.name:
                self.values[flag.name] = [] if flag.many and flag.default is None else flag.default
        self.changed: set[str] = set()
        self.args: list[str] = []
        self.notes: dict[str, bool] = {}  # in order, each once

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a flag that this command may not have."""
        return self.values.get(name, default)


def parse(flags: Sequence[Flag], argv: Sequence[str], *, interspersed: bool = True) -> Options:
    """Read `argv`; raises UsageError with docker's words, or HelpRequested."""
    options = Options(flags)
    options.args = scan(flags, argv, lambda flag, text: flag.keep(flag.read(text), options), interspersed=interspersed)
    return options


def scan(
    flags: Sequence[Flag], argv: Sequence[str], take: Callable[[Flag, str], None], *, interspersed: bool = True
) -> list[str]:
    """Call `take` for every flag of `argv` and its text, in their order; the arguments.

    Raises UsageError for what is no flag or lacks its value, and HelpRequested.
    """
    return _Scanner(flags, take).scan(list(argv), interspersed)


class _Scanner:
    def __init__(self, flags: Sequence[Flag], take: Callable[[Flag, str], None]) -> None:
        self._long = {flag.name: flag for flag in flags}
        self._short = {flag.short: flag for flag in flags if flag.short}
        self._take = take
        self._rest: list[str] = []

    def scan(self, argv: list[str], interspersed: bool) -> list[str]:
        self._rest = argv[::-1]
        arguments = []
        while self._rest:
            word = self._rest.pop()
            if word == "--":
                break
            if word[:1] != "-" or word == "-":
                arguments.append(word)
                if not interspersed:
                    break
            elif word.startswith("--"):
                self._parse_long(word)
            else:
                self._parse_short(word[1:], word)
        return arguments + self._rest[::-1]

    def _parse_long(self, word: str) -> None:
        name, equals, value = word[2:].partition("=")
        if not name or name.startswith("-"):
            raise UsageError(f"bad flag syntax: {word}")
        flag = self._long.get(name)
        if flag is None:
            if name == "help":
                raise HelpRequested
            raise UsageError(f"unknown flag: --{name}{self._similar(name)}")
        if not equals:
            value = "true" if flag.kind == "bool" else self._next(f"flag needs an argument: --{name}")
        self._take(flag, value)

    def _parse_short(self, letters: str, word: str) -> None:
        while letters:
            letter, letters = letters[0], letters[1:]
            flag = self._short.get(letter)
            if flag is None:
                if letter == "h":
                    raise HelpRequested
                raise UsageError(f"unknown shorthand flag: '{letter}' in {word}")
            if letters[:1] == "=":
                self._take(flag, letters[1:])
                return
            if flag.kind == "bool":
                self._take(flag, "true")
                continue
            value = letters or self._next(f"flag needs an argument: '{letter}' in {word}")
            self._take(flag, value)
            return

    def _next(self, problem: str) -> str:
        if not self._rest:
            raise UsageError(problem)
        return self._rest.pop()

    def _similar(self, name: str) -> str:
        best = closest(name, [flag.name for flag in self._long.values() if not flag.hidden])
        return f" (did you mean --{best}?)" if best else ""


def closest(word: str, candidates: Sequence[str]) -> str:
    """The candidate that `word` is probably a misspelling of, or nothing."""
    limit = 1 if len(word) < 5 else 2
    scored = [(edit_distance(word, other), abs(len(word) - len(other)), other) for other in candidates]
    distance, _, best = min(scored, default=(limit + 1, 0, ""))
    return best if distance <= limit else ""


def edit_distance(a: str, b: str) -> int:
    """Insertions, deletions, replacements and swaps of neighbours between two words."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, char in enumerate(a, 1):
        current = [i]
        for j, other in enumerate(b, 1):
            best = min(row[j] + 1, current[-1] + 1, row[j - 1] + (char != other))
            if i > 1 and j > 1 and char == b[j - 2] and a[i - 2] == other:
                best = min(best, before[j - 2] + 1)
            current.append(best)
        before, row = row, current
    return row[-1]
