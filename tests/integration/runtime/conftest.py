"""A laboratory for real containers: busybox as the root, runc or crun, conmon, control groups of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import pytest

from corten_shared.models.container import ContainerSpec, NetworkSpec
from corten_shared.models.snapshot import Mount
from corten_shared.models.task import ProcessId
from cortend.core import spec as oci
from cortend.core.runtime import IO, Attachment, Chunk, Exit, Handle, TaskKey
from cortend.linux import process
from cortend.runtime.cgroups import Cgroups
from cortend.runtime.facts import read_facts
from cortend.runtime.tasks import Tasks

P = ParamSpec("P")
T = TypeVar("T")

APPLETS = "sh true false cat echo sleep ls mount id stty env head dd kill grep wc hostname touch mkdir ps tail yes test"
BUSYBOX = "/usr/bin/busybox"
NEEDED = (BUSYBOX, "/usr/bin/conmon", "/usr/sbin/runc")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [path for path in NEEDED if not Path(path).exists()]
    reason = "needs root" if os.geteuid() else f"needs {', '.join(missing)}" if missing else ""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.root)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


class ThreadWorkers:
    """Workers on asyncio's own threads."""

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(function, *args, **kwargs)

    run_slow = run


class Running(NamedTuple):
    """A container that was created."""

    key: TaskKey
    handle: Handle


class Lab:
    """Makes containers below one state root. Use it inside `run`."""

    def __init__(self, directory: Path, image: Path, group: str) -> None:
        self.directory = directory
        self.image = image
        self.group = group
        # Longer than a socket's address may be.
        self.state_root = directory / ("state-" + "x" * 100)
        self._count = 0
        self.tasks: Tasks

    def run(self, scenario: Callable[[], Awaitable[T]]) -> T:
        """Run a scenario with `tasks` probed; whatever is left afterwards is removed."""

        async def whole() -> T:
            self.tasks = self.new_tasks()
            await self.tasks.probe()
            try:
                return await scenario()
            finally:
                for key in await self.tasks.leftovers():
                    await self.tasks.delete(key)
                self.tasks.close()

        return asyncio.run(whole())

    def new_tasks(self) -> Tasks:
        """What a (re)started daemon has."""
        return Tasks(state_root=self.state_root, workers=ThreadWorkers(), cgroup_parent=self.group)

    def spec(self, *args: str, **fields: Any) -> ContainerSpec:
        fields.setdefault("network", NetworkSpec(mode="none"))
        return ContainerSpec(args=list(args), **fields)

    async def create(
        self, *args: str, log: bool = True, context: dict[str, Any] | None = None, **fields: Any
    ) -> Running:
        spec = self.spec(*args, **fields)
        self._count += 1
        key = TaskKey("default", f"c{self._count}".ljust(64, "0"))
        bundle = await self.tasks.prepare(key, [Mount(type="bind", source=str(self.image), options=["rbind"])])
        config = oci.generate(spec, self.context(key, str(bundle.rootfs), **(context or {})))
        io = IO(spec.tty, spec.open_stdin, spec.stdin_once, self.log_path(key) if log else None)
        return Running(key, await self.tasks.create(key, config, io))

    def context(self, key: TaskKey, rootfs: str, **fields: Any) -> oci.SpecContext:
        return oci.SpecContext(
            id=key.id, rootfs=rootfs, facts=read_facts(), cgroup_path=self.tasks.cgroup_path(key.id), **fields
        )

    def log_path(self, key: TaskKey) -> Path:
        return self.directory / f"{key.id}.log"

    async def start(self, *args: str, **fields: Any) -> Running:
        made = await self.create(*args, **fields)
        await self.tasks.start(made.key)
        return made

    async def output(self, *args: str, **fields: Any) -> tuple[Exit, bytes, bytes]:
        """Run a container from beginning to end: its exit, stdout and stderr."""
        made = await self.create(*args, **fields)
        attachment = await self.tasks.attach(made.key, stdin=False)
        await self.tasks.start(made.key)
        out, err = await collect(attachment)
        ended = await self.tasks.wait(made.key, made.handle)
        await self.tasks.delete(made.key)
        return ended, out, err

    async def execute(
        self,
        made: Running,
        *args: str,
        tty: bool = False,
        stdin: bool = False,
        exec_id: str = "e1",
        attach: bool = True,
    ) -> tuple[Handle, Attachment | None]:
        bundle = self.tasks.bundle(made.key)
        process_ = oci.exec_process(self.spec("true"), self.context(made.key, str(bundle.rootfs)), args=args, tty=tty)
        io = IO(tty, stdin, stdin, None)
        return await self.tasks.exec(made.key, exec_id, process_, io, attach=attach)


async def collect(attachment: AsyncIterator[Chunk] | Attachment) -> tuple[bytes, bytes]:
    """All of stdout and of stderr."""
    streams = {1: bytearray(), 2: bytearray()}
    async for chunk in attachment:
        streams[chunk.stream] += chunk.data
    return bytes(streams[1]), bytes(streams[2])


async def read_until(attachment: Attachment, text: bytes) -> bytes:
    """Output up to and including `text`."""
    seen = b""
    async for chunk in attachment:
        seen += chunk.data
        if text in seen:
            return seen
    raise AssertionError(f"the output ended without {text!r}: {seen!r}")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A root file system with busybox."""
    root = tmp_path / "image"
    (root / "bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for name in APPLETS.split():
        (root / "bin" / name).symlink_to("busybox")
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "tmp").mkdir(mode=0o777)
    return root


@pytest.fixture
def lab(tmp_path: Path, image: Path) -> Iterator[Lab]:
    group = f"/corten-test-{os.getpid()}"
    yield Lab(tmp_path, image, group)
    cgroups = Cgroups.detect()
    left = cgroups.pids(group)
    cgroups.kill(group)
    cgroups.remove(group)
    assert not left, f"processes were left behind: {left}"


def alive(target: ProcessId) -> bool:
    return process.is_alive(target.pid, target.start)
