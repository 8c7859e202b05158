"""Help texts, drawn from the tables. Loaded only when someone asks for help."""

from __future__ import annotations

import textwrap

from corten.docker.commands import ALIASES, COMMANDS, COMMON, NOUNS
from corten.output import terminal_width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from corten.docker.command import Command
    from corten.docker.flags import Flag


def command_help(path: str, command: Command) -> str:
    """The help of one command."""
    parts = [f"Usage:  {command.usage(path)}", command.summary]
    if names := _spellings(path):
        parts.append("Aliases:\n  " + ", ".join(names))
    if command.flags:
        parts.append("Options:\n" + flag_table(command.flags))
    return "\n\n".join(parts)


def noun_help(noun: str) -> str:
    """The help of `corten container` and its like."""
    summary, commands = NOUNS[noun]
    return "\n\n".join(
        (
            f"Usage:  corten {noun} COMMAND",
            summary,
            "Commands:\n" + _listing((name, entry[2]) for name, entry in sorted(commands.items())),
            f"Run 'corten {noun} COMMAND --help' for more information on a command.",
        )
    )


def top_help(flags: Sequence[Flag]) -> str:
    """The help of `corten`."""
    rest = sorted(name for name in COMMANDS if name not in COMMON)
    return "\n\n".join(
        (
            "Usage:  corten [OPTIONS] COMMAND",
            "A container engine's command line: docker's words, over the Docker Engine API",
            "Common Commands:\n" + _listing((name, COMMANDS[name][2]) for name in COMMON),
            "Management Commands:\n" + _listing((noun, NOUNS[noun][0]) for noun in NOUNS),
            "Commands:\n" + _listing((name, COMMANDS[name][2]) for name in rest),
            "Global Options:\n" + flag_table(flags),
            "Run 'corten COMMAND --help' for more information on a command.",
        )
    )


def flag_table(flags: Sequence[Flag]) -> str:
    """Flags with their help, sorted by name and wrapped to the terminal."""
    rows = []
    for flag in sorted(flags, key=lambda flag: flag.name):
        if flag.hidden:
            continue
        short = f"-{flag.short}, " if flag.short else "    "
        kind = "" if flag.kind == "bool" else f" {flag.kind}"
        rows.append((f"  {short}--{flag.name}{kind}", flag.help + _default(flag)))
    left = max((len(row[0]) for row in rows), default=0) + 3
    width = max(terminal_width() - left, 24)
    lines = []
    for title, text in rows:
        wrapped = textwrap.wrap(text, width) or [""]
        lines.append(title.ljust(left) + wrapped[0])
        lines += [" " * left + line for line in wrapped[1:]]
    return "\n".join(lines)


def _default(flag: Flag) -> str:
    if flag.default in (None, "", 0, False) or flag.many:
        return ""
    shown = f'"{flag.default}"' if isinstance(flag.default, str) else str(flag.default).lower()
    return f" (default {shown})"


def _listing(pairs: Iterable[tuple[str, str]]) -> str:
    rows = list(pairs)
    left = max(len(name) for name, _ in rows) + 4
    width = max(terminal_width() - left - 2, 24)
    lines = []
    for name, text in rows:
        wrapped = textwrap.wrap(text, width)
        lines.append(f"  {name}".ljust(left) + wrapped[0])
        lines += [" " * left + line for line in wrapped[1:]]
    return "\n".join(lines)


def _spellings(path: str) -> list[str]:
    """Every way to call the command that `path` calls, when there are several."""
    words = path.split()[1:]
    entry = COMMANDS.get(words[0]) if len(words) == 1 else NOUNS[words[0]][1].get(words[1])
    names = [
        f"corten {noun} {name}"
        for noun, (_, commands) in NOUNS.items()
        for name in (*commands, *ALIASES[noun])
        if commands.get(ALIASES[noun].get(name, name)) == entry
    ]
    names += [f"corten {name}" for name, other in COMMANDS.items() if other == entry]
    return names if len(names) > 1 else []
