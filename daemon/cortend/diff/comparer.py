"""`ChildComparer`: starts the child that compares two trees (`comparing`) and watches it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from pathlib import Path
from typing import Any

from corten_shared import errors
from corten_shared.errors import InvalidArgument
from corten_shared.models.snapshot import Mount
from cortend.core.containerfiles import Change
from cortend.core.diff import Packed
from cortend.core.snapshots import OVERLAY_MARKS
from cortend.diff.apply import COMPRESSIONS, import_paths, reap
from cortend.diff.archiver import failure, first_line
from cortend.diff.limits import Limits

_START = "import sys; sys.path[:0] = sys.argv[1:4]; from cortend.diff.comparing import main; main(sys.argv[4:])"
_PIECE = 1 << 18
_KINDS = b"CAD"


class ChildComparer:
    """See `core.diff.Comparer`. `staging` is covered in the child's mount namespace only; it is made when missing."""

    def __init__(self, staging: Path, limits: Limits | None = None) -> None:
        self._staging = staging
        self._limits = limits or Limits()
        self._paths = (*import_paths(), str(Path(errors.__file__).parents[1]))

    async def compare(
        self,
        lower: Sequence[Mount],
        upper: Sequence[Mount],
        *,
        compression: str = "gzip",
        skip: Collection[str] = (),
    ) -> ChildLayer:
        """See the contract."""
        if compression not in COMPRESSIONS:
            raise InvalidArgument(f"unknown layer compression {compression!r}", hint="none, gzip or zstd")
        return ChildLayer(await self._start("layer", lower, upper, skip, compression))

    async def changes(
        self, lower: Sequence[Mount], upper: Sequence[Mount], *, skip: Collection[str] = ()
    ) -> AsyncGenerator[list[Change], None]:
        """See the contract."""
        process = await self._start("list", lower, upper, skip, "none")
        rest = b""
        try:
            assert process.stdout
            while piece := await process.stdout.read(_PIECE):
                *lines, rest = (rest + piece).split(b"\0")
                yield [Change(os.fsdecode(line[1:]), _KINDS.index(line[:1])) for line in lines]
            if await process.wait():
                raise await failure(process)
        finally:
            await reap(process)

    async def _start(
        self, op: str, lower: Sequence[Mount], upper: Sequence[Mount], skip: Collection[str], compression: str
    ) -> asyncio.subprocess.Process:
        """The child, past its first line; it is gone when this raises."""
        self._staging.mkdir(mode=0o700, parents=True, exist_ok=True)
        above, below, marked = described(lower, upper)
        request = {
            "op": op, "upper": [mount.model_dump() for mount in above], "marked": marked,
            "lower": [mount.model_dump() for mount in below], "staging": str(self._staging), "skip": sorted(skip),
            "compression": compression, "limits": self._limits.encode(), "parent": os.getpid(),
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", _START, *self._paths, json.dumps(request),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={"LC_ALL": "C.UTF-8"}, cwd="/", start_new_session=True, limit=_PIECE,
        )  # fmt: skip
        try:
            await first_line(process)
            return process
        except BaseException:
            await reap(process)
            raise


class ChildLayer:
    """See `core.diff.LayerReading`. At most a pipe's and a buffer's content is read ahead of a slow reader."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._packed: Packed | None = None

    @property
    def packed(self) -> Packed:
        """See the contract."""
        assert self._packed is not None, "the layer was not read to its end"
        return self._packed

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        assert self._process.stdout and self._process.stderr
        if piece := await self._process.stdout.read(_PIECE):
            return piece
        if await self._process.wait():
            raise await failure(self._process)
        if self._packed is None:
            report: dict[str, Any] = json.loads(await self._process.stderr.readline())
            self._packed = Packed(**report)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the child; idempotent."""
        await reap(self._process)


def described(lower: Sequence[Mount], upper: Sequence[Mount]) -> tuple[list[Mount], list[Mount], bool]:
    """(mounts of the upper tree, of the lower one, whether the upper is overlayfs's own directory, with its marks).

    It is when `upper` is an overlay with a writable layer right on `lower`: then only what changed is read. Nothing is
    mounted writable: the container may be running on it.
    """
    top = upper[-1] if upper else None
    below = [_read_only(mount) for mount in lower]
    if top is not None and top.type == "overlay":
        options = _options(top)
        if "upperdir" in options and _stack(lower) == (list(upper[:-1]), options.get("lowerdir", "")):
            return [Mount(type="bind", source=options["upperdir"], options=["bind"])], below, True
    marked = top is not None and not lower and OVERLAY_MARKS in top.options
    return [_read_only(mount) for mount in upper], below, marked


def _stack(mounts: Sequence[Mount]) -> tuple[list[Mount], str] | None:
    """What these mounts would be as layers of an overlay: mounts that come first, and `lowerdir`."""
    if not mounts:
        return None
    *first, top = mounts
    options = _options(top)
    if top.type == "bind":
        return first, top.source
    if top.type == "overlay" and "upperdir" not in options:
        return first, options.get("lowerdir", "")
    return None


def _options(mount: Mount) -> dict[str, str]:
    return dict(option.partition("=")[::2] for option in mount.options)


def _read_only(mount: Mount) -> Mount:
    """The same files; an overlay without its writable layer, which another mount may be using."""
    options = _options(mount)
    if "upperdir" not in options:
        return mount
    layers = f"lowerdir={options['upperdir']}:{options['lowerdir']}"
    kept = [o for o in mount.options if not o.startswith(("upperdir=", "workdir=", "lowerdir="))]
    return mount.model_copy(update={"options": ["ro", layers, *kept]})
