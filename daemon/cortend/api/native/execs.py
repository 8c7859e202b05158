"""Execs: further processes in running containers, each a task's."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from corten_shared.models.api import ExecCreate, ExecKill, Items, TaskResult, TerminalSize
from corten_shared.models.task import ExecRecord
from cortend.api.native.listing import Listed
from cortend.api.native.parameters import DEFAULT, ContainerRef, Namespace
from cortend.api.native.streaming import Stream, late
from cortend.api.native.tasks import FRAMED, RAW
from cortend.api.streams import Hijacked
from cortend.services.all import Services
from cortend.services.requests import ExecRequest

ExecId = Annotated[str, Path(description="An exec's id.")]


def router(services: Services) -> APIRouter:
    """The routes of this noun."""
    api = APIRouter(tags=["tasks"])
    execs = services.execs

    @api.get("/tasks/{ref}/execs")
    async def list_execs(ref: ContainerRef, listing: Listed, namespace: Namespace = DEFAULT) -> Items[ExecRecord]:
        """The execs of a container, running and ended, as far as they are remembered."""
        found = execs.records(namespace, (await services.containers.get(namespace, ref)).record.id)
        return await listing.items(services.workers, lambda: found, key=lambda record: record.id)

    @api.post("/tasks/{ref}/execs", status_code=201)
    async def create_exec(ref: ContainerRef, body: ExecCreate, namespace: Namespace = DEFAULT) -> ExecRecord:
        """Describe a further process of a running container; it is started by itself."""
        request = ExecRequest(
            args=body.args, id=body.id, env=body.env, cwd=body.cwd, user=body.user, tty=body.tty,
            open_stdin=body.stdin, privileged=body.privileged,
        )  # fmt: skip
        return await execs.inspect(namespace, await execs.create(namespace, ref, request))

    @api.get("/execs/{exec_id}")
    async def get_exec(exec_id: ExecId, namespace: Namespace = DEFAULT) -> ExecRecord:
        """One exec; `exit_code` is null until there is one."""
        return await execs.inspect(namespace, exec_id)

    @api.post("/execs/{exec_id}/start", response_class=Response, responses={101: {"description": "Streams"}, 204: {}})
    async def start_exec(
        exec_id: ExecId,
        namespace: Namespace = DEFAULT,
        detach: Annotated[bool, Query(description="Leave it to itself; answers 204.")] = False,
    ) -> Any:
        """Start it, and take the connection over for its streams, as `attach` of a task does."""
        record = await execs.inspect(namespace, exec_id)
        attachment = await execs.start(namespace, exec_id, detach=detach)
        if attachment is None:
            return Response(status_code=204)
        return Hijacked(
            attachment,
            RAW if record.tty else FRAMED,
            tty=record.tty,
            stdin=record.open_stdin,
            until=lambda: execs.wait(namespace, exec_id),
        )

    @api.get("/execs/{exec_id}/wait", response_class=Stream, responses={200: {"model": TaskResult}})
    async def wait_exec(exec_id: ExecId, namespace: Namespace = DEFAULT) -> Stream:
        """Answer when it has ended."""
        await execs.inspect(namespace, exec_id)

        async def ended() -> TaskResult:
            await execs.wait(namespace, exec_id)
            code = (await execs.inspect(namespace, exec_id)).exit_code
            return TaskResult(exit_code=255 if code is None else code, error="" if code is not None else "not started")

        return late(ended())

    @api.post("/execs/{exec_id}/kill", status_code=204)
    async def kill_exec(exec_id: ExecId, body: ExecKill, namespace: Namespace = DEFAULT) -> None:
        """Send a signal to its process."""
        await execs.kill(namespace, exec_id, body.signal)

    @api.post("/execs/{exec_id}/resize", status_code=204)
    async def resize_exec(exec_id: ExecId, body: TerminalSize, namespace: Namespace = DEFAULT) -> None:
        """Set the size of its terminal."""
        await execs.resize(namespace, exec_id, body.width, body.height)

    @api.delete("/execs/{exec_id}")
    async def delete_exec(exec_id: ExecId, namespace: Namespace = DEFAULT) -> ExecRecord:
        """Forget it, once it has ended; says what it was."""
        return await execs.delete(namespace, exec_id)

    return api
