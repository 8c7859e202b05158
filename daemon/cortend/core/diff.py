"""Applying a layer to a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO, NamedTuple, Protocol

from corten_shared.models.snapshot import Mount


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
