"""Help texts, drawn from the tables. Loaded only when someone asks for help."""

from __future__ import annotations

import textwrap

from corten.output import terminal_width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from corten.command import Command
    from corten.flags import Flag
    from corten.program import Program


def command_help(program: Program, path: str, command: Command) -> str:
    """The help of one command."""
    parts = [f"Usage:  {command.usage(path)}", command.summary]
    if names := _spellings(program, path):
        parts.append("Aliases:\n  " + ", ".join(names))
    if command.flags:
        parts.append("Options:\n" + flag_table(command.flags))
    if examples := command.examples or program.samples(path, command):
        parts.append("Examples:\n" + "\n".join(f"  {line}" for line in examples))
    return "\n\n".join(parts)


def noun_help(program: Program, noun: str) -> str:
    """The help of `corten container` and its like."""
    parts = [f"Usage:  {program.path(noun)} COMMAND", program.nouns[noun]]
    if names := [alias for alias, name in program.aliases("").items() if name == noun]:
        parts.append("Aliases:\n  " + ", ".join([noun, *names]))
    summaries = {name: summary for name, (_, _, summary) in program.entries(noun).items()}
    parts.append("Commands:\n" + _listing(summaries))
    parts.append(f"Run '{program.path(noun)} COMMAND --help' for more information on a command.")
    return "\n\n".join(parts)


def top_help(program: Program) -> str:
    """The help of the program itself."""
    parts = [f"Usage:  {program.name} [OPTIONS] COMMAND", program.about]
    parts += [f"{title}:\n{_listing(rows)}" for title, rows in program.sections()]
    parts.append("Global Options:\n" + flag_table(program.flags))
    if program.examples:
        parts.append("Examples:\n" + "\n".join(f"  {line}" for line in program.examples))
    parts.append(f"Run '{program.name} COMMAND --help' for more information on a command.")
    return "\n\n".join(parts)


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


def _listing(rows: Mapping[str, str]) -> str:
    left = max(map(len, rows)) + 4
    width = max(terminal_width() - left - 2, 24)
    lines = []
    for name, text in rows.items():
        wrapped = textwrap.wrap(text, width)
        lines.append(f"  {name}".ljust(left) + wrapped[0])
        lines += [" " * left + line for line in wrapped[1:]]
    return "\n".join(lines)


def _spellings(program: Program, path: str) -> list[str]:
    """Every way to call the command that `path` calls, when there are several."""
    *nouns, command = path.split()[1:]
    entry = program.entries("".join(nouns))[command]
    names = [
        program.path(noun, name)
        for noun in (*program.nouns, "")
        for entries, aliases in [(program.entries(noun), program.aliases(noun))]
        for name in (*entries, *aliases)
        if entries.get(aliases.get(name, name)) == entry
    ]
    return names if len(names) > 1 else []
