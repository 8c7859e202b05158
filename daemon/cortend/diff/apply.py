"""`Applier`: starts the unpack child and watches it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from corten_shared.errors import CLASSES, CortenError, DeadlineExceeded, Internal, InvalidArgument, ResourceExhausted
from corten_shared.models.snapshot import Mount
from cortend.core.diff import Applied
from cortend.core.snapshots import LAYER_IMAGE, OVERLAY_MARKS
from cortend.diff.limits import Limits

log = logging.getLogger(__name__)

COMPRESSIONS = ("none", "gzip", "zstd")
_START = "import sys; sys.path[:0] = sys.argv[1:3]; from cortend.diff.unpack import main; main(sys.argv[3:])"
_LINE = 1 << 16
_STDERR = 1 << 13


class ChildApplier:
    """Unpacks each layer in a child of its own (see `unpack`), at most `limits.seconds` long."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._paths = import_paths()

    async def apply(
        self,
        layer: BinaryIO,
        compression: str,
        mounts: Sequence[Mount],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> Applied:
        """See `core.diff.Applier`. Raises DeadlineExceeded after `limits.seconds`."""
        if compression not in COMPRESSIONS:
            raise InvalidArgument(f"unknown layer compression {compression!r}", hint="none, gzip or zstd")
        target, marks = target_of(mounts)
        if layer.seekable():  # what `layer` has read ahead, the child must read again
            os.lseek(layer.fileno(), layer.tell(), os.SEEK_SET)
        argv = [*self._paths, target, marks, compression, self._limits.encode(), str(os.getpid())]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", _START, *argv,
            stdin=layer.fileno(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={"LC_ALL": "C.UTF-8"}, cwd="/", start_new_session=True, limit=_LINE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await _follow(process, progress)
        except TimeoutError:
            message = f"unpacking a layer took longer than {self._limits.seconds} seconds"
            raise DeadlineExceeded(message) from None
        finally:
            await reap(process)


def target_of(mounts: Sequence[Mount]) -> tuple[str, str]:
    """(directory to unpack into, what to make there) of a snapshot's mounts; see `unpack` for the words."""
    if len(mounts) == 1 and "ro" not in mounts[0].options:
        mount = mounts[0]
        image = next((option for option in mount.options if option.startswith(LAYER_IMAGE)), None)
        if image is not None:
            marks = "erofs" if OVERLAY_MARKS in mount.options else "erofs-lowest"
            return mount.source, f"{marks}:{image.removeprefix(LAYER_IMAGE)}"
        if mount.type == "bind":
            return mount.source, "overlay" if OVERLAY_MARKS in mount.options else "native"
        for option in mount.options:
            if mount.type == "overlay" and option.startswith("upperdir="):
                return option.removeprefix("upperdir="), "overlay"
    raise InvalidArgument("cannot unpack a layer into these mounts", hint="prepare an active snapshot for it")


async def _follow(process: asyncio.subprocess.Process, progress: Callable[[int], None] | None) -> Applied:
    """Read the child's lines until its result."""
    assert process.stdout and process.stderr
    complaints = asyncio.create_task(_bounded(process.stderr))
    try:
        while line := await process.stdout.readline():
            message: dict[str, Any] = json.loads(line)
            if "error" in message:
                raise _error(message)
            if "diff_id" in message:
                return Applied(**message)
            if progress:
                progress(message["read"])
        raise _silent(await process.wait(), await complaints)
    finally:
        complaints.cancel()
        await asyncio.wait([complaints])  # not `await complaints`: its cancellation and ours would look the same


async def _bounded(stream: asyncio.StreamReader) -> bytes:
    """The first bytes of a stream, which is read to its end."""
    kept = b""
    while block := await stream.read(_STDERR):
        kept = (kept + block)[:_STDERR]
    return kept


def _error(message: dict[str, Any]) -> CortenError:
    cls = CLASSES.get(str(message["error"]), Internal)
    return cls(str(message["message"]), hint=message.get("hint") or None)


def _silent(code: int, stderr: bytes) -> CortenError:
    """The child ended without a result: killed, or a bug."""
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    log.error("the unpack child died", extra={"fields": {"code": code, "stderr": lines[-20:]}})
    if code == -9:
        return ResourceExhausted("unpacking a layer was killed", hint="is the machine out of memory? see `dmesg`")
    return Internal(f"unpacking a layer failed ({code}): {lines[-1] if lines else 'no message'}")


async def reap(process: asyncio.subprocess.Process) -> None:
    """However it ended, the child is gone afterwards: nothing may write into the target any more."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    waiter = asyncio.ensure_future(process.wait())
    cancelled: asyncio.CancelledError | None = None
    while not waiter.done():
        try:
            await asyncio.shield(waiter)
        except asyncio.CancelledError as error:
            # It must not leave a child behind, nor be forgotten; SIGKILL makes this short.
            cancelled = error
    if cancelled is not None:
        raise cancelled


def import_paths() -> tuple[str, str]:
    """Where the child finds this package, and the decompressors."""
    package = str(Path(__file__).resolve().parents[2])
    found = importlib.util.find_spec("isal")
    if found is None or found.origin is None:
        raise Internal("the module isal is missing", hint="install corten with its dependencies")
    return package, str(Path(found.origin).parents[1])
