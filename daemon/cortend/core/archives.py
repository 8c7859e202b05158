"""Archives of images that somebody sends: which bytes of a tar are which member."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import BinaryIO, NamedTuple, Protocol

from cortend.core.diff import LayerReading


class Part(NamedTuple):
    """A member's content: where it begins in `Members.file`, and how many bytes it has."""

    offset: int
    size: int


class Kept(NamedTuple):
    """A member's content that is a blob already."""

    digest: str
    size: int


class Members(NamedTuple):
    """A tar's files by name, links among them resolved. Names are keys only: nothing is ever made of them.

    `file` has the content of those that were not kept.
    """

    file: BinaryIO
    parts: dict[str, Part | Kept]


class Keeper(Protocol):
    """Takes an archive's large files as they come, in the archive's order."""

    def begin(self, members: Members) -> None:
        """These are the members so far, and always will be: `parts` grows while the archive is read."""
        ...

    def keep(self, name: str, size: int, read: Callable[[], Iterable[memoryview]]) -> str | None:
        """Given a file's normal name, its size and what reads it: the digest of the blob that it became, or that it is
        already; None when it is not to be kept so."""
        ...


class ArchiveReader(Protocol):
    """Reads tars that come from outside. Blocks."""

    def take(self, chunks: Iterable[bytes], spool: BinaryIO, keeper: Keeper) -> Members:
        """The members of a plain tar, as it comes: large files go to `keeper`, others into `spool`.

        Raises InvalidArgument: damaged, cut short, too many members, names or links that lead out, devices;
        ResourceExhausted when the disk is full; what `keeper` raises. Reads `chunks` to their end.
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
