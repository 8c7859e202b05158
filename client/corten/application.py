"""A client's command line as a Typer application, made from the tables that the lean reader reads.

    corten                 Typer, a `Group`, with the options in `Program.flags`
    ├── container          sub-Typer, a `Group` for each of `Program.nouns`
    │   ├── run            a `Single`, one option for each Flag of its Command
    │   └── ...
    └── run, ps, ...       commands without a noun, likewise

It answers every line that `Program.run` does not execute at once: help, completion, mistakes. Executing
works too, and ends in the same `Program.execute`; a test walks both readers over every flag. That no
command goes this way is a matter of time alone: importing typer takes 66 ms, and pydantic, through
which typer reads values, another 100, where the whole of `corten ps` takes 26.

A command is made when it is first asked for, so that completing `corten ps --` loads no other.

Docker's spelling of options (Go's pflag) is not Typer's: `-p=80`, `--rm=false`, `-itp80`. `spell` reads
it, as the lean reader does, and hands Typer the one form that both know: `--publish=80 --rm`. A
boolean's false is `--rm:false` in between, which no one can type.
"""

from __future__ import annotations

import inspect
import os
import sys
from types import GenericAlias
from typing import Any

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from corten import completion, usage
from corten.flags import Flag, HelpRequested, Options, UsageError, closest, scan
from corten.output import out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from corten.command import Command
    from corten.program import Program

FALSE = ":false"
TYPES: dict[str, type] = {"int": int, "uint16": int, "bytes": int, "decimal": int, "duration": int, "bool": bool}
"""Types of flags' values by kind; all others are text as far as Typer is concerned."""
_TYPERS_OWN = [Flag(f"{verb}-completion", "bool", "") for verb in ("install", "show")]


def run(program: Program, argv: Sequence[str]) -> int:
    """Do what `argv` (without the program's name) says; the exit code."""
    if completion.variable(program) in os.environ:
        sys.modules.setdefault("rich", None)  # type: ignore[arg-type]  # typer would draw each help line with it
    try:
        code = application(program)(list(argv), prog_name=program.name, standalone_mode=False)
    except SystemExit as exc:  # how Typer's completion leaves
        code = exc.code
    return code if isinstance(code, int) else 0


def application(program: Program) -> typer.Typer:
    """The whole command line, its commands not yet loaded."""
    app = typer.Typer(
        name=program.name,
        cls=_group_class(program, ""),
        invoke_without_command=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_signed(_root, _parameters(program, program.flags)))
    for noun, summary in program.nouns.items():
        group = typer.Typer(cls=_group_class(program, noun), invoke_without_command=True, help=summary)
        group.callback()(_noun)
        app.add_typer(group, name=noun)
    return app


def _root(ctx: typer.Context, **given: Any) -> None:
    program: Program = ctx.command.program  # type: ignore[attr-defined]
    if options_of(program.flags, ctx)["version"]:
        out(program.version())
        raise typer.Exit
    _noun(ctx)


def _noun(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        out(ctx.get_help())


class _OnlyGiven:
    """Typer reads every option that a command has; here, the ones that are in the words.

    The others are None either way, but reading a first value imports pydantic.
    """

    _words: list[str] | None = None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") + 1 if "--" in args else len(args)
        self._words = [word.partition("=")[0] for word in args[:end]]
        try:
            found: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]
        finally:
            self._words = None
        return found

    def get_params(self, ctx: Any) -> list[Any]:
        found: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        if self._words is None:
            return found
        return [param for param in found if self._is_given(param)]

    def _is_given(self, param: Any) -> bool:
        names = ("--",) if param.param_type_name == "argument" else (*param.opts, *param.secondary_opts)
        return any(name in (self._words or ()) for name in names)


class Single(_OnlyGiven, TyperCommand):
    """A command that reads its words and shows its help as docker's does; a subclass for each."""

    program: Program
    table: Command

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words after the command's name into the context."""
        try:
            words = spell(self.table.flags, args, interspersed=not self.table.stops, tolerant=ctx.resilient_parsing)
        except UsageError as exc:
            path = ctx.command_path
            code = self.program.mistaken(path, self.table.usage(path), exc, self.table.failure)
            raise typer.Exit(code) from None
        return super().parse_args(ctx, words)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The same text that `usage.py` draws from the table."""
        formatter.write(usage.command_help(self.program, ctx.command_path, self.table))

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Names of options, unless the words belong to what runs in the container by now."""
        if self.table.stops and ctx.params.get(completion.ARGUMENTS):
            return []
        return _typeable(super().shell_complete(ctx, incomplete))


class Group(_OnlyGiven, TyperGroup):
    """A group that makes its commands from their table when they are asked for; a subclass for each."""

    program: Program
    noun: str

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options before the command's name into the context."""
        known = [] if self.noun else [*self.program.flags, *_TYPERS_OWN]
        try:
            words = spell(known, args, interspersed=False, tolerant=ctx.resilient_parsing)
        except UsageError as exc:
            path = self.program.path(self.noun)
            form = f"{path} COMMAND" if self.noun else f"{path} [OPTIONS] COMMAND [ARG...]"
            raise typer.Exit(self.program.mistaken(path, form, exc)) from None
        return super().parse_args(ctx, words)

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, loaded or not."""
        return list(dict.fromkeys([*self.program.entries(self.noun), *self.commands]))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name or alias, or None."""
        name, entries = self.program.named(self.noun, cmd_name), self.program.entries(self.noun)
        if name in entries and name not in self.commands:
            self.commands[name] = _command(self.program, self.noun, name, self.program.load(entries[name]))
        return self.commands.get(name)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that `args` start with and the words after it. `help X` is `X --help`."""
        if args[0] == "help":
            args = [*(word for word in args[1:] if not word.startswith("-")), "--help"]
        found = self.get_command(ctx, args[0])
        if found is None and not ctx.resilient_parsing:
            if args == ["--help"]:
                out(ctx.get_help())
                raise typer.Exit
            best = closest(args[0], self.list_commands(ctx))
            raise typer.Exit(self.program.unknown(self.program.path(self.noun), args[0], best))
        return (found.name if found else None), found, args[1:]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The same text that `usage.py` draws from the tables."""
        formatter.write(usage.noun_help(self.program, self.noun) if self.noun else usage.top_help(self.program))

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Names of commands and options."""
        return _typeable(super().shell_complete(ctx, incomplete))


def _typeable(found: list[Any]) -> list[Any]:
    return [item for item in found if not item.value.endswith(FALSE)]


def _group_class(program: Program, noun: str) -> type[Group]:
    return type("Group", (Group,), {"program": program, "noun": noun})


def _command(program: Program, noun: str, name: str, command: Command) -> Any:
    """One command as Typer makes it from a function's signature."""

    def call(ctx: typer.Context, **given: Any) -> None:
        leading = options_of(program.flags, ctx.find_root())
        options = options_of(command.flags, ctx)
        raise typer.Exit(program.execute(ctx.command_path, command, leading, options))

    complete = completion.of_arguments(program, noun, name, command)
    arguments = inspect.Parameter(
        completion.ARGUMENTS,
        inspect.Parameter.KEYWORD_ONLY,
        default=typer.Argument(None, metavar=command.arguments, autocompletion=complete),
        annotation=list[str],
    )
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(
        name,
        cls=type("Single", (Single,), {"program": program, "table": command}),
        help=command.summary,
        context_settings={"allow_interspersed_args": not command.stops},
    )(_signed(call, [*_parameters(program, command.flags), arguments]))
    return typer.main.get_command(single)


def _signed(function: Callable[..., None], parameters: Sequence[inspect.Parameter]) -> Callable[..., None]:
    """`function`, declared to take `ctx` and these instead of `**given`: what Typer makes options from."""
    ctx = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    vars(function)["__signature__"] = inspect.Signature([ctx, *parameters])
    return function


def _parameters(program: Program, flags: Sequence[Flag]) -> list[inspect.Parameter]:
    kind = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(_identifier(flag), kind, default=_option(program, flag), annotation=_type(flag))
        for flag in flags
    ]


def _option(program: Program, flag: Flag) -> Any:
    """A flag's Typer option. Its default is None, which says that it was not given."""
    name = f"--{flag.name}"
    return typer.Option(
        None,
        f"{name}/{name}{FALSE}" if flag.kind == "bool" else name,
        *([f"-{flag.short}"] if flag.short else []),
        help=flag.help,
        metavar=flag.kind,
        hidden=flag.hidden,
        parser=None if flag.kind == "bool" else flag.read,
        autocompletion=completion.of_flag(program, flag),
    )


def _type(flag: Flag) -> Any:
    kind = TYPES.get(flag.kind, str)
    return GenericAlias(list, (kind,)) if flag.many else kind | None


def _identifier(flag: Flag) -> str:
    return f"{flag.name.replace('-', '_')}_"  # no keyword of Python's, and not ours


def spell(flags: Sequence[Flag], words: Sequence[str], *, interspersed: bool, tolerant: bool = False) -> list[str]:
    """`words` in the spelling that Typer knows; raises UsageError.

    Every value is read here already: the first wrong one is what is told, also when a later one
    would replace it or ask for help. `tolerant` stops at what is wrong (the line is being typed).
    """
    spelt: list[str] = []

    def take(flag: Flag, text: str) -> None:
        value = flag.read(text)
        if flag.kind == "bool":
            spelt.append(f"--{flag.name}{'' if value else FALSE}")
        else:
            spelt.append(f"--{flag.name}={text}")

    try:
        arguments = scan(flags, words, take, interspersed=interspersed)
    except HelpRequested:
        return spelt if tolerant else ["--help"]
    except UsageError:
        if tolerant:
            return spelt
        raise
    return [*spelt, "--", *arguments] if arguments else spelt


def options_of(flags: Sequence[Flag], ctx: Any) -> Options:
    """What Typer has read into the context, as the Options that commands take."""
    options = Options(flags)
    by_name = {_identifier(flag): flag for flag in flags}
    for name, given in ctx.params.items():  # in the order in which they were given
        flag = by_name.get(name)
        if flag is not None and given is not None:
            for value in given if flag.many else [given]:
                flag.keep(value, options)
    options.args = list(ctx.params.get(completion.ARGUMENTS) or ())
    return options
