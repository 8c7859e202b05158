"""What a command is: its words, its flags, how many arguments it takes, and what runs it."""

from __future__ import annotations

from corten.flags import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from corten.flags import Flag, Options

Entry = tuple[str, str, str]
"""What a table of commands has for each: the module it is in, its name there, and its summary."""


class Command:
    """One command.

    `arguments` is its usage after the name; `least` and `most` bound the number of arguments;
    `stops` ends option parsing at the first argument; `failure` is the exit code for an engine's
    error. `run(session, options)` does it and returns the exit code; what a session is, its client says.
    `examples` are whole lines for its help.
    """

    __slots__ = ("arguments", "examples", "failure", "flags", "least", "most", "run", "stops", "summary")

    def __init__(
        self,
        summary: str,
        run: Callable[[Any, Options], int],
        *,
        arguments: str = "",
        flags: Sequence[Flag] = (),
        least: int = 0,
        most: int | None = 0,
        stops: bool = False,
        failure: int = 1,
        examples: Sequence[str] = (),
    ) -> None:
        self.summary, self.run = summary, run
        self.arguments, self.flags = arguments, flags
        self.least, self.most = least, most
        self.stops, self.failure = stops, failure
        self.examples = examples

    def usage(self, path: str) -> str:
        """`corten run [OPTIONS] IMAGE [COMMAND] [ARG...]`."""
        words = [path, "[OPTIONS]" if any(not flag.hidden for flag in self.flags) else "", self.arguments]
        return " ".join(word for word in words if word)

    def check_arguments(self, path: str, count: int) -> None:
        """Raises UsageError in docker's words when `count` arguments are too few or too many."""
        if self.least <= count and (self.most is None or count <= self.most):
            return
        if self.most == 0:
            problem = "accepts no arguments"
        elif self.most is None:
            problem = f"requires at least {_arguments(self.least)}"
        elif self.least == self.most:
            problem = f"requires {_arguments(self.least)}"
        elif count < self.least:
            problem = f"requires at least {self.least} and at most {_arguments(self.most)}"
        else:
            problem = f"requires at most {_arguments(self.most)}"
        raise UsageError(f"'{path}' {problem}", bare=False, code=1)


def _arguments(count: int) -> str:
    return f"{count} argument" if count == 1 else f"{count} arguments"
