"""Tasks: containers' processes, named by their containers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from corten_shared.errors import NotFound
from corten_shared.models.api import (
    Items,
    LogEntry,
    TaskDetail,
    TaskKill,
    TaskResult,
    TaskStart,
    TaskStop,
    TerminalSize,
)
from corten_shared.models.task import Metrics, Process
from cortend.api.native.containers import views_of
from cortend.api.native.listing import Listed
from cortend.api.native.parameters import (
    DEFAULT,
    AllNamespaces,
    ContainerRef,
    Namespace,
    Since,
    Until,
    moment,
)
from cortend.api.native.streaming import JsonLines, Stream, late, lines
from cortend.api.streams import Hijacked
from cortend.services.all import Services
from cortend.services.requests import LogLine, LogOptions, WaitCondition, WaitResult
from cortend.services.tasks import TaskService
from cortend.services.views import ContainerView

RAW = "application/vnd.corten.raw-stream"
FRAMED = "application/vnd.corten.multiplexed-stream"

Tail = Annotated[int | None, Query(ge=0, description="Only so many lines from the end.")]


def router(services: Services) -> APIRouter:
    """The routes of this noun."""
    api = APIRouter(prefix="/tasks", tags=["tasks"])
    _add_lifecycle(api, services)
    _add_streams(api, services)
    return api


def _add_lifecycle(api: APIRouter, services: Services) -> None:
    containers = services.containers

    @api.get("")
    async def list_tasks(
        listing: Listed, namespace: Namespace = DEFAULT, all_namespaces: AllNamespaces = False
    ) -> Items[TaskDetail]:
        """Every task, running or ended, by name."""
        views = await views_of(services, namespace, all_namespaces)
        return await listing.items(
            services.workers,
            lambda: [_detail(view) for view in views if view.task is not None],
            key=lambda found: (found.namespace, found.name),
            also=lambda found: (found.task,),
        )

    @api.post("", status_code=201)
    async def start_task(body: TaskStart, namespace: Namespace = DEFAULT) -> TaskDetail:
        """Start a container's task; `not_modified` when it runs."""
        await containers.start(namespace, body.container)
        return _detail(await containers.get(namespace, body.container))

    @api.get("/{ref}")
    async def get_task(ref: ContainerRef, namespace: Namespace = DEFAULT) -> TaskDetail:
        """The container's last task."""
        return _detail(await containers.get(namespace, ref))

    @api.delete("/{ref}", status_code=204)
    async def delete_task(ref: ContainerRef, namespace: Namespace = DEFAULT, force: bool = False) -> None:
        """Forget an ended task, keeping the container; `force` kills it first."""
        await TaskService(
            metadata=services.metadata, workers=services.workers, containers=containers
        ).delete(namespace, ref, force=force)

    @api.post("/{ref}/kill", status_code=204)
    async def kill_task(ref: ContainerRef, body: TaskKill, namespace: Namespace = DEFAULT) -> None:
        """Send a signal to the task's init, or with `all` to every process."""
        await containers.kill(namespace, ref, body.signal, all=body.all)

    @api.post("/{ref}/stop", status_code=204)
    async def stop_task(ref: ContainerRef, body: TaskStop, namespace: Namespace = DEFAULT) -> None:
        """Ask the task to end, and kill it after a time."""
        await containers.stop(namespace, ref, timeout=body.timeout, signal=body.signal)

    @api.post("/{ref}/pause", status_code=204)
    async def pause_task(ref: ContainerRef, namespace: Namespace = DEFAULT) -> None:
        """Freeze every process."""
        await containers.pause(namespace, ref)

    @api.post("/{ref}/resume", status_code=204)
    async def resume_task(ref: ContainerRef, namespace: Namespace = DEFAULT) -> None:
        """Thaw."""
        await containers.unpause(namespace, ref)

    @api.get("/{ref}/metrics")
    async def get_metrics(ref: ContainerRef, namespace: Namespace = DEFAULT) -> Metrics:
        """What the task uses now."""
        return await containers.metrics(namespace, ref)

    @api.get("/{ref}/processes")
    async def list_processes(
        ref: ContainerRef, listing: Listed, namespace: Namespace = DEFAULT
    ) -> Items[Process]:
        """Every process of the task, as the host sees it."""
        found = await containers.processes(namespace, ref)
        return await listing.items(services.workers, lambda: found, key=lambda process: process.pid)


def _add_streams(api: APIRouter, services: Services) -> None:
    containers = services.containers

    @api.get("/{ref}/wait", response_class=Stream, responses={200: {"model": TaskResult}})
    async def wait_task(
        ref: ContainerRef, namespace: Namespace = DEFAULT, condition: WaitCondition = "not-running"
    ) -> Stream:
        """Answer when the task has ended. The head comes at once: from then on no end is missed."""
        return late(_result(await containers.waiter(namespace, ref, condition)))

    @api.get("/{ref}/logs", response_class=JsonLines, responses={200: {"model": LogEntry}})
    async def read_logs(
        ref: ContainerRef,
        namespace: Namespace = DEFAULT,
        stdout: bool = True,
        stderr: bool = True,
        since: Since = None,
        until: Until = None,
        tail: Tail = None,
        follow: bool = False,
    ) -> Stream:
        """The task's output as JSON lines; with `follow` until it ends."""
        options = LogOptions(
            stdout=stdout, stderr=stderr, since_ns=moment(since), until_ns=moment(until), tail=tail, follow=follow
        )
        return lines(_entries(await containers.logs(namespace, ref, options)))

    @api.post("/{ref}/attach", response_class=Response, responses={101: {}})
    async def attach_task(
        ref: ContainerRef, namespace: Namespace = DEFAULT, stdin: bool = False, logs: bool = False
    ) -> Any:
        """Take the connection over for the task's streams, also before it starts.

        Send `Connection: Upgrade` and `Upgrade: tcp`. Input is raw. Output is raw with a terminal, and else in frames:
        stream (1 stdout, 2 stderr), three zero bytes, length (u32, big-endian), payload.
        """
        view = await containers.get(namespace, ref)
        attachment = await containers.attach(namespace, view.record.id, stdin=stdin, logs=logs)
        tty = view.record.spec.tty
        return Hijacked(attachment, RAW if tty else FRAMED, tty=tty, stdin=stdin)

    @api.post("/{ref}/resize", status_code=204)
    async def resize_task(ref: ContainerRef, body: TerminalSize, namespace: Namespace = DEFAULT) -> None:
        """Set the size of the task's terminal."""
        await containers.resize(namespace, ref, body.width, body.height)


def _detail(view: ContainerView) -> TaskDetail:
    if view.task is None:
        raise NotFound(
            f"container {view.record.name} has no task",
            hint=f"start one: cortenctl tasks start {view.record.name}",
            subject=view.record.id,
        )
    return TaskDetail(namespace=view.ns, name=view.record.name, status=view.status, task=view.task)


async def _result(waiter: Awaitable[WaitResult]) -> TaskResult:
    result = await waiter
    return TaskResult(exit_code=result.exit_code, error=result.error)


async def _entries(log: AsyncIterator[LogLine]) -> AsyncGenerator[LogEntry, None]:
    try:
        async for line in log:
            yield LogEntry.of(line.time_ns, line.stream, line.data)
    finally:
        if isinstance(log, AsyncGenerator):
            await log.aclose()
