"""What a client's command line is: its tables, and the one place that says who reads a line.

    PROGRAM NOUN COMMAND    `entries(noun)`, e.g. `cortenctl content ls`
    PROGRAM COMMAND         `entries("")`, e.g. `corten ps`

`corten` and `cortenctl` are a `Program` each (`docker/main.py`, `ctl/main.py`). What reads a command line, gives
help (`usage.py`), and completes (`application.py`, `completion.py`) is the same for both, and knows either only as
what is declared here.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from io import TextIOWrapper

from corten.flags import HelpRequested, UsageError, parse
from corten.output import err, sentence
from corten_shared.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from corten.command import Command, Entry
    from corten.flags import Flag, Options

    Find = Callable[[Any], Iterable[str]]
    """What finds names to complete, given a session."""


class Program(ABC):
    """A command line.

    `about` is one line for its help, `flags` stand before the command, and `nouns` have a summary each.
    `examples` are whole lines.
    """

    name: str
    about: str
    flags: Sequence[Flag]
    nouns: Mapping[str, str]
    examples: Sequence[str] = ()

    # -- tables ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def entries(self, noun: str) -> Mapping[str, Entry]:
        """The commands of a noun, or with "" those that have none."""

    @abstractmethod
    def aliases(self, noun: str) -> Mapping[str, str]:
        """Other names of a noun's commands, or with "" of nouns and of commands that have none."""

    @abstractmethod
    def load(self, entry: Entry) -> Command:
        """The command of a table's entry, from its module."""

    @abstractmethod
    def sections(self) -> Iterable[tuple[str, Mapping[str, str]]]:
        """What the program's help lists: titles, and summaries by name."""

    def path(self, *words: str) -> str:
        """`corten container ls`; empty words are left out."""
        return " ".join(filter(None, (self.name, *words)))

    def named(self, noun: str, word: str) -> str:
        """The name that `word`, which may be an alias, stands for below `noun`."""
        return word if word in self.entries(noun) else self.aliases(noun).get(word, word)

    def samples(self, path: str, command: Command) -> Sequence[str]:
        """Whole lines for the help of a command that has no examples of its own."""
        return ()

    # -- what it does ---------------------------------------------------------------------------------------------

    @abstractmethod
    def version(self) -> str:
        """The line that `--version` prints."""

    @abstractmethod
    def session(self, leading: Options, options: Options) -> Any:
        """What commands work with, from the global options and the command's own. Connects to nothing."""

    @abstractmethod
    def execute(self, path: str, command: Command, leading: Options, options: Options) -> int:
        """Run `command`, called as `path`; the exit code."""

    @abstractmethod
    def mistaken(self, path: str, usage: str, exc: UsageError, failure: int = 125) -> int:
        """Tell what is wrong with the command line; the exit code. `failure` is the command's own."""

    @abstractmethod
    def unknown(self, path: str, word: str, best: str) -> int:
        """Tell that there is no such command, but perhaps `best` was meant; the exit code."""

    @abstractmethod
    def flag_values(self, flag: Flag) -> Sequence[str] | Find | None:
        """Values that complete `flag`; None leaves it to the shell, which offers files."""

    @abstractmethod
    def argument_names(self, noun: str, name: str, argument: str) -> Find | None:
        """What finds names for `argument`, a bare word of the usage line (`CONTAINER`) of a noun's command."""

    # -- reading a line -------------------------------------------------------------------------------------------

    def main(self) -> int:
        """The command line's entry: never a traceback for what a user can cause."""
        for stream in (sys.stdout, sys.stderr):  # names may hold what the terminal's encoding has not
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            return self.run(sys.argv[1:])
        except CortenError as exc:
            err(f"{self.name}: {sentence(exc)}")
            return 1

    def run(self, argv: Sequence[str]) -> int:
        """Do what `argv` (without the program's name) says; the exit code.

        The one place that chooses between the two readers of a command line: a line that the lean one
        (`flags.py`) can read is executed at once. Every other line asks for help or completion or is
        mistaken, and is answered by the Typer application, whose import would double a command's time.
        """
        line = self._read(argv)
        if line is None:
            from corten import application

            return application.run(self, argv)
        return self.execute(*line)

    def _read(self, argv: Sequence[str]) -> tuple[str, Command, Options, Options] | None:
        """What `execute` takes, or None when there is nothing to execute."""
        try:
            leading = parse(self.flags, argv, interspersed=False)
            found = self._find(leading.args)
            if found is None or leading["version"]:
                return None
            path, command, words = found
            return path, command, leading, parse(command.flags, words, interspersed=not command.stops)
        except (HelpRequested, UsageError):
            return None

    def _find(self, words: list[str]) -> tuple[str, Command, list[str]] | None:
        """The command that `words` start with: its path, itself, and the words after it."""
        noun = self.named("", words[0]) if words else ""
        if noun in self.nouns:
            words = words[1:]
        else:
            noun = ""
        entries = self.entries(noun)
        name = self.named(noun, words[0]) if words else ""
        return (self.path(noun, name), self.load(entries[name]), words[1:]) if name in entries else None
