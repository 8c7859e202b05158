"""What a command of `cortenctl` is, and the flags that all of them have."""

from __future__ import annotations

from corten import command
from corten.flags import Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from corten.ctl.session import Session
    from corten.flags import Options


def _form(text: str) -> str:
    if text not in ("", "table", "json"):
        raise ValueError("it is table or json")
    return text


QUIET = Flag("quiet", "bool", "Names only", short="q")
COMMON = (
    Flag("namespace", "string", "Namespace (default $CORTEN_NAMESPACE, else `default`)", short="n"),
    Flag("address", "string", "The daemon's socket (default $CORTEN_HOST, else the usual one)", short="a"),
    Flag("output", "string", "`table` or `json`", short="o", convert=_form),
    QUIET,
)
"""Flags that stand before a command or after it."""
LEADING = (
    Flag("connect-timeout", "duration", "Time for connecting to the daemon, like 5s"),
    Flag("debug", "bool", "Show requests on standard error"),
    Flag("timeout", "duration", "Time for the whole command, like 1m30s"),
)
"""Flags that stand before a command only: commands may have others of these names."""
ALL = Flag("all-namespaces", "bool", "Of every namespace", short="A")
PLAN = Flag("plan", "bool", "Say what would be removed and how much is freed; remove nothing")
FORCE = Flag("force", "bool", "Kill what runs first", short="f")
FILTER = Flag("filter", "list", "Only what this means, like labels.tier==web; of several, any")


class Command(command.Command):
    """A command with the flags that all have, which may stand before its name as well."""

    __slots__ = ()

    def __init__(
        self, summary: str, run: Callable[[Session, Options], int], *, flags: Sequence[Flag] = (), **shape: Any
    ) -> None:
        own = {flag.name for flag in flags}
        common = [_spared(flag, flags) for flag in COMMON if flag.name not in own]
        super().__init__(summary, run, flags=[*flags, *common], **shape)


def _spared(flag: Flag, own: Sequence[Flag]) -> Flag:
    """A common flag without its letter, where a command's own flag has that."""
    if all(flag.short != other.short for other in own):
        return flag
    return Flag(flag.name, flag.kind, flag.help, default=flag.default, convert=flag.convert)


def told(name: str, kind: str, why: str, short: str = "") -> Flag:
    """A flag of ctr's that means nothing here: using it says `why`."""

    def refuse(text: str) -> bool:
        if kind == "bool" and text == "false":
            return False
        raise UsageError(f"--{name}: {why}")

    return Flag(name, kind, f"Not here: {why}", short=short, convert=refuse, hidden=True)


def listing(
    summary: str, run: Callable[[Session, Options], int], *flags: Flag, examples: Sequence[str] = ()
) -> Command:
    """A command that lists: its arguments are filters, as ctr's are, and so is `--filter`."""
    return Command(summary, run, arguments="[FILTER...]", flags=[*flags, FILTER], most=None, examples=examples)


def filters(options: Options) -> list[str]:
    """The filters of a listing, for the API's parameter of that name."""
    return [*options["filter"], *options.args]


def labels(words: Sequence[str]) -> dict[str, str | None]:
    """`key=value` sets a label, `key=` and `key` remove it."""
    pairs = (word.partition("=") for word in words)
    return {key: value or None for key, _, value in pairs}
