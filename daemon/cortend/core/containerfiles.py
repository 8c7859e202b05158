"""Files of a container from outside: look, copy out, copy in, compare with the image."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from corten_shared.models.snapshot import Mount

MOUNT_POINTS = frozenset(
    {
        "/.dockerenv", "/dev", "/dev/console", "/dev/pts", "/dev/shm",  # noqa: S108
        "/dev/mqueue", "/proc", "/sys", "/etc/hosts",
        "/etc/hostname", "/etc/resolv.conf",
    }
)  # fmt: skip
"""Empty files and directories that every start makes to mount on: not the user's doing (docker has them lower)."""


class Placed(NamedTuple):
    """Something of the host that a container has at `target`: a volume, a bind, a host file."""

    source: str
    target: str
    read_only: bool = False


class Tree(NamedTuple):
    """A container's file system, described: how to mount its root, what lies on it, and a directory to mount it on.

    `staging` is covered only in the mount namespace of the child that does the work. `name` is for error texts.
    """

    mounts: Sequence[Mount]
    placed: Sequence[Placed]
    staging: str
    name: str
    read_only: bool = False


class PathStat(NamedTuple):
    """What a path is: `mode` as in stat(2), `mtime` in ns, where a link leads within the container (or empty)."""

    name: str
    size: int
    mode: int
    mtime: int
    link_target: str


class Change(NamedTuple):
    """A path that is not as in the image: `kind` 0 modified, 1 added, 2 deleted."""

    path: str
    kind: int


class Reading(Protocol):
    """A tar as it is written; close it. An iteration that raises means that the archive is not whole."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None:
        """End the child; idempotent."""
        ...


class Archiver(Protocol):
    """Works in a confined child whose root is the container's; paths resolve inside it only.

    Raises NotFound for a missing path, InvalidArgument, PermissionDenied (read-only).
    """

    async def stat(self, tree: Tree, path: str) -> PathStat:
        """What `path` is; a link is not followed unless the path ends in a slash or `/.`."""
        ...

    async def read(self, tree: Tree, path: str) -> tuple[PathStat, Reading]:
        """`path` as a tar whose names begin with its base name."""
        ...

    async def export(self, tree: Tree) -> Reading:
        """The whole root as a tar."""
        ...

    async def write(
        self, tree: Tree, path: str, body: AsyncIterator[bytes], *, keep_kinds: bool, owner: str | None
    ) -> None:
        """Unpack a tar (plain, gzip, bzip2, xz or zstd) into the existing directory `path`.

        `keep_kinds` refuses to put a file in a directory's place or the reverse. `owner` (`user[:group]` as the
        container's /etc/passwd has them) owns what is made; None: as the archive says.
        """
        ...
