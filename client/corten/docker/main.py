"""From the words of the command line to the command, and from what went wrong to an exit code."""

from __future__ import annotations

import sys
from io import TextIOWrapper

from corten.docker.command import Command
from corten.docker.commands import ALIASES, COMMANDS, NOUNS, Entry
from corten.docker.engine import EngineError
from corten.docker.flags import Flag, HelpRequested, Options, UsageError, parse
from corten.docker.session import Session
from corten.output import err, escape, out, sentence
from corten_shared.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

ENGINE_FAILED = 125

GLOBAL_FLAGS = [
    Flag("config", "string", "Location of client config files"),
    Flag("context", "string", "Name of the context to use", short="c"),
    Flag("debug", "bool", "Show a traceback for errors of the client itself", short="D"),
    Flag("host", "list", "Daemon socket to connect to", short="H"),
    Flag("log-level", "string", "Accepted for docker's sake", short="l", default="info"),
    Flag("tls", "bool", "Use TLS; implied by --tlsverify"),
    Flag("tlscacert", "string", "Trust certs signed only by this CA"),
    Flag("tlscert", "string", "Path to TLS certificate file"),
    Flag("tlskey", "string", "Path to TLS key file"),
    Flag("tlsverify", "bool", "Use TLS and verify the remote"),
    Flag("version", "bool", "Print version information and quit", short="v"),
]


def run(argv: Sequence[str]) -> int:
    """Do what `argv` (without the program's name) says; the exit code.

    The one place that chooses between the two readers of a command line: a line that the lean one
    (`flags.py`) can read is executed at once. Every other line asks for help or completion or is
    mistaken, and is answered by the Typer application, whose import would double a command's time.
    """
    line = _read(argv)
    if line is None:
        from corten.docker import application

        return application.run(argv)
    return execute(*line)


def _read(argv: Sequence[str]) -> tuple[str, Command, Options, Options] | None:
    """What `execute` takes, or None when there is nothing to execute."""
    try:
        leading = parse(GLOBAL_FLAGS, argv, interspersed=False)
        found = _find(leading.args)
        if found is None or leading["version"]:
            return None
        path, entry, words = found
        command = load(entry)
        return path, command, leading, parse(command.flags, words, interspersed=not command.stops)
    except (HelpRequested, UsageError):
        return None


def _find(words: list[str]) -> tuple[str, Entry, list[str]] | None:
    """The command that `words` start with: its path, where it is, and the words after it."""
    path, entries, aliases = "corten", COMMANDS, dict[str, str]()
    if words and words[0] in NOUNS:
        noun, *words = words
        path, entries, aliases = f"corten {noun}", NOUNS[noun][1], ALIASES[noun]
    name = aliases.get(words[0], words[0]) if words else ""
    return (f"{path} {name}", entries[name], words[1:]) if name in entries else None


def load(entry: Entry) -> Command:
    """The command of a table's entry, from its module."""
    module, name, _ = entry
    command = getattr(__import__(f"corten.docker.{module}", fromlist=[name]), name)
    assert isinstance(command, Command)
    return command


def execute(path: str, command: Command, leading: Options, options: Options) -> int:
    """Run `command`, called as `path`, with the global and its own options; the exit code."""
    session = Session(leading)
    session.path = path
    for note in options.notes:
        out(note)
    try:
        command.check_arguments(path, len(options.args))
        return command.run(session, options)
    except UsageError as exc:
        return usage_error(path, command.usage(path), exc, command.failure)
    except CortenError as exc:
        return _failed(path, command, exc)


def _failed(path: str, command: Command, exc: CortenError) -> int:
    """Report an error. `run` says who speaks and where its help is, as docker's does."""
    text = sentence(exc)
    if command.failure == 1:
        err(text)
        return 1
    err(f"corten: {text}")
    if not isinstance(exc, EngineError):
        return command.failure
    err(f"\nRun '{path} --help' for more information")
    return exit_code(exc.reason)


def exit_code(reason: str) -> int:
    """127 when the engine's words mean "no such command", 126 "cannot be executed", else 125."""
    text = reason.lower()
    if "executable file not found" in text or "no such file or directory" in text:
        return 127
    if "permission denied" in text or "is a directory" in text:
        return 126
    return ENGINE_FAILED


def usage_error(path: str, usage: str, exc: UsageError, failure: int = ENGINE_FAILED) -> int:
    """Tell what is wrong with the command line; the exit code. `failure` is the command's own."""
    message = escape(exc.message)
    err(f"{message if exc.bare else f'corten: {message}'}\n\nUsage:  {usage}\n")
    err(f"Run '{path} --help' for more information")
    return exc.code or (ENGINE_FAILED if exc.bare else failure)


def main() -> int:
    """The command line's entry: never a traceback for what a user can cause."""
    for stream in (sys.stdout, sys.stderr):  # names may hold what the terminal's encoding has not
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return run(sys.argv[1:])
    except CortenError as exc:
        err(f"corten: {sentence(exc)}")
        return 1
