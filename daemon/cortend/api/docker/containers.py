"""Containers: create, look, change, remove."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from corten_shared.errors import InvalidArgument, Unimplemented
from corten_shared.models.container import Resources
from cortend.api.docker import container_list, versions
from cortend.api.docker.call import NAMESPACE, Call
from cortend.api.docker.filters import Filters
from cortend.api.docker.models.create import CreateBody, UpdateBody
from cortend.api.docker.moments import parse_moment
from cortend.api.docker.responses import json_response, no_content
from cortend.api.docker.routing import Route
from cortend.api.docker.translate_create import create_request, resources, restart_policy
from cortend.api.docker.translate_inspect import inspect_container
from cortend.core.runtime import TaskKey
from cortend.services.views import ContainerView

if TYPE_CHECKING:
    from cortend.services.all import Services

_PRUNE_FILTERS = frozenset({"until", "label", "label!"})
_PLATFORM = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+){0,3}\Z")


def routes(services: Services) -> Iterable[Route]:
    """The routes of this noun."""
    api = Containers(services)
    return (
        Route("GET", "/containers/json", api.list),
        Route("POST", "/containers/create", api.create),
        Route("POST", "/containers/prune", api.prune),
        Route("GET", "/containers/{id}/json", api.inspect),
        Route("POST", "/containers/{id}/start", api.start),
        Route("POST", "/containers/{id}/stop", api.stop),
        Route("POST", "/containers/{id}/restart", api.restart),
        Route("POST", "/containers/{id}/kill", api.kill),
        Route("POST", "/containers/{id}/pause", api.pause),
        Route("POST", "/containers/{id}/unpause", api.unpause),
        Route("POST", "/containers/{id}/rename", api.rename),
        Route("POST", "/containers/{id}/update", api.update),
        Route("DELETE", "/containers/{id}", api.remove),
    )


class Containers:
    """Handlers; each calls its service and translates."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._containers = services.containers

    async def create(self, call: Call) -> Response:
        """POST /containers/create: 201 with the id; 404 without the image, on which clients pull and try again."""
        platform = call.text("platform")
        if platform and not _PLATFORM.match(platform):
            raise InvalidArgument(f"{platform[:60]!r} is an invalid platform: expected OS[/ARCH[/VARIANT]]")
        body = await call.json(CreateBody, required=True)
        request = create_request(body, name=call.text("name"), platform=platform)
        created = await self._containers.create(NAMESPACE, request)
        return json_response({"Id": created.record.id, "Warnings": created.warnings}, 201)

    async def list(self, call: Call) -> Response:
        """GET /containers/json."""
        filters = call.filters(container_list.FILTERS)
        limit = call.integer("limit", 0) or 0
        views = await self._containers.list(NAMESPACE, all=True)
        accept = container_list.matcher(filters, views)
        everything = call.flag("all") or limit > 0 or container_list.implies_all(filters)
        chosen = [view for view in views if (everything or view.running or view.restarting) and accept(view)]
        chosen = chosen[:limit] if limit > 0 else chosen
        mountpoints = await self._mountpoints(chosen)
        rows = [container_list.row(view, mountpoints) for view in chosen]
        if call.flag("size"):
            for view, row in zip(chosen, rows, strict=True):
                row.update(await self._sizes(view))
        return json_response([versions.adapt("container.summary", call.version, row) for row in rows])

    async def inspect(self, call: Call) -> Response:
        """GET /containers/{id}/json."""
        view = await self._containers.get(NAMESPACE, call.params["id"])
        document = inspect_container(
            view,
            directory=str(self._containers.directory(view)),
            mountpoints=await self._mountpoints([view]),
            execs=self._services.execs.of_container(NAMESPACE, view.record.id),
            health=self._services.health.of(TaskKey(NAMESPACE, view.record.id), view.record, view.task),
        )
        if call.flag("size"):
            document.update(await self._sizes(view))
        return json_response(versions.adapt("container.inspect", call.version, document))

    async def _mountpoints(self, views: Iterable[ContainerView]) -> Mapping[str, str]:
        if not any(mount.type == "volume" for view in views for mount in view.record.spec.mounts):
            return {}
        return {volume.name: volume.mountpoint for volume in await self._services.volumes.list(NAMESPACE)}

    async def _sizes(self, view: ContainerView) -> dict[str, int]:
        own = await self._containers.size(view)
        return {"SizeRw": own, "SizeRootFs": own}

    async def start(self, call: Call) -> Response:
        """POST …/start: 204, or 304 when it runs."""
        if len(await call.body()) > len(b"{}"):  # which some clients send
            raise InvalidArgument(
                "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24"
            )
        await self._containers.start(NAMESPACE, call.params["id"])
        return no_content()

    async def stop(self, call: Call) -> Response:
        """POST …/stop: 204, or 304 when it does not run."""
        await self._containers.stop(
            NAMESPACE, call.params["id"], timeout=call.integer("t"), signal=call.text("signal") or None
        )
        return no_content()

    async def restart(self, call: Call) -> Response:
        """POST …/restart."""
        await self._containers.restart(
            NAMESPACE, call.params["id"], timeout=call.integer("t"), signal=call.text("signal") or None
        )
        return no_content()

    async def kill(self, call: Call) -> Response:
        """POST …/kill."""
        await self._containers.kill(NAMESPACE, call.params["id"], call.text("signal") or "SIGKILL")
        return no_content()

    async def pause(self, call: Call) -> Response:
        """POST …/pause."""
        await self._containers.pause(NAMESPACE, call.params["id"])
        return no_content()

    async def unpause(self, call: Call) -> Response:
        """POST …/unpause."""
        await self._containers.unpause(NAMESPACE, call.params["id"])
        return no_content()

    async def rename(self, call: Call) -> Response:
        """POST …/rename?name=."""
        name = call.text("name")
        if not name:
            raise InvalidArgument("Neither old nor new names may be empty")
        await self._containers.rename(NAMESPACE, call.params["id"], name)
        return no_content()

    async def update(self, call: Call) -> Response:
        """POST …/update: what the body leaves out, or gives as 0, stays."""
        body = await call.json(UpdateBody)
        view = await self._containers.get(NAMESPACE, call.params["id"])
        policy = body.restart_policy
        warnings = await self._containers.update(
            NAMESPACE,
            view.record.id,
            _changed(view.record.spec.resources, resources(body)),
            restart_policy(policy) if policy is not None and policy.name else None,
        )
        return json_response({"Warnings": warnings})

    async def remove(self, call: Call) -> Response:
        """DELETE /containers/{id}?force&v."""
        if call.flag("link"):
            raise Unimplemented("links between containers are not supported, so there is none to remove")
        await self._containers.remove(
            NAMESPACE, call.params["id"], force=call.flag("force"), volumes=call.flag("v")
        )
        return no_content()

    async def prune(self, call: Call) -> Response:
        """POST /containers/prune: what does not run and passes the filters."""
        filters = call.filters(_PRUNE_FILTERS)
        before = until_of(filters)

        def accept(view: ContainerView) -> bool:
            old = before is None or view.record.created_at < before
            return old and filters.labels(view.record.labels)

        removed, freed = await self._containers.prune(NAMESPACE, accept)
        return json_response({"ContainersDeleted": removed, "SpaceReclaimed": freed})


def until_of(filters: Filters) -> int | None:
    """The one `until` of a prune, in ns; None without one."""
    values = filters.get("until")
    if len(values) > 1:
        raise InvalidArgument("more than one until filter specified")
    return parse_moment("until", values[0]) if values else None


def _changed(now: Resources, wanted: Resources) -> Resources | None:
    changes: dict[str, Any] = wanted.model_dump(exclude_defaults=True)
    return now.model_copy(update=changes) if changes else None
