"""Progress streams of pulls and pushes in docker's shape: JSON objects, one a line."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

from corten_shared.errors import CortenError
from corten_shared.models.image import Progress, PullProgress, PushProgress
from cortend.api.docker.errors import message_of
from cortend.api.docker.responses import dump

log = logging.getLogger(__name__)


async def progress_lines(first: Progress, rest: AsyncIterator[Progress]) -> AsyncIterator[bytes]:
    """The lines of a stream that was begun; an error after the first one can only be told within it."""
    try:
        for row in _rows(first):
            yield line(row)
        async for progress in rest:
            for row in _rows(progress):
                yield line(row)
    except CortenError as error:
        yield error_line(error)
    finally:
        close = getattr(rest, "aclose", None)
        if close is not None:
            await close()


def line(payload: dict[str, Any]) -> bytes:
    """One object."""
    return dump(payload) + b"\r\n"


def error_line(error: CortenError) -> bytes:
    """The last line of a stream that failed."""
    log.info("transfer failed: %s", error, extra={"fields": {"code": error.code}})
    message = message_of(error)
    return line({"errorDetail": {"message": message}, "error": message})


def _rows(progress: Progress) -> list[dict[str, Any]]:
    row: dict[str, Any] = {"status": progress.status}
    if progress.id is not None:
        row["id"] = progress.id
    if progress.current is not None:
        row["progressDetail"] = {"current": progress.current, "total": progress.total or 0}
    elif progress.id is not None and not _is_head(progress):
        row["progressDetail"] = {}
    if isinstance(progress, PushProgress) and (pushed := progress.pushed):
        aux = {"Tag": pushed.tag, "Digest": pushed.digest, "Size": pushed.size}
        return [row, {"progressDetail": {}, "aux": aux}]
    return [row]


def _is_head(progress: Progress) -> bool:
    """Whether it is a pull's first or last line, which no layer has."""
    ends = isinstance(progress, PullProgress) and progress.image is not None
    return ends or progress.status.startswith("Pulling from")
