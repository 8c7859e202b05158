"""What a command of `cortenctl` is, and the flags that all of them have."""

from __future__ import annotations

from corten.docker.flags import Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from corten.ctl.session import Session
    from corten.docker.flags import Options

COMMON = (
    Flag("namespace", "string", "Namespace (default $CORTEN_NAMESPACE, else `default`)", short="n"),
    Flag("address", "string", "The daemon's socket (default $CORTEN_HOST, else the usual one)", short="a"),
    Flag("output", "string", "`table` or `json`", short="o"),
)
QUIET = Flag("quiet", "bool", "Names only", short="q")
FORCE = Flag("force", "bool", "Kill what runs first", short="f")


class Command:
    """One command: what it does, its usage after the name, its own flags, how many arguments it takes.

    `run(session, options)` returns the exit code; `stops` ends flag parsing at the first argument; `failure` is the
    exit code for an error of the daemon.
    """

    __slots__ = ("arguments", "failure", "flags", "least", "most", "run", "stops", "summary")

    def __init__(
        self,
        summary: str,
        run: Callable[[Session, Options], int],
        *,
        arguments: str = "",
        flags: Sequence[Flag] = (),
        least: int = 0,
        most: int | None = 0,
        stops: bool = False,
        failure: int = 1,
    ) -> None:
        self.summary, self.run, self.arguments = summary, run, arguments
        self.flags = [*flags, *COMMON]
        self.least, self.most = least, most
        self.stops, self.failure = stops, failure

    def check(self, path: str, count: int) -> None:
        """Raises UsageError when `count` arguments are too few or too many."""
        if count < self.least or (self.most is not None and count > self.most):
            raise UsageError(f"usage: {path} [OPTIONS] {self.arguments}".rstrip())


def labels(words: Sequence[str]) -> dict[str, str | None]:
    """`key=value` sets a label, `key=` and `key` remove it."""
    pairs = (word.partition("=") for word in words)
    return {key: value or None for key, _, value in pairs}
