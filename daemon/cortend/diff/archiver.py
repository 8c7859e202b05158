"""`ChildArchiver`: starts the child that works on a container's files (`inside`) and watches it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from corten_shared import errors
from corten_shared.errors import CLASSES, CortenError, DeadlineExceeded, Internal
from cortend.core.containerfiles import PathStat, Tree
from cortend.diff.apply import import_paths, reap
from cortend.diff.limits import Limits

_START = "import sys; sys.path[:0] = sys.argv[1:4]; from cortend.diff.inside import main; main(sys.argv[4:])"
_PIECE = 1 << 16
_IDLE = 300.0
"""Seconds within which a client must send the next piece of its archive: a stopped container is locked meanwhile."""


class ChildArchiver:
    """See `core.containerfiles.Archiver`."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._paths = (*import_paths(), str(Path(errors.__file__).parents[1]))

    async def stat(self, tree: Tree, path: str) -> PathStat:
        """See the contract."""
        process, message = await self._start(tree, "stat", path)
        await reap(process)
        return PathStat(**message)

    async def read(self, tree: Tree, path: str) -> tuple[PathStat, ChildReading]:
        """See the contract."""
        process, message = await self._start(tree, "read", path)
        return PathStat(**message), ChildReading(process)

    async def export(self, tree: Tree) -> ChildReading:
        """See the contract."""
        return ChildReading((await self._start(tree, "export", "/"))[0])

    async def write(
        self, tree: Tree, path: str, body: AsyncIterator[bytes], *, keep_kinds: bool, owner: str | None
    ) -> None:
        """See the contract."""
        process, _ = await self._start(tree, "write", path, keep_kinds=keep_kinds, owner=owner)
        try:
            async with asyncio.timeout(self._limits.seconds):
                await feed(process, body)
                await first_line(process)
        except TimeoutError:
            raise DeadlineExceeded(f"copying to {path} took too long") from None
        finally:
            await reap(process)

    async def _start(
        self, tree: Tree, op: str, path: str, **more: object
    ) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
        """The child, past its first line; it is gone when this raises."""
        request = {
            "op": op, "path": path, "staging": tree.staging, "name": tree.name, "read_only": tree.read_only,
            "mounts": [mount.model_dump() for mount in tree.mounts],
            "placed": [placed._asdict() for placed in tree.placed],
            "limits": self._limits.encode(), "parent": os.getpid(), **more,
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", _START, *self._paths, json.dumps(request),
            stdin=asyncio.subprocess.PIPE if op == "write" else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={"LC_ALL": "C.UTF-8"}, cwd="/", start_new_session=True, limit=_PIECE,
        )  # fmt: skip
        try:
            return process, await first_line(process)
        except BaseException:
            await reap(process)
            raise


class ChildReading:
    """A child's tar. At most a pipe's and a buffer's content is read ahead of a slow client."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        assert self._process.stdout
        if piece := await self._process.stdout.read(_PIECE):
            return piece
        if await self._process.wait():
            raise await failure(self._process)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the child; idempotent."""
        await reap(self._process)


async def feed(process: asyncio.subprocess.Process, body: AsyncIterator[bytes]) -> None:
    """The body to the child, until it listens no more (its next line says why)."""
    assert process.stdin
    pieces = aiter(body)
    try:
        while (piece := await asyncio.wait_for(anext(pieces, None), _IDLE)) is not None:
            process.stdin.write(piece)
            await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        process.stdin.close()


async def first_line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """The next line that a child says; raises what it says went wrong."""
    assert process.stdout
    line = await process.stdout.readline()
    if not line:
        raise await failure(process)
    message: dict[str, Any] = json.loads(line)
    if "error" in message:
        raise _error(message)
    return message


def _error(message: dict[str, Any]) -> CortenError:
    return CLASSES.get(str(message["error"]), Internal)(str(message["message"]))


async def failure(process: asyncio.subprocess.Process) -> CortenError:
    """Why it ended without a result: its last words, or its exit code."""
    assert process.stderr
    said = (await process.stderr.read(_PIECE)).decode("utf-8", "replace").strip()
    code = await process.wait()
    last = said.splitlines()[-1] if said else ""
    try:
        return _error(json.loads(last))
    except (ValueError, KeyError, TypeError):
        return Internal(f"the copying child failed ({code}): {last or 'no message'}")
