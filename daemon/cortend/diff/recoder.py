"""`ChildRecoder`: starts the child that packs an archive anew (`recoding`), feeds it, and hands out what it writes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from corten_shared import errors
from cortend.diff.apply import import_paths
from cortend.diff.archiver import feed
from cortend.diff.comparer import ChildLayer
from cortend.diff.limits import Limits

_START = "import sys; sys.path[:0] = sys.argv[1:4]; from cortend.diff.recoding import main; main(sys.argv[4:])"
_PIECE = 1 << 18


class ChildRecoder:
    """See `core.archives.Recoder`."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._paths = (*import_paths(), str(Path(errors.__file__).parents[1]))

    async def recode(self, body: AsyncIterator[bytes], compression: str) -> Recoding:
        """See the contract."""
        request = {"compression": compression, "limits": self._limits.encode(), "parent": os.getpid()}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", _START, *self._paths, json.dumps(request),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={"LC_ALL": "C.UTF-8"}, cwd="/", start_new_session=True, limit=_PIECE,
        )  # fmt: skip
        return Recoding(process, body)


class Recoding(ChildLayer):
    """What the child writes, while it is fed."""

    def __init__(self, process: asyncio.subprocess.Process, body: AsyncIterator[bytes]) -> None:
        super().__init__(process)
        self._feeding = asyncio.ensure_future(feed(process, body))

    async def __anext__(self) -> bytes:
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            await self._feeding  # what was wrong with the body is wrong with this
            raise

    async def aclose(self) -> None:
        """End the child; idempotent."""
        await super().aclose()
        self._feeding.cancel()
        await asyncio.wait([self._feeding])
        if not self._feeding.cancelled():
            self._feeding.exception()
