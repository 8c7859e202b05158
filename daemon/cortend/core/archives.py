"""Archives of images that somebody sends: which bytes of a tar are which member."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import BinaryIO, NamedTuple, Protocol

from cortend.core.diff import LayerReading


class Part(NamedTuple):
    """A member's content: where it begins in the tar, and how many bytes it has."""

    offset: int
    size: int


class Members(NamedTuple):
    """A tar's files by name, links among them resolved. Names are keys only: nothing is ever made of them.

    `file` is the plain tar to read the parts from.
    """

    file: BinaryIO
    parts: dict[str, Part]


class ArchiveReader(Protocol):
    """Reads tars that come from outside. Blocks."""

    def index(self, file: BinaryIO, scratch: Callable[[], BinaryIO]) -> Members:
        """The members of the tar in `file` (plain, or gzip or zstd: it is unpacked into a file from `scratch` then).

        Raises InvalidArgument: damaged, cut short, too many members, names or links that lead out, devices;
        ResourceExhausted when the disk is full.
        """
        ...

    def normal(self, name: str) -> str:
        """A name inside an archive as `Members` has it; raises InvalidArgument for one that leads out."""
        ...


class Recoder(Protocol):
    """Packs archives anew, in a child: what a stranger compressed takes none of the daemon's memory."""

    async def recode(self, body: AsyncIterator[bytes], compression: str) -> LayerReading:
        """The stream (plain, gzip, bzip2, xz or zstd, by its first bytes) in another compression: none, gzip or zstd.

        Iterating raises InvalidArgument and DataLoss (damaged), ResourceExhausted (too large, a bomb), and what `body`
        raises. Close it.
        """
        ...


class Source(Protocol):
    """Fetches what a user's URL names."""

    def open(self, url: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The bytes behind an http or https URL. Raises InvalidArgument (no such URL), Unavailable."""
        ...
