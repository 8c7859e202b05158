"""What the shell completes: values of flags, and the names of containers and images that are there.

The shell's script calls `corten` with the line in the environment, for Typer to take apart. It is
Typer's script but for bash, where Typer's cannot complete after the colon of an image's tag. The daemon is
asked with a deadline, and without an answer there is nothing to complete: a prompt never waits and
never shows an error. Names go into shell code that some scripts evaluate, so only those pass that
a registry or engine should ever have given out.
"""

from __future__ import annotations

import os
import re
import signal
from typing import Any

import typer

from corten.docker.command import Command
from corten.docker.flags import Flag, UsageError
from corten.output import out
from corten_shared.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from corten.docker.flags import Options
    from corten.docker.session import Session

ARGUMENTS = "arguments"
"""Name of the parameter that holds a command's arguments."""
VARIABLE = "_CORTEN_COMPLETE"
"""What the script sets for us to complete instead of execute."""
DEADLINE = 1.0
"""Seconds for the daemon's answers."""
MOST = 1000
"""Names offered at once."""

BASH = """\
_corten_completion() {
    # Whole words, asked for as fish does: COMP_WORDS has them broken at every colon.
    local line=${COMP_LINE:0:COMP_POINT} IFS=$'\\n'
    local word=${line##*[[:space:]]}
    COMPREPLY=($(env _CORTEN_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \\
        _TYPER_COMPLETE_ARGS="$line" "$1"))
    COMPREPLY=("${COMPREPLY[@]%%$'\\t'*}")
    if [[ $word == *:* && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*:}"}"}")
    fi
}
complete -o default -F _corten_completion corten"""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-/:@]{0,254}", re.ASCII)
_SIGNALS = "HUP INT QUIT KILL USR1 USR2 TERM CONT STOP WINCH".split()
_WORDS: dict[str, list[str]] = {
    "attach": ["stdin", "stdout", "stderr"],
    "cgroupns": ["host", "private"],
    "format": ["json", "table"],
    "log-driver": ["json-file", "none"],
    "log-level": ["debug", "info", "warn", "error", "fatal"],
    "pull": ["always", "missing", "never"],
    "restart": ["always", "no", "on-failure", "unless-stopped"],
    "signal": _SIGNALS,
    "stop-signal": _SIGNALS,
}
"""Values of flags that take one of a few words."""
_STATES = {
    "attach": "running", "exec": "running", "kill": "running paused", "pause": "running", "port": "running",
    "start": "created exited", "stop": "running paused restarting", "top": "running", "unpause": "paused",
}  # fmt: skip
"""States of the containers that a command can do something with, where not all."""


def of_flag(flag: Flag) -> Callable[..., list[str]] | None:
    """What completes the value of `flag`; None leaves it to the shell, which offers files."""
    if flag.name in ("volumes-from", "link"):
        return _completer(lambda session, ctx: _containers(session))
    if flag.name in ("network", "net"):
        return _completer(lambda session, ctx: ["bridge", "host", "none", *_networks(session)])
    words = _WORDS.get(flag.name)
    return (lambda: words) if words else None


def of_arguments(name: str, command: Command) -> Callable[..., list[str]] | None:
    """What completes the arguments of the command called `name`, as its usage line names them."""
    first, _, rest = command.arguments.partition(" ")
    if first == "bash|zsh|fish":
        return lambda: first.split("|")
    find = _finder(name, first)
    if find is None:
        return None
    repeats = rest.startswith("[") and rest.endswith("...]") and "COMMAND" not in rest

    def complete(session: Session, ctx: typer.Context) -> Iterable[str]:
        given = ctx.params.get(ARGUMENTS) or ()
        return (found for found in find(session) if found not in given) if repeats or not given else ()

    return _completer(complete)


def _finder(name: str, noun: str) -> Callable[[Session], Iterable[str]] | None:
    states = _STATES.get(name, "").split()
    if noun == "CONTAINER":
        return lambda session: _containers(session, states)
    if noun == "NAME|ID":
        return lambda session: [*_containers(session), *_images(session)]
    if noun.strip("[]").partition("[")[0].partition(":")[0] in ("IMAGE", "SOURCE_IMAGE", "REPOSITORY", "NAME"):
        return _images
    return None


def _containers(session: Session, states: Iterable[str] = ()) -> Iterator[str]:
    for entry in session.engine.call("GET", "/containers/json", {"all": True}):
        if not states or entry["State"] in states:
            yield from (str(name).removeprefix("/") for name in entry["Names"])


def _images(session: Session) -> Iterator[str]:
    for entry in session.engine.call("GET", "/images/json"):
        yield from entry.get("RepoTags") or ()


def _networks(session: Session) -> Iterator[str]:
    for entry in session.engine.call("GET", "/networks"):
        yield entry["Name"]


def _completer(find: Callable[[Session, typer.Context], Iterable[str]]) -> Callable[..., list[str]]:
    """`find` with a session, a deadline, and no way to fail."""

    def complete(ctx: typer.Context) -> list[str]:
        from corten.docker.application import options_of
        from corten.docker.main import GLOBAL_FLAGS
        from corten.docker.session import Session

        before = signal.signal(signal.SIGALRM, _expired)
        signal.setitimer(signal.ITIMER_REAL, DEADLINE)
        try:
            found = find(Session(options_of(GLOBAL_FLAGS, ctx.find_root())), ctx)
            names = sorted({name for name in found if _NAME.fullmatch(name)})
        except (CortenError, OSError, LookupError, TypeError, AttributeError):  # down, slow, or not an engine
            return []
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        return names[:MOST]

    return complete


def _expired(number: int, frame: Any) -> None:
    raise TimeoutError


def _run(session: Session, options: Options) -> int:
    from corten.docker import application

    shell = options.args[0]
    if shell not in ("bash", "zsh", "fish"):
        raise UsageError(f"no completion for {shell!r}; there is for bash, zsh and fish", bare=False)
    if shell == "bash":
        out(BASH)
        return 0
    os.environ[VARIABLE] = f"source_{shell}"  # how Typer is asked for its script
    return application.run([])


COMPLETION = Command(
    "Print the script that makes a shell complete corten's commands, flags and names",
    _run, arguments="bash|zsh|fish", least=1, most=1,
)  # fmt: skip
