"""From the words of the command line to the command, and from what went wrong to an exit code."""

from __future__ import annotations

import sys
from io import TextIOWrapper

from corten.docker.command import Command
from corten.docker.commands import ALIASES, COMMANDS, NOUNS
from corten.docker.engine import EngineError
from corten.docker.flags import Flag, HelpRequested, Options, UsageError, closest, parse
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
    """Do what `argv` (without the program's name) says; the exit code."""
    try:
        options = parse(GLOBAL_FLAGS, argv, interspersed=False)
    except HelpRequested:
        return _top_help()
    except UsageError as exc:
        return _usage_error("corten", "corten [OPTIONS] COMMAND [ARG...]", exc, ENGINE_FAILED)
    if options["version"]:
        from corten.__main__ import version_line

        out(version_line())
        return 0
    return _dispatch(options)


def _dispatch(options: Options) -> int:
    words = options.args
    if not words:
        return _top_help()
    name, rest = words[0], words[1:]
    if name == "help":
        return _dispatch_help(options, rest)
    if name in NOUNS:
        return _dispatch_noun(options, name, rest)
    entry = COMMANDS.get(name)
    if entry is None:
        return _unknown("corten", name, [*COMMANDS, *NOUNS])
    return _invoke(options, f"corten {name}", entry, rest)


def _dispatch_help(options: Options, rest: list[str]) -> int:
    if not rest:
        return _top_help()
    options.args = [*rest, "--help"]
    return _dispatch(options)


def _dispatch_noun(options: Options, noun: str, words: list[str]) -> int:
    from corten.docker import usage

    if not words or words[0] in ("--help", "-h", "help"):
        out(usage.noun_help(noun))
        return 0
    commands = NOUNS[noun][1]
    name = ALIASES[noun].get(words[0], words[0])
    if name not in commands:
        if name.startswith("-"):
            problem = UsageError(f"unknown flag: {name}")
            return _usage_error(f"corten {noun}", f"corten {noun} COMMAND", problem, ENGINE_FAILED)
        return _unknown(f"corten {noun}", name, list(commands))
    return _invoke(options, f"corten {noun} {name}", commands[name], words[1:])


def _invoke(options: Options, path: str, entry: tuple[str, str, str], words: list[str]) -> int:
    command: Command = _load(*entry[:2])
    session = Session(options)
    session.path = path
    try:
        parsed = parse(command.flags, words, interspersed=not command.stops)
        command.check_arguments(path, len(parsed.args))
        return command.run(session, parsed)
    except HelpRequested:
        from corten.docker import usage

        out(usage.command_help(path, command))
        return 0
    except UsageError as exc:
        code = exc.code or (ENGINE_FAILED if exc.bare else command.failure)
        return _usage_error(path, command.usage(path), exc, code)
    except CortenError as exc:
        return _failed(path, command, exc)


def _load(module: str, name: str) -> Command:
    command = getattr(__import__(f"corten.docker.{module}", fromlist=[name]), name)
    assert isinstance(command, Command)
    return command


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


def _usage_error(path: str, usage: str, exc: UsageError, code: int) -> int:
    message = escape(exc.message)
    err(f"{message if exc.bare else f'corten: {message}'}\n\nUsage:  {usage}\n")
    err(f"Run '{path} --help' for more information")
    return code


def _unknown(path: str, name: str, known: list[str]) -> int:
    best = closest(name, known)
    hint = f"\n\nDid you mean this?\n        {best}" if best else ""
    usage = f"Usage:  {path}\n\n" if path != "corten" else ""
    err(f"corten: unknown command: {path} {escape(name)}{hint}\n\n{usage}Run '{path} --help' for more information")
    return 1


def _top_help() -> int:
    from corten.docker import usage

    out(usage.top_help(GLOBAL_FLAGS))
    return 0


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
