"""What a container is doing: attach, logs, wait, resize, top, stats."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Iterable
from typing import TYPE_CHECKING, cast
from urllib.parse import quote_plus

from starlette.responses import Response

from corten_shared.errors import Conflict, InvalidArgument, NotFound
from corten_shared.models.container import ContainerRecord
from cortend.api.docker import versions
from cortend.api.docker.call import NAMESPACE, Call
from cortend.api.docker.moments import log_time, parse_moment
from cortend.api.docker.responses import Stream, coalesce, dump, json_response, text_response
from cortend.api.docker.routing import Route
from cortend.api.docker.stats import Sampler
from cortend.api.streams import STDERR, STDOUT, Hijacked, frame, parse_detach_keys
from cortend.services.log_options import attributes
from cortend.services.requests import LogLine, LogOptions, WaitCondition, WaitResult

if TYPE_CHECKING:
    from cortend.services.all import Services

_CONDITIONS = ("not-running", "next-exit", "removed")
_STATS_INTERVAL = 1.0


def routes(services: Services) -> Iterable[Route]:
    """The routes of this noun."""
    api = Processes(services)
    return (
        Route("POST", "/containers/{id}/attach", api.attach),
        Route("GET", "/containers/{id}/logs", api.logs),
        Route("POST", "/containers/{id}/wait", api.wait),
        Route("POST", "/containers/{id}/resize", api.resize),
        Route("GET", "/containers/{id}/top", api.top),
        Route("GET", "/containers/{id}/stats", api.stats),
    )


class Processes:
    """Handlers; each calls its service and translates."""

    def __init__(self, services: Services) -> None:
        self._containers = services.containers

    async def attach(self, call: Call) -> Response:
        """POST …/attach: the connection becomes the container's streams, also before it was started."""
        keys = parse_detach_keys(call.text("detachKeys"))
        view = await self._containers.get(NAMESPACE, call.params["id"])
        stdin = call.flag("stdin")
        attachment = await self._containers.attach(
            NAMESPACE, view.record.id, stdin=stdin, logs=call.flag("logs"), stream=call.flag("stream")
        )
        tty = view.record.spec.tty
        return Hijacked(
            attachment,
            versions.raw_stream_type(call.version, tty=tty),
            tty=tty,
            outputs=_outputs(call),
            stdin=stdin,
            detach_keys=keys,
        )

    async def logs(self, call: Call) -> Response:
        """GET …/logs: frames, or raw bytes of a terminal."""
        outputs = _outputs(call)
        if not outputs:
            raise InvalidArgument("Bad parameters: you must choose at least one stream")
        options = LogOptions(
            stdout=STDOUT in outputs,
            stderr=STDERR in outputs,
            since_ns=parse_moment("since", call.text("since")),
            until_ns=parse_moment("until", call.text("until")),
            tail=_tail(call.text("tail")),
            follow=call.flag("follow"),
        )
        view = await self._containers.get(NAMESPACE, call.params["id"])
        lines = await self._containers.logs(NAMESPACE, view.record.id, options)
        tty = view.record.spec.tty
        details = _details(view.record) if call.flag("details") else b""
        body = _render(lines, tty=tty, timestamps=call.flag("timestamps"), details=details)
        return Stream(coalesce(body), versions.raw_stream_type(call.version, tty=tty))

    async def wait(self, call: Call) -> Response:
        """POST …/wait: the headers go out when the wait is registered, the exit code at the end."""
        condition = call.text("condition") or "not-running"
        if condition not in _CONDITIONS:
            raise InvalidArgument(f'invalid condition: "{condition[:40]}"')
        result = await self._containers.waiter(NAMESPACE, call.params["id"], cast(WaitCondition, condition))
        return Stream(_wait_body(result), "application/json")

    async def resize(self, call: Call) -> Response:
        """POST …/resize?h=&w=."""
        height, width = size_of(call)
        await self._containers.resize(NAMESPACE, call.params["id"], width, height)
        return text_response("")

    async def top(self, call: Call) -> Response:
        """GET …/top?ps_args=."""
        processes = await self._containers.processes(NAMESPACE, call.params["id"])
        rows = [[str(process.pid), process.command] for process in processes]
        return json_response({"Titles": ["PID", "CMD"], "Processes": rows})

    async def stats(self, call: Call) -> Response:
        """GET …/stats: a sample a second, or one (`stream=0`), at once with `one-shot=1`."""
        view = await self._containers.get(NAMESPACE, call.params["id"])
        sampler = Sampler(view)
        if call.flag("stream", True):
            return Stream(self._stats(view.record.id, sampler), "application/json")
        document = await self._sample(view.record.id, sampler)
        if not call.flag("one-shot") and sampler.live:
            await asyncio.sleep(_STATS_INTERVAL)
            document = await self._sample(view.record.id, sampler)
        return json_response(document)

    async def _stats(self, container_id: str, sampler: Sampler) -> AsyncIterator[bytes]:
        with contextlib.suppress(NotFound):
            while True:
                yield dump(await self._sample(container_id, sampler)) + b"\n"
                await asyncio.sleep(_STATS_INTERVAL)

    async def _sample(self, container_id: str, sampler: Sampler) -> dict[str, object]:
        try:
            return sampler.sample(await self._containers.metrics(NAMESPACE, container_id))
        except Conflict:  # it does not run: docker answers zeros
            return sampler.nothing()


def size_of(call: Call) -> tuple[int, int]:
    """Height and width of a terminal, as the kernel can hold them."""
    height, width = call.required_integer("h"), call.required_integer("w")
    if not (0 <= height < 1 << 16 and 0 <= width < 1 << 16):
        raise InvalidArgument(f"invalid terminal size {height}x{width}")
    return height, width


def _outputs(call: Call) -> frozenset[int]:
    return frozenset(stream for name, stream in (("stdout", STDOUT), ("stderr", STDERR)) if call.flag(name))


def _tail(text: str) -> int | None:
    """Lines from the end; None is all, which docker also takes every other word for."""
    return int(text) if re.fullmatch(r"\d{1,15}", text, re.ASCII) else None


def _details(record: ContainerRecord) -> bytes:
    """What `--log-opt labels` and `env` chose, before each line; a space alone when that is nothing."""
    chosen = attributes(record.spec.log, record.labels, record.spec.env)
    pairs = (f"{quote_plus(key)}={quote_plus(value)}" for key, value in sorted(chosen.items()))
    return ",".join(pairs).encode() + b" "


async def _render(
    lines: AsyncIterator[LogLine], *, tty: bool, timestamps: bool, details: bytes
) -> AsyncIterator[bytes]:
    start_of_line = {STDOUT: True, STDERR: True}
    async for line in lines:
        data = line.data
        if start_of_line[line.stream]:  # a piece of a long line gets no second time stamp
            data = (log_time(line.time_ns) + b" " if timestamps else b"") + details + data
        start_of_line[line.stream] = data.endswith(b"\n")
        yield data if tty else frame(line.stream, data)


async def _wait_body(result: Awaitable[WaitResult]) -> AsyncIterator[bytes]:
    ended = await result
    body: dict[str, object] = {"StatusCode": ended.exit_code}
    if ended.error:
        body["Error"] = {"Message": ended.error}
    yield dump(body) + b"\n"
