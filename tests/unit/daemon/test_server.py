"""The daemon's life: ready, reload, stop; with an application of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from corten_shared.errors import AlreadyExists, InvalidArgument
from cortend.config import Config
from cortend.config_file import parse
from cortend.listeners import locked_roots
from cortend.server import Daemon


class App:
    """An application that says what happens to it."""

    def __init__(self) -> None:
        routes = [Route("/quick", self.quick), Route("/stream", self.stream), Route("/slow", self.slow)]
        self.asgi = Starlette(routes=routes)
        self.reloads: list[tuple[Config, Config]] = []
        self.closed = False
        self.slow_begun = asyncio.Event()
        self.slow_may_end = asyncio.Event()
        self.stream_ended = asyncio.Event()

    def reload(self, old: Config, new: Config) -> None:
        self.reloads.append((old, new))

    async def quick(self, request: Request) -> Response:
        return PlainTextResponse("quick")

    async def slow(self, request: Request) -> Response:
        self.slow_begun.set()
        await self.slow_may_end.wait()
        return PlainTextResponse("slow")

    async def stream(self, request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            try:
                yield b"first"
                await asyncio.Event().wait()
            finally:
                self.stream_ended.set()

        return StreamingResponse(body())


class Bench:
    """A daemon in this process, in its own folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.file = ""
        self.app: App | None = None
        self.told: list[bytes] = []
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(str(folder / "notify"))
        self.notified.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "notify"))

    def load(self) -> Config:
        config = parse(self.file, Path("test.toml"))
        return config.with_flags(root=self.folder / "root", state=self.folder / "state", level="info")

    @asynccontextmanager
    async def open_application(self, config: Config, status: Callable[[str], None]) -> AsyncIterator[App]:
        status("recovering")
        self.app = App()
        yield self.app
        self.app.closed = True

    async def next_state(self, wanted: bytes) -> bytes:
        """Wait for a datagram with this line."""
        loop = asyncio.get_running_loop()
        while True:
            datagram = await loop.sock_recv(self.notified, 4096)
            self.told.append(datagram)
            if wanted in datagram.split(b"\n"):
                return datagram

    async def get(self, path: str) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self.folder / "state/corten.sock")
        writer.write(f"GET {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n".encode())
        try:
            return await reader.read()
        finally:
            writer.close()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="corten-") as name:
        bench = Bench(Path(name), monkeypatch)
        with bench.notified:
            yield bench


def run(bench: Bench, scenario: Callable[[App], Awaitable[None]]) -> None:
    """Start the daemon, do the scenario once it is ready, and wait for its end."""

    async def main() -> None:
        async with asyncio.timeout(60):
            daemon = asyncio.create_task(Daemon(bench.load, bench.open_application).run())
            try:
                await bench.next_state(b"READY=1")
                assert bench.app is not None
                await scenario(bench.app)
                await daemon
            finally:
                daemon.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await daemon

    before = os.umask(0o022)
    try:
        asyncio.run(main())
    finally:
        os.umask(before)


def test_ready_comes_after_recovery_and_the_api_answers_then(bench: Bench) -> None:
    async def scenario(app: App) -> None:
        assert bench.told[0] == b"STATUS=recovering"
        assert b"quick" in await bench.get("/quick")
        os.kill(os.getpid(), signal.SIGTERM)

    run(bench, scenario)
    assert bench.app is not None
    assert bench.app.closed
    assert not (bench.folder / "state/corten.sock").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_cuts_streams_and_lets_requests_end(bench: Bench, number: signal.Signals) -> None:
    async def scenario(app: App) -> None:
        streaming = asyncio.create_task(bench.get("/stream"))
        slow = asyncio.create_task(bench.get("/slow"))
        await app.slow_begun.wait()
        os.kill(os.getpid(), number)
        await bench.next_state(b"STOPPING=1")
        await app.stream_ended.wait()
        assert not (await streaming).endswith(b"0\r\n\r\n"), "a cut stream must not look whole"
        assert not slow.done()
        app.slow_may_end.set()
        assert (await slow).endswith(b"slow")

    run(bench, scenario)


def test_request_that_does_not_end_is_dropped_after_its_time(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.file = "[api]\nstop_timeout = 0.05\n"

    async def scenario(app: App) -> None:
        slow = asyncio.create_task(bench.get("/slow"))
        await app.slow_begun.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        assert b"200" not in await slow

    with caplog.at_level(logging.WARNING):
        run(bench, scenario)
    assert "1 requests were dropped" in caplog.text


def test_hup_applies_live_keys_and_names_the_others(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(app: App) -> None:
        bench.file = "[registries.x]\nplain_http = true\n[network]\nmtu = 1400\n"
        os.kill(os.getpid(), signal.SIGHUP)
        await bench.next_state(b"RELOADING=1")
        await bench.next_state(b"READY=1")
        ((old, new),) = app.reloads
        assert (old.registries, old.network.mtu) == ({}, 1500)
        assert (new.registries["x"].plain_http, new.network.mtu) == (True, 1500)
        os.kill(os.getpid(), signal.SIGTERM)

    with caplog.at_level(logging.INFO):
        run(bench, scenario)
    assert "restart the daemon to change network.mtu" in caplog.text


def test_hup_with_a_broken_file_changes_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(app: App) -> None:
        bench.file = "[network]\nbrige = 1\n"
        os.kill(os.getpid(), signal.SIGHUP)
        await bench.next_state(b"RELOADING=1")
        await bench.next_state(b"READY=1")
        assert app.reloads == []
        assert b"quick" in await bench.get("/quick")
        os.kill(os.getpid(), signal.SIGTERM)

    with caplog.at_level(logging.ERROR):
        run(bench, scenario)
    assert "test.toml:2: unknown key 'network.brige'" in caplog.text


def test_signal_during_recovery_stops_the_start(bench: Bench) -> None:
    reached = asyncio.Event()

    @asynccontextmanager
    async def never_ready(config: Config, status: Callable[[str], None]) -> AsyncIterator[App]:
        reached.set()
        await asyncio.Event().wait()
        yield App()

    async def main() -> None:
        daemon = asyncio.create_task(Daemon(bench.load, never_ready).run())
        async with asyncio.timeout(30):
            await reached.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            with pytest.raises(asyncio.CancelledError):
                await daemon

    asyncio.run(main())
    assert not (bench.folder / "state/corten.sock").exists()


def test_second_daemon_on_the_same_root_is_refused(bench: Bench) -> None:
    with (
        locked_roots(bench.folder / "root", bench.folder / "other", ""),
        pytest.raises(AlreadyExists, match=f"pid {os.getpid()}"),
    ):
        asyncio.run(Daemon(bench.load, bench.open_application).run())
    assert bench.app is None


def test_error_of_the_application_ends_the_start(bench: Bench) -> None:
    @asynccontextmanager
    async def broken(config: Config, status: Callable[[str], None]) -> AsyncIterator[App]:
        raise InvalidArgument("no OCI runtime")
        yield App()

    with pytest.raises(InvalidArgument, match="no OCI runtime"):
        asyncio.run(Daemon(bench.load, broken).run())
    assert not (bench.folder / "state/corten.sock").exists()


def test_watchdog_is_fed_while_the_loop_turns(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000")

    async def scenario(app: App) -> None:
        await bench.next_state(b"WATCHDOG=1")
        await bench.next_state(b"WATCHDOG=1")
        os.kill(os.getpid(), signal.SIGTERM)

    run(bench, scenario)


def test_requests_are_logged_at_debug_without_their_query(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(app: App) -> None:
        logging.getLogger("cortend.server").setLevel(logging.DEBUG)
        await bench.get("/quick?password=hunter2")
        os.kill(os.getpid(), signal.SIGTERM)

    try:
        run(bench, scenario)
    finally:
        logging.getLogger("cortend.server").setLevel(logging.NOTSET)
    assert "GET /quick" in caplog.text
    assert "hunter2" not in caplog.text
