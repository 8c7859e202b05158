"""What the shell completes: values of flags, and the names of what is there.

The shell's script calls the program with the line in the environment, for Typer to take apart. It is
Typer's script but for bash, where Typer's cannot complete after the colon of an image's tag. The daemon is
asked with a deadline, and without an answer there is nothing to complete: a prompt never waits and
never shows an error. Names go into shell code that some scripts evaluate, so only those pass that
a registry or engine should ever have given out.

What names there are is the program's to say (`Program.flag_values`, `Program.argument_names`).
"""

from __future__ import annotations

import os
import re
import signal
from typing import Any

import typer

from corten.flags import Flag, UsageError
from corten.output import out
from corten_shared.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from corten.command import Command
    from corten.program import Program

ARGUMENTS = "arguments"
"""Name of the parameter that holds a command's arguments."""
SHELLS = "bash|zsh|fish"
"""The argument of `completion`, in every program."""
SIGNALS = "HUP INT QUIT KILL USR1 USR2 TERM CONT STOP WINCH".split()
DEADLINE = 1.0
"""Seconds for the daemon's answers."""
MOST = 1000
"""Names offered at once."""

BASH = """\
_PROGRAM_completion() {
    # Whole words, asked for as fish does: COMP_WORDS has them broken at every colon.
    local line=${COMP_LINE:0:COMP_POINT} IFS=$'\\n'
    local word=${line##*[[:space:]]}
    COMPREPLY=($(env VARIABLE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \\
        _TYPER_COMPLETE_ARGS="$line" "$1"))
    COMPREPLY=("${COMPREPLY[@]%%$'\\t'*}")
    if [[ $word == *:* && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*:}"}"}")
    fi
}
complete -o default -F _PROGRAM_completion PROGRAM"""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-/:@]{0,254}", re.ASCII)


def variable(program: Program) -> str:
    """The environment variable by which a script asks for completion instead of execution."""
    return f"_{program.name.upper()}_COMPLETE"


def of_flag(program: Program, flag: Flag) -> Callable[..., list[str]] | None:
    """What completes the value of `flag`; None leaves it to the shell, which offers files."""
    values = program.flag_values(flag)
    if values is None:
        return None
    if callable(values):
        find = values
        return _completer(program, lambda session, ctx: find(session))
    words = list(values)
    return lambda: words


def of_arguments(program: Program, noun: str, name: str, command: Command) -> Callable[..., list[str]] | None:
    """What completes the arguments of a noun's command, as its usage line names them."""
    words = command.arguments.split()
    if words[:1] == [SHELLS]:
        return lambda: SHELLS.split("|")
    finds = [program.argument_names(noun, name, _bare(word)) for word in words]
    if not any(finds):
        return None
    repeats = words[-1].rstrip("]").endswith("...")

    def complete(session: Any, ctx: typer.Context) -> Iterable[str]:
        given = ctx.params.get(ARGUMENTS) or ()
        at = min(len(given), len(finds) - 1) if repeats else len(given)
        find = finds[at] if at < len(finds) else None
        return (found for found in find(session) if found not in given) if find else ()

    return _completer(program, complete)


def _bare(word: str) -> str:
    """`CONTAINER` of `[CONTAINER...]`, `LABEL` of `LABEL[=VALUE]...`."""
    return word.strip("[].").partition("[")[0].partition(":")[0].partition("=")[0]


def _completer(program: Program, find: Callable[[Any, typer.Context], Iterable[str]]) -> Callable[..., list[str]]:
    """`find` with a session, a deadline, and no way to fail."""

    def complete(ctx: typer.Context) -> list[str]:
        before = signal.signal(signal.SIGALRM, _expired)
        signal.setitimer(signal.ITIMER_REAL, DEADLINE)
        try:
            names = sorted({name for name in find(_session(program, ctx), ctx) if _NAME.fullmatch(name)})
        except (CortenError, OSError, LookupError, TypeError, AttributeError):  # down, slow, or not an engine
            return []
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        return names[:MOST]

    return complete


def _session(program: Program, ctx: typer.Context) -> Any:
    """What the command would work with, had the line ended here."""
    from corten.application import Single, options_of

    flags = ctx.command.table.flags if isinstance(ctx.command, Single) else ()
    return program.session(options_of(program.flags, ctx.find_root()), options_of(flags, ctx))


def _expired(number: int, frame: Any) -> None:
    raise TimeoutError


def script(program: Program, shell: str) -> int:
    """Print what `shell` has to evaluate; the exit code. Raises UsageError for another shell."""
    from corten import application

    if shell not in SHELLS.split("|"):
        raise UsageError(f"no completion for {shell!r}; there is for bash, zsh and fish", bare=False)
    if shell == "bash":
        out(BASH.replace("PROGRAM", program.name).replace("VARIABLE", variable(program)))
        return 0
    os.environ[variable(program)] = f"source_{shell}"  # how Typer is asked for its script
    return application.run(program, [])
