"""Named points in the daemon's work, at which a test makes it die, fail or wait.

    CORTEN_TRACE=content.commit.renamed=kill,pull.layer.fetched=delay:0.5 cortend

    kill            SIGKILL to this process, as a crash at that very place
    error           raise an Internal error there
    delay:SECONDS   wait there (the calling thread; on the event loop everything waits)

each at the first time the point is reached; `@N` behind the action: at the Nth time, `@*`: every time. The daemon reads
the variable once, at its start, and refuses names that are not in `POINTS`. Unset, a point costs one comparison.

Each name says what was just done. A test checks that the table and the source have the same names.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable
from typing import Final

from corten_shared.errors import Internal, InvalidArgument

VARIABLE: Final = "CORTEN_TRACE"

POINTS: Final[dict[str, str]] = {
    # content: a blob on its way into the store
    "content.ingest.described": "an ingest has its directory and ingest.json, and no bytes yet",
    "content.ingest.written": "some bytes were appended to an ingest",
    "content.commit.synced": "a complete ingest is on disk, not yet renamed",
    "content.commit.renamed": "the blob has its name; the directory is not synced, the ingest's directory still there",
    "content.commit.published": "the blob is durable; no row names it",
    "content.commit.recorded": "the blob's row is committed",
    "content.delete.unlinked": "the file of a blob that no row names is gone",
    # snapshots
    "snapshot.create.filled": "a snapshot's directories are made under their temporary name",
    "snapshot.create.renamed": "a snapshot's directory has its number; no row names it",
    "snapshot.create.recorded": "the row of a new snapshot is committed",
    "snapshot.commit.sealed": "what children need was made of an active snapshot's files, not synced",
    "snapshot.commit.synced": "an active snapshot's files are on disk, the row still says active",
    "snapshot.commit.recorded": "the row says committed",
    "snapshot.remove.recorded": "the row is deleted, the directory still there",
    "snapshot.remove.renamed": "the directory of a removed snapshot is renamed away, its files still there",
    # pull
    "pull.documents.kept": "index, manifest and config are in the store, no layer was asked for",
    "pull.layer.fetched": "a layer's blob is in the store and under the pull's lease",
    "pull.layers.done": "every layer is a snapshot; the image has no name yet",
    "pull.image.named": "the image's record is committed; the lease is still there",
    # push
    "push.planned": "what to push is under a lease; the registry was not asked for anything",
    "push.chunk.sent": "the registry has acknowledged a chunk of a blob",
    "push.blob.sent": "the registry has a layer or config that was not there",
    "push.parts.sent": "the registry has everything below the names, and no name",
    "push.image.named": "the registry has a name; the lease is still there",
    # unpack
    "unpack.layer.prepared": "a layer has an empty active snapshot",
    "unpack.layer.applied": "a layer's files are in its active snapshot and match the diff id",
    "unpack.layer.committed": "a layer's snapshot is committed",
    # garbage collection
    "gc.marked": "what is dead is known, nothing was deleted",
    "gc.batch.deleted": "some rows of what is dead are gone, others are still there",
    "gc.rows.deleted": "the rows of what is dead are gone, files and directories are all there",
    "gc.snapshots.freed": "directories without rows are removed, blobs without rows are still there",
    "gc.blobs.freed": "blobs without rows are gone, old ingests still there",
    # commit of a container
    "commit.layer.paused": "the container is frozen, nothing was read of it",
    "commit.layer.stored": "the container's changes are a blob under the lease; it runs again",
    "commit.layer.unpacked": "the committed layer is a snapshot; the image has no name yet",
    "commit.image.named": "the committed image's record is there; the lease is still there",
    # images: removal, load, import
    "image.remove.untagged": "an image's names are deleted; nothing was collected",
    "load.archive.spooled": "the archive to load has come: its layers are blobs, the rest is in a nameless file",
    "load.archive.read": "the archive's blobs are in the store, nothing is unpacked",
    "load.image.unpacked": "an image of the archive is unpacked; it has no name yet",
    "load.images.named": "the records of the loaded images are committed; the lease is still there",
    "import.layer.taken": "the tar to import is a blob, and not unpacked",
    "import.layer.unpacked": "the imported layer is a snapshot; there is no image yet",
    "import.image.named": "the imported image's record is committed; the lease is still there",
}
"""Every point there is, with what has just happened when it is reached."""


class _Trap:
    """What happens at one point."""

    def __init__(self, name: str, action: str, argument: float, at: int) -> None:
        self._name = name
        self._action = action
        self._argument = argument
        self._at = at
        self._hits = 0
        self._lock = threading.Lock()

    def hit(self) -> None:
        with self._lock:
            self._hits += 1
            if self._at and self._hits != self._at:
                return
        if self._action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self._action == "delay":
            time.sleep(self._argument)
        else:
            raise Internal(f"trace point {self._name} was told to fail", hint=f"unset {VARIABLE}", subject=self._name)


_traps: dict[str, _Trap] | None = None


def point(name: str) -> None:
    """Do what was asked for at `name`: nothing, unless `arm` was told otherwise."""
    if _traps is not None and name in _traps:
        _traps[name].hit()


def arm(text: str) -> list[str]:
    """Set the traps that `text` (see the module) asks for, instead of those before; their names.

    Raises InvalidArgument for a name that is not in the table and for what is no action.
    """
    global _traps
    traps = dict(_parse(part.strip()) for part in text.split(",") if part.strip())
    _traps = traps or None
    return list(traps)


def _parse(part: str) -> tuple[str, _Trap]:
    name, _, rest = part.partition("=")
    if name not in POINTS:
        raise InvalidArgument(
            f"{VARIABLE}: there is no trace point {name!r}", hint=_closest(name, POINTS), subject=name
        )
    what, _, when = rest.partition("@")
    action, _, argument = what.partition(":")
    try:
        seconds = float(argument) if action == "delay" else 0.0
        at = 0 if when == "*" else int(when or 1)
    except ValueError:
        raise _no_action(part) from None
    if action not in ("kill", "error", "delay") or (argument and action != "delay") or at < 0 or not 0 <= seconds < 1e6:
        raise _no_action(part)
    return name, _Trap(name, action, seconds, at)


def _no_action(part: str) -> InvalidArgument:
    return InvalidArgument(
        f"{VARIABLE}: {part!r} names no action",
        hint="kill, error or delay:SECONDS, then @N or @* if wanted",
        subject=part,
    )


def _closest(name: str, known: Iterable[str]) -> str:
    area = name.partition(".")[0]
    near = [other for other in known if other.partition(".")[0] == area]
    return f"there are: {', '.join(near or known)}"
