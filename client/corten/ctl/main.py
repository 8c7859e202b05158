"""From the words of the command line to the command, and from what went wrong to an exit code."""

from __future__ import annotations

from importlib import import_module

from corten.docker.flags import HelpRequested, UsageError, closest, parse
from corten.output import err, out, sentence
from corten_shared.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from corten.ctl.command import Command

NOUNS = {
    "namespaces": "Separate sets of names over shared content",
    "content": "Blobs by digest, and what is being written",
    "snapshots": "Layers of file systems",
    "images": "Names for content",
    "containers": "Objects from which tasks are started",
    "tasks": "Containers' processes",
    "leases": "What keeps fresh objects alive",
}
"""Modules of this package, each with COMMANDS."""

VERBS = {
    "run": ("run", "Run a container from an image that is here"),
    "events": ("engine", "Show events as they happen"),
    "gc": ("engine", "Free what nothing refers to"),
    "info": ("engine", "Show the engine and its host"),
    "version": ("engine", "Show the versions of client and daemon"),
}
"""Commands without a noun, and the module of each."""

ALIASES = {
    "namespace": "namespaces", "ns": "namespaces", "snapshot": "snapshots", "image": "images", "i": "images",
    "container": "containers", "c": "containers", "task": "tasks", "t": "tasks", "lease": "leases", "event": "events",
}  # fmt: skip
VERB_ALIASES = {"list": "ls", "remove": "rm", "delete": "rm", "del": "rm", "inspect": "info", "get-info": "info"}
USAGE = 2


def run(argv: Sequence[str]) -> int:
    """Do what `argv` (without the program's name) says; the exit code."""
    from corten.ctl.command import COMMON

    try:
        leading = parse(COMMON, argv, interspersed=False)
    except HelpRequested:
        return _help()
    except UsageError as error:
        return _wrong(error.message)
    words = leading.args
    given = [f"--{name}={leading[name]}" for name in leading.changed]
    if not words or words[0] == "help":
        return _help()
    name, rest = ALIASES.get(words[0], words[0]), words[1:]
    if name in VERBS:
        module = import_module(f"corten.ctl.{VERBS[name][0]}")
        return _invoke(f"cortenctl {name}", module.COMMANDS[name], [*given, *rest])
    if name not in NOUNS:
        return _unknown("cortenctl", words[0], [*NOUNS, *VERBS])
    return _noun(name, given, rest)


def _noun(noun: str, given: list[str], words: list[str]) -> int:
    commands: dict[str, Command] = import_module(f"corten.ctl.{noun}").COMMANDS
    if not words or words[0] in ("--help", "-h", "help"):
        return _noun_help(noun, commands)
    verb = words[0] if words[0] in commands else VERB_ALIASES.get(words[0], words[0])
    if verb not in commands:
        return _unknown(f"cortenctl {noun}", words[0], list(commands))
    return _invoke(f"cortenctl {noun} {verb}", commands[verb], [*given, *words[1:]])


def _invoke(path: str, command: Command, words: list[str]) -> int:
    from corten.ctl.session import Session

    try:
        options = parse(command.flags, words, interspersed=not command.stops)
        command.check(path, len(options.args))
        if options["output"] not in ("", "table", "json"):
            raise UsageError(f"--output is table or json, not {options['output']!r}")
    except HelpRequested:
        return _command_help(path, command)
    except UsageError as error:
        return _wrong(error.message, path)
    try:
        with Session(options) as session:
            return command.run(session, options)
    except CortenError as error:
        err(f"cortenctl: {sentence(error)}")
        return command.failure


def _wrong(problem: str, path: str = "cortenctl") -> int:
    err(f"cortenctl: {problem}")
    err(f"See '{path} --help'")
    return USAGE


def _unknown(path: str, word: str, known: list[str]) -> int:
    best = closest(word, known)
    return _wrong(f"unknown command: {path} {word}" + (f" (did you mean {best}?)" if best else ""), path)


def _help() -> int:
    from corten.ctl.command import COMMON
    from corten.docker.usage import flag_table

    out("Usage:  cortenctl [OPTIONS] COMMAND\n\nThe engine's own objects, over its native API\n\nNouns:")
    out(_listing(NOUNS))
    out("\nCommands:\n" + _listing({name: entry[1] for name, entry in VERBS.items()}))
    out("\nOptions:\n" + flag_table(COMMON))
    out("\nRun 'cortenctl COMMAND --help' for more.")
    return 0


def _noun_help(noun: str, commands: dict[str, Command]) -> int:
    out(f"Usage:  cortenctl {noun} COMMAND\n\n{NOUNS[noun]}\n\nCommands:")
    out(_listing({name: command.summary for name, command in commands.items()}))
    out(f"\nRun 'cortenctl {noun} COMMAND --help' for more.")
    return 0


def _command_help(path: str, command: Command) -> int:
    from corten.docker.usage import flag_table

    out(f"Usage:  {path} [OPTIONS] {command.arguments}".rstrip())
    out(f"\n{command.summary}\n\nOptions:\n{flag_table(command.flags)}")
    return 0


def _listing(entries: dict[str, str]) -> str:
    width = max(map(len, entries)) + 3
    return "\n".join(f"  {name.ljust(width)}{text}" for name, text in entries.items())
