"""What a command of `cortenctl` is, and the flags that all of them have."""

from __future__ import annotations

from corten import command
from corten.flags import Flag

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


COMMON = (
    Flag("namespace", "string", "Namespace (default $CORTEN_NAMESPACE, else `default`)", short="n"),
    Flag("address", "string", "The daemon's socket (default $CORTEN_HOST, else the usual one)", short="a"),
    Flag("output", "string", "`table` or `json`", short="o", convert=_form),
)
ALL = Flag("all-namespaces", "bool", "Of every namespace", short="A")
QUIET = Flag("quiet", "bool", "Names only", short="q")
FORCE = Flag("force", "bool", "Kill what runs first", short="f")


class Command(command.Command):
    """A command with the flags that all have, which may stand before its name as well."""

    __slots__ = ()

    def __init__(
        self, summary: str, run: Callable[[Session, Options], int], *, flags: Sequence[Flag] = (), **shape: Any
    ) -> None:
        super().__init__(summary, run, flags=[*flags, *COMMON], **shape)


def labels(words: Sequence[str]) -> dict[str, str | None]:
    """`key=value` sets a label, `key=` and `key` remove it."""
    pairs = (word.partition("=") for word in words)
    return {key: value or None for key, _, value in pairs}
