"""Who asked: the process at the other end of the connection whose request is served.

The one thing that is handed down beside the arguments, in a context variable: it decides nothing, every event of the
journal has it, and no use case in between is concerned. Work that outlives a request (`services.background`) is the
engine's own and has no actor.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple


class Peer(NamedTuple):
    """A client as the kernel knows it (SO_PEERCRED): its process and user when it connected."""

    pid: int
    uid: int


PEER: ContextVar[Peer | None] = ContextVar("peer", default=None)
