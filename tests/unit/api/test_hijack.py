"""The HTTP protocol of the daemon's socket: upgrades to raw streams, and bounds on requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

from cortend.api import hijack as module
from cortend.api.hijack import Hijack, HijackProtocol, wants_upgrade

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
UPGRADE = b"Connection: Upgrade\r\nUpgrade: tcp\r\n"
SWITCHED = (
    b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
    b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
)


class HijackResponse(Response):
    """Takes the connection over and runs `serve(reader, writer)` on it, as attach and exec do."""

    def __init__(self, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
        super().__init__()
        self._serve = serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hijack: Hijack = scope["extensions"]["hijack"]
        reader, writer = await hijack("application/vnd.docker.raw-stream", wants_upgrade(scope))
        await self._serve(reader, writer)


class Bench:
    """A server with one application on a unix socket, and what its handlers saw."""

    def __init__(self, path: Path, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]):
        self.path = path
        self.serve = serve
        self.state = ServerState()
        self.bodies: list[bytes] = []
        self.ended = asyncio.Event()

    async def upgrade(self, request: Request) -> Response:
        self.bodies.append(await request.body())

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await self.serve(reader, writer)
            finally:
                self.ended.set()

        return HijackResponse(serve)

    async def bodyless(self, request: Request) -> Response:
        """Hijacks without having read the body."""
        return HijackResponse(self.serve)

    async def plain(self, request: Request) -> Response:
        body = await request.body()
        return JSONResponse({"length": len(body), "upgrade": wants_upgrade(request.scope)})

    async def stream(self, request: Request) -> Response:
        async def lines() -> AsyncIterator[bytes]:
            try:
                yield b"one\n"
                await asyncio.Event().wait()
            finally:
                self.ended.set()

        return StreamingResponse(lines())

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[Bench]:
        routes = [
            Route(path, handler, methods=["GET", "POST"])
            for path, handler in (
                ("/upgrade", self.upgrade),
                ("/bodyless", self.bodyless),
                ("/plain", self.plain),
                ("/stream", self.stream),
            )
        ]
        config = Config(Starlette(routes=routes), ws="none", log_config=None, lifespan="off", proxy_headers=False)
        config.load()
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(lambda: HijackProtocol(config, self.state, {}, loop), self.path)
        try:
            yield self
        finally:
            server.close()
            for connection in list(self.state.connections):
                connection.abort()  # type: ignore[union-attr]
            for task in list(self.state.tasks):
                task.cancel()
            await asyncio.gather(*self.state.tasks, return_exceptions=True)
            await server.wait_closed()

    async def connect(self) -> Streams:
        return await asyncio.open_unix_connection(self.path)

    async def send(self, data: bytes) -> Streams:
        reader, writer = await self.connect()
        writer.write(data)
        return reader, writer


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write(b"<end>")


def run(
    folder: Path,
    scenario: Callable[[Bench], Awaitable[None]],
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] = echo,
) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), Bench(folder / "s", serve).run() as bench:
            await scenario(bench)

    asyncio.run(main())


async def head_of(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def all_of(streams: Streams) -> bytes:
    data = await streams[0].read()
    streams[1].close()
    return data


def request(path: str, body: bytes = b"", headers: bytes = UPGRADE) -> bytes:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return b"POST " + path.encode() + b" HTTP/1.1\r\nHost: d\r\n" + headers + length + b"\r\n" + body


def test_answers_101_in_dockers_words_and_hands_the_connection_over(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        reader, writer = await bench.send(request("/upgrade"))
        assert await head_of(reader) == SWITCHED
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.write_eof()
        assert await all_of((reader, writer)) == b"<end>"

    run(tmp_path, scenario)


def test_answers_200_without_an_upgrade_header(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        reader, writer = await bench.send(request("/upgrade", headers=b""))
        head = await head_of(reader)
        assert head == b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
        writer.write(b"raw")
        writer.write_eof()
        assert await all_of((reader, writer)) == b"raw<end>"

    run(tmp_path, scenario)


@pytest.mark.parametrize("cuts", [(), (10,), (90,), (150, 155)], ids=["whole", "in head", "in body", "three"])
def test_body_and_early_bytes_are_told_apart_however_they_are_cut(tmp_path: Path, cuts: tuple[int, ...]) -> None:
    """What the docker CLI sends for exec start: an upgrade with a JSON body; bytes behind it are the stream's."""
    body = json.dumps({"Detach": False, "Tty": True, "ConsoleSize": [24, 80]}).encode()
    sent = request("/upgrade", body) + b"EARLY"

    async def scenario(bench: Bench) -> None:
        reader, writer = await bench.connect()
        for start, end in zip((0, *cuts), (*cuts, len(sent)), strict=True):
            writer.write(sent[start:end])
            await writer.drain()
            await asyncio.sleep(0)
        assert await head_of(reader) == SWITCHED
        writer.write(b"+late")
        writer.write_eof()
        assert await all_of((reader, writer)) == b"EARLY+late<end>"
        assert bench.bodies == [body]

    run(tmp_path, scenario)


def test_body_that_arrives_after_the_head_is_received_in_full(tmp_path: Path) -> None:
    body = b"x" * 300_000

    async def scenario(bench: Bench) -> None:
        head = request("/upgrade", body).removesuffix(body)
        reader, writer = await bench.send(head)
        writer.write(body)
        assert await head_of(reader) == SWITCHED
        assert bench.bodies == [body]
        writer.close()

    run(tmp_path, scenario)


def test_unread_body_never_reaches_the_stream(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        streams = await bench.send(request("/bodyless", b"{}") + b"raw")
        streams[1].write_eof()
        assert await all_of(streams) == SWITCHED + b"raw<end>"

    run(tmp_path, scenario)


def test_half_close_is_the_end_of_input_while_output_goes_on(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        for _ in range(3):
            writer.write(data)
            await writer.drain()

    async def scenario(bench: Bench) -> None:
        streams = await bench.send(request("/upgrade") + b"in")
        streams[1].write_eof()  # perhaps before the answer
        assert await all_of(streams) == SWITCHED + b"in" * 3

    run(tmp_path, scenario, serve)


def test_bytes_pass_both_ways_under_back_pressure(tmp_path: Path) -> None:
    """Much more than any buffer, with a client that reads only after it has written a good part."""
    blob = bytes(range(256)) * 4096 * 8

    async def scenario(bench: Bench) -> None:
        reader, writer = await bench.send(request("/upgrade"))
        await head_of(reader)
        sending = asyncio.create_task(_send_all(writer, blob))
        done, _ = await asyncio.wait([sending], timeout=0.2)
        assert not done, "without a reader the sender must have to wait"
        received = await reader.readexactly(len(blob))
        await sending
        assert received == blob
        assert await all_of((reader, writer)) == b"<end>"

    run(tmp_path, scenario)


async def _send_all(writer: asyncio.StreamWriter, blob: bytes) -> None:
    for at in range(0, len(blob), 65536):
        writer.write(blob[at : at + 65536])
        await writer.drain()
    writer.write_eof()


@pytest.mark.parametrize("half_closed_first", [False, True])
def test_client_that_goes_away_ends_a_silent_stream(tmp_path: Path, half_closed_first: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def scenario(bench: Bench) -> None:
        reader, writer = await bench.send(request("/upgrade"))
        await head_of(reader)
        if half_closed_first:
            writer.write_eof()
            await asyncio.sleep(0)
            assert not bench.ended.is_set()
        writer.close()
        await bench.ended.wait()
        assert not bench.state.connections

    run(tmp_path, scenario, serve)


def test_handlers_end_closes_the_connection_after_everything_was_sent(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"z" * 1_000_000)

    async def scenario(bench: Bench) -> None:
        streams = await bench.send(request("/upgrade"))
        assert await all_of(streams) == SWITCHED + b"z" * 1_000_000
        assert not bench.state.connections

    run(tmp_path, scenario, serve)


def test_failing_handler_closes_the_connection(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise RuntimeError("boom")

    async def scenario(bench: Bench) -> None:
        assert await all_of(await bench.send(request("/upgrade"))) == SWITCHED

    run(tmp_path, scenario, serve)


def test_hijacked_connections_are_counted_and_can_be_cut(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        reader, writer = await bench.send(request("/upgrade"))
        await head_of(reader)
        (connection,) = bench.state.connections
        connection.cut()  # type: ignore[union-attr]
        await reader.read()
        writer.close()
        await bench.ended.wait()
        assert not bench.state.connections

    run(tmp_path, scenario)


def test_upgrade_that_is_not_taken_is_answered_as_http_and_closed(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        answer = await all_of(await bench.send(request("/plain", b"12345")))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"connection: close" in answer
        assert answer.endswith(b'{"length":5,"upgrade":true}')

    run(tmp_path, scenario)


def test_connection_is_kept_alive_and_pipelined_requests_answered_in_order(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        reader, writer = await bench.send(b"".join(request("/plain", b"x" * n, b"") for n in (1, 2)))
        writer.write(request("/plain", b"xxx", b""))
        for length in (1, 2, 3):
            assert b"200 OK" in await head_of(reader)
            assert json.loads(await reader.readuntil(b"}"))["length"] == length
        writer.close()

    run(tmp_path, scenario)


def test_stream_ends_when_cut_and_its_generator_is_closed(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        reader, writer = await bench.send(request("/stream", headers=b""))
        await reader.readuntil(b"one\n")
        for connection in list(bench.state.connections):
            connection.cut()  # type: ignore[union-attr]
        assert b"0\r\n\r\n" not in await all_of((reader, writer)), "a cut stream must not look whole"
        await bench.ended.wait()

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /plain HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
        (b"POST /plain HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /plain HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        (b"POST /plain HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
        (b"POST /plain HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /plain HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400),
        (b"GET /plain\r\n\r\nGARBAGE", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /" + b"a" * (module.MAX_URL + 1) + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /plain HTTP/1.1\r\nX: " + b"a" * (module.MAX_HEAD + 300_000), 431),
        (b"GET /plain HTTP/1.1\r\n" + b"X: y\r\n" * (module.MAX_FIELDS + 1) + b"\r\n", 431),
        (b"POST /upgrade HTTP/1.1\r\n" + UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n", 411),
    ],
)  # fmt: skip
def test_malformed_and_oversized_heads_are_refused(tmp_path: Path, sent: bytes, status: int) -> None:
    async def scenario(bench: Bench) -> None:
        answer = await asyncio.to_thread(_talk, bench.path, sent)
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:100]
        assert not bench.bodies

    run(tmp_path, scenario)


def _talk(path: Path, data: bytes) -> bytes:
    """Send (as far as it is taken) and read to the end."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        with contextlib.suppress(BrokenPipeError):
            client.sendall(data)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := client.recv(65536):
                answer += piece
        return answer


@pytest.mark.parametrize("sent", [b"", b"GET /pl", b"\r\n\r\n", request("/plain", b"", b"") + b"GET"])
def test_head_that_does_not_arrive_ends_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """Slow peers hold no connection: also not by a few bytes after a good request."""
    monkeypatch.setattr(module, "HEAD_TIMEOUT", 0.05)

    async def scenario(bench: Bench) -> None:
        answer = await all_of(await bench.send(sent))
        assert b"HTTP/1.1 408 " in answer

    run(tmp_path, scenario)


def test_handler_that_takes_its_time_is_not_taken_for_a_slow_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEAD_TIMEOUT", 0.02)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.write(b"done")

    async def scenario(bench: Bench) -> None:
        assert await all_of(await bench.send(request("/upgrade"))) == SWITCHED + b"done"

    run(tmp_path, scenario, serve)


def test_hijack_after_the_answer_was_begun_is_a_bug_that_says_so(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    class Late(Response):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            try:
                await scope["extensions"]["hijack"]("x/y", False)
            except RuntimeError as error:
                errors.append(error)
            await send({"type": "http.response.body", "body": b"whole"})

    async def scenario(bench: Bench) -> None:
        async def late(request: Request) -> Response:
            return Late()

        bench.plain = late  # type: ignore[method-assign]
        async with Bench.run(bench):
            answer = await bench.send(request("/plain", headers=b"Connection: close\r\n"))
            assert b"whole" in await all_of(answer)
        assert "after the response was begun" in str(errors[0])

    async def main() -> None:
        async with asyncio.timeout(30):
            await scenario(Bench(tmp_path / "s", echo))

    asyncio.run(main())
