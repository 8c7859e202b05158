"""Applying a layer to a snapshot, and making one of what a snapshot changed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from typing import BinaryIO, NamedTuple, Protocol

from corten_shared.models.snapshot import Mount
from cortend.core.containerfiles import Change


class Applied(NamedTuple):
    """What came out of a layer: digest of the uncompressed tar, bytes read (compressed), bytes and entries written."""

    diff_id: str
    read: int
    size: int
    entries: int


class Applier(Protocol):
    """Unpacks layers in a confined child."""

    async def apply(
        self,
        layer: BinaryIO,
        compression: str,
        mounts: Sequence[Mount],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> Applied:
        """Unpack `layer` (a real file; `compression` is none, gzip or zstd) into the file system that
        `mounts` describe.

        Paths of the archive resolve inside the target only: the work is done by a child in its own mount
        namespace, with the
        target as its root, no network, limits on memory, bytes and entries; cancelling kills it. `progress` is
        called with compressed bytes read so far. Raises InvalidArgument (archive refused: which entry, why),
        DataLoss (damaged stream), ResourceExhausted (disk full or a limit). The target is then half-written: remove it.
        """
        ...


class Packed(NamedTuple):
    """A layer that was made: digest and bytes as it was sent, and of its tar; how many entries that has."""

    digest: str
    diff_id: str
    size: int
    unpacked: int
    entries: int


class LayerReading(Protocol):
    """A layer as it is made; close it. An iteration that raises means that it is not whole."""

    @property
    def packed(self) -> Packed:
        """What it is; only once it was read to its end."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None:
        """Stop making it; idempotent."""
        ...


class Comparer(Protocol):
    """Compares trees in a confined child that sees nothing but them, read-only; a container may be running on one.

    Cheap when `upper` is an overlay right on `lower`: then only what changed is read. `lower` without mounts is an
    empty tree. `skip` are paths that do not count while they are new and empty (see `containerfiles.MOUNT_POINTS`).
    """

    async def compare(
        self,
        lower: Sequence[Mount],
        upper: Sequence[Mount],
        *,
        compression: str = "gzip",
        skip: Collection[str] = (),
    ) -> LayerReading:
        """What `upper` has differently from `lower`, as an OCI layer (`compression` is none, gzip or zstd).

        Whiteouts, opaque directories, hard links, devices, extended attributes, holes and nanoseconds are in it;
        sockets are not. The same trees give the same bytes. Raises InvalidArgument (a name that no layer can have),
        ResourceExhausted (too many files).
        """
        ...

    def changes(
        self, lower: Sequence[Mount], upper: Sequence[Mount], *, skip: Collection[str] = ()
    ) -> AsyncGenerator[list[Change], None]:
        """The paths that differ, some at a time, in order. Close it. Raises as `compare`."""
        ...
