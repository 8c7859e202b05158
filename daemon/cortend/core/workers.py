"""Where blocking work runs: a bounded pool of threads of our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Workers(Protocol):
    """Runs blocking functions off the event loop."""

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function` on a thread and return its result or raise its exception.

        For short work: metadata transactions, small files, mounts. If the awaiting task is cancelled the function
        still runs to its end (a half-done transaction is worse than a late one). A full disk is ResourceExhausted.
        """
        ...

    async def run_slow(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As `run`, on a second pool, for work that takes long (hashing, copying, syncing), so that it
        never keeps short work waiting."""
        ...
