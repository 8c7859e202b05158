"""Execs: further processes in running containers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.responses import Response

from corten_shared.errors import Conflict, CortenError, NotFound
from corten_shared.models.task import ExecRecord
from cortend.api.docker import versions
from cortend.api.docker.call import NAMESPACE, Call
from cortend.api.docker.models.exec import ExecCreateBody, ExecStartBody
from cortend.api.docker.processes import size_of
from cortend.api.docker.responses import json_response, text_response
from cortend.api.docker.routing import Route
from cortend.api.streams import STDERR, STDOUT, Hijacked, Message, parse_detach_keys
from cortend.core.runtime import Attachment
from cortend.services.requests import ExecRequest

if TYPE_CHECKING:
    from cortend.services.all import Services


def routes(services: Services) -> Iterable[Route]:
    """The routes of this noun."""
    api = Execs(services)
    return (
        Route("POST", "/containers/{id}/exec", api.create),
        Route("POST", "/exec/{id}/start", api.start),
        Route("POST", "/exec/{id}/resize", api.resize),
        Route("GET", "/exec/{id}/json", api.inspect),
    )


class Execs:
    """Handlers; each calls its service and translates."""

    def __init__(self, services: Services) -> None:
        self._execs = services.execs

    async def create(self, call: Call) -> Response:
        """POST /containers/{id}/exec: 201 with the exec's id."""
        body = await call.json(ExecCreateBody, required=True)
        parse_detach_keys(body.detach_keys)
        request = ExecRequest(
            args=body.cmd,
            env=body.env,
            cwd=body.working_dir,
            user=body.user,
            tty=body.tty,
            open_stdin=body.attach_stdin,
            attach_stdout=body.attach_stdout,
            attach_stderr=body.attach_stderr,
            privileged=body.privileged,
            detach_keys=body.detach_keys,
        )
        return json_response({"Id": await self._execs.create(NAMESPACE, call.params["id"], request)}, 201)

    async def start(self, call: Call) -> Response:
        """POST /exec/{id}/start: detached 200; otherwise the connection becomes the process's streams."""
        exec_id = call.params["id"]
        body = await call.json(ExecStartBody)
        record = await self._execs.inspect(NAMESPACE, exec_id)
        if body.detach:
            await self._execs.start(NAMESPACE, exec_id, detach=True)
            return text_response("")
        attachment = await self._start(exec_id)
        if record.tty and len(body.console_size) == 2:
            height, width = body.console_size
            with contextlib.suppress(CortenError):
                await self._execs.resize(NAMESPACE, exec_id, width, height)
        return Hijacked(
            attachment,
            versions.raw_stream_type(call.version, tty=record.tty),
            tty=record.tty,
            outputs=[s for s, on in ((STDOUT, record.attach_stdout), (STDERR, record.attach_stderr)) if on],
            stdin=record.open_stdin,
            detach_keys=parse_detach_keys(record.detach_keys),
            # Clients ask for the exit code as soon as the stream has ended.
            until=lambda: self._execs.wait(NAMESPACE, exec_id),
        )

    async def _start(self, exec_id: str) -> Attachment:
        """The streams; where the process cannot be started, a stream that says why.

        docker's client takes the exit code (126, 127) from inspect, which it only asks for after a stream.
        """
        try:
            attachment = await self._execs.start(NAMESPACE, exec_id, detach=False)
        except (NotFound, Conflict):
            raise
        except CortenError as error:
            return Message(f"{error.message}\r\n")
        assert attachment is not None, "an exec that is not detached has streams"
        return attachment

    async def resize(self, call: Call) -> Response:
        """POST /exec/{id}/resize?h=&w=."""
        height, width = size_of(call)
        await self._execs.resize(NAMESPACE, call.params["id"], width, height)
        return text_response("")

    async def inspect(self, call: Call) -> Response:
        """GET /exec/{id}/json."""
        return json_response(exec_document(await self._execs.inspect(NAMESPACE, call.params["id"])))


def exec_document(record: ExecRecord) -> dict[str, object]:
    """An exec in docker's shape; the exit code is null until there is one."""
    return {
        "ID": record.id,
        "Running": record.running,
        "ExitCode": record.exit_code,
        "ProcessConfig": {
            "tty": record.tty,
            "entrypoint": record.args[0],
            "arguments": record.args[1:],
            "privileged": record.privileged,
            **({"user": record.user} if record.user else {}),
        },
        "OpenStdin": record.open_stdin,
        "OpenStderr": record.attach_stderr,
        "OpenStdout": record.attach_stdout,
        "CanRemove": False,
        "ContainerID": record.container_id,
        "DetachKeys": "",
        "Pid": record.pid.pid if record.pid else 0,
    }
