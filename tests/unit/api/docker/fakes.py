"""Services that live in memory, and the Engine API over them: what goes in and comes out, without containers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
from uvicorn.config import Config
from uvicorn.server import ServerState

from corten_shared.errors import Conflict, NotFound
from corten_shared.models.container import ContainerRecord, ContainerSpec
from corten_shared.models.event import Event
from corten_shared.models.image import PullProgress
from corten_shared.models.network import Endpoint, NetworkRecord
from corten_shared.models.task import ExecRecord, TaskRecord, TaskStatus
from cortend.api.docker.app import DockerApi
from cortend.api.hijack import HijackProtocol
from cortend.core.runtime import Chunk
from cortend.services.events import EventService
from cortend.services.requests import Created, CreateRequest, ExecRequest, LogLine, LogOptions, WaitResult
from cortend.services.views import ContainerView

IMAGE_ID = "sha256:" + "1" * 64
T0 = 1_700_000_000_000_000_000


def make_view(
    name: str = "web",
    *,
    number: int = 1,
    status: TaskStatus | None = TaskStatus.RUNNING,
    exit_code: int | None = None,
    endpoint: Endpoint | None = None,
    labels: dict[str, str] | None = None,
    extensions: dict[str, Any] | None = None,
    **spec: Any,
) -> ContainerView:
    """A container in some state."""
    identifier = f"{number:064x}"
    spec.setdefault("args", ["sleep", "1 hour"])
    record = ContainerRecord(
        id=identifier,
        name=name,
        image="busybox",
        image_name="docker.io/library/busybox:latest",
        image_id=IMAGE_ID,
        image_digest="sha256:" + "2" * 64,
        snapshotter="overlayfs",
        snapshot_key=identifier,
        labels=labels or {},
        spec=ContainerSpec(**spec),
        extensions=extensions or {},
        created_at=T0 + number,
        updated_at=T0,
    )
    task = None
    if status is not None:
        task = TaskRecord(
            container_id=identifier, status=status, exit_code=exit_code, started_at=T0, finished_at=T0 + 10**9
        )
    return ContainerView("default", record, task, endpoint)


class FakeAttachment:
    """A process that echoes its input in upper case and ends when the input does, or says `chunks` and ends."""

    def __init__(self, chunks: list[Chunk] | None = None, *, silent: bool = False) -> None:
        self.queue: asyncio.Queue[Chunk | None] = asyncio.Queue()
        self.written = b""
        self.stdin_closed = False
        self.closed = asyncio.Event()
        for chunk in chunks or []:
            self.queue.put_nowait(chunk)
        if chunks is not None and not silent:
            self.queue.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        while (chunk := await self.queue.get()) is not None:
            yield chunk

    async def write(self, data: bytes) -> None:
        self.written += data
        self.queue.put_nowait(Chunk(1, data.upper()))

    async def close_stdin(self) -> None:
        self.stdin_closed = True
        self.queue.put_nowait(None)

    async def close(self) -> None:
        self.closed.set()


@dataclass
class FakeContainers:
    """ContainerService, as far as the handlers call it; `calls` is what was asked."""

    views: list[ContainerView] = field(default_factory=list)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    attachment: FakeAttachment | None = None
    lines: list[LogLine] = field(default_factory=list)
    result: asyncio.Future[WaitResult] | None = None
    error: Exception | None = None

    async def get(self, ns: str, ref: str) -> ContainerView:
        for view in self.views:
            if ref.removeprefix("/") == view.record.name or view.record.id.startswith(ref):
                return view
        raise NotFound(f"No such container: {ref}")

    async def list(self, ns: str, *, all: bool = False) -> list[ContainerView]:
        return [view for view in self.views if all or view.running]

    async def create(self, ns: str, request: CreateRequest) -> Created:
        self.calls.append(("create", ns, request))
        if self.error:
            raise self.error
        return Created(make_view(request.name or "random", number=9).record, ["a warning"])

    def directory(self, view: ContainerView) -> Path:
        return Path("/data") / view.record.id

    async def size(self, view: ContainerView) -> int:
        return 42

    async def attach(self, ns: str, ref: str, *, stdin: bool, logs: bool, stream: bool) -> FakeAttachment:
        self.calls.append(("attach", ref, stdin, logs, stream))
        assert self.attachment is not None
        return self.attachment

    async def logs(self, ns: str, ref: str, options: LogOptions) -> AsyncIterator[LogLine]:
        self.calls.append(("logs", ref, options))

        async def lines() -> AsyncIterator[LogLine]:
            for line in self.lines:
                yield line

        return lines()

    async def waiter(self, ns: str, ref: str, condition: str) -> Awaitable[WaitResult]:
        await self.get(ns, ref)
        self.calls.append(("wait", ref, condition))
        assert self.result is not None
        return self.result

    def __getattr__(self, name: str) -> Any:
        """Every other method records its call and raises what it was told to."""

        async def call(ns: str, *args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, *args, kwargs))
            if self.error:
                raise self.error
            return []

        return call


@dataclass
class FakeExecs:
    """ExecService."""

    record: ExecRecord | None = None
    attachment: FakeAttachment | None = None
    error: Exception | None = None
    requests: list[ExecRequest] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)

    async def create(self, ns: str, ref: str, request: ExecRequest) -> str:
        self.requests.append(request)
        self.record = ExecRecord(container_id="1", **{**request.model_dump(), "id": "e" * 64})
        return self.record.id

    async def inspect(self, ns: str, exec_id: str) -> ExecRecord:
        if self.record is None:
            raise NotFound(f"No such exec instance: {exec_id}")
        return self.record

    async def start(self, ns: str, exec_id: str, *, detach: bool) -> FakeAttachment | None:
        if self.error:
            raise self.error
        return None if detach else self.attachment

    async def wait(self, ns: str, exec_id: str) -> None:
        pass

    async def resize(self, ns: str, exec_id: str, width: int, height: int) -> None:
        self.sizes.append((width, height))
        raise Conflict("it does not run any more")

    def of_container(self, ns: str, container_id: str) -> list[str]:
        return []


@dataclass
class FakePulls:
    """PullService: says `lines`, then raises `error` if there is one."""

    lines: list[PullProgress] = field(default_factory=list)
    error: Exception | None = None
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    async def pull(
        self, ns: str, reference: str, *, platform: str = "", credentials: Any = None
    ) -> AsyncIterator[PullProgress]:
        self.asked.append((reference, platform, credentials))
        for line in self.lines:
            yield line
        if self.error:
            raise self.error

    def pull_all(self, ns: str, name: str, **given: Any) -> AsyncIterator[PullProgress]:
        return self.pull(ns, f"every tag of {name}", **given)


class FakeExchange:
    """An exchange whose subscribers get `live` and then nothing more."""

    def __init__(self) -> None:
        self.live: list[Event] = []
        self.left = asyncio.Event()

    @contextlib.contextmanager
    def subscribe(self, accept: Callable[[Event], bool] | None = None) -> Iterator[AsyncIterator[Event]]:
        async def events() -> AsyncIterator[Event]:
            for event in self.live:
                if accept is None or accept(event):
                    yield event
            await asyncio.Event().wait()

        try:
            yield events()
        finally:
            self.left.set()


class FakeMetadata:
    """A journal."""

    def __init__(self) -> None:
        self.journal: list[Event] = []

    @contextlib.contextmanager
    def view(self) -> Iterator[Any]:
        def listed(*, since: int = 0, until: int | None = None) -> list[Event]:
            return [e for e in self.journal if e.time >= since and (until is None or e.time < until)]

        yield SimpleNamespace(events=SimpleNamespace(list=listed))


class FakeWorkers:
    """Runs at once."""

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)


class Engine:
    """The API over fakes, and ways to call it."""

    def __init__(self) -> None:
        self.containers = FakeContainers()
        self.execs = FakeExecs()
        self.pulls = FakePulls()
        self.exchange = FakeExchange()
        self.metadata = FakeMetadata()
        bridge = NetworkRecord(id="b", name="bridge", driver="bridge", interface="c0", subnet="10.1.0.0/16",
                               gateway="10.1.0.1", created_at=T0)  # fmt: skip
        services: Any = SimpleNamespace(
            containers=self.containers,
            execs=self.execs,
            pulls=self.pulls,
            pushes=SimpleNamespace(),
            images=SimpleNamespace(),
            saves=SimpleNamespace(),
            loads=SimpleNamespace(),
            registries=SimpleNamespace(),
            archives=SimpleNamespace(),
            commits=SimpleNamespace(),
            volumes=SimpleNamespace(),
            system=SimpleNamespace(),
            network=SimpleNamespace(network=lambda: bridge),
            snapshotters={"overlayfs": None},
            metadata=self.metadata,
            events=EventService(metadata=self.metadata, exchange=self.exchange, workers=FakeWorkers()),
            workers=FakeWorkers(),
        )
        self.api = DockerApi(services)

    def call(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """One request, answered whole."""

        async def main() -> httpx.Response:
            transport = httpx.ASGITransport(self.api, raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url="http://docker") as client:
                return await client.request(method, path, **kwargs)

        return asyncio.run(main())

    @contextlib.asynccontextmanager
    async def serve(self, path: Path) -> AsyncIterator[Path]:
        """The API on a unix socket, over the daemon's real HTTP protocol."""
        state = ServerState()
        config = Config(self.api, ws="none", log_config=None, lifespan="off", proxy_headers=False, server_header=False)
        config.load()
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(lambda: HijackProtocol(config, state, {}, loop), path)
        try:
            yield path
        finally:
            server.close()
            for connection in list(state.connections):
                connection.abort()  # type: ignore[union-attr]
            await asyncio.gather(*state.tasks, return_exceptions=True)
            await server.wait_closed()
