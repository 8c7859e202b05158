"""Containers: objects from which tasks are started."""

from __future__ import annotations

from fastapi import APIRouter

from corten_shared.models.api import (
    ContainerCommit,
    ContainerCommitted,
    ContainerCreate,
    ContainerCreated,
    ContainerDetail,
    Items,
    LabelsPatch,
)
from cortend.api.native.listing import Listed
from cortend.api.native.parameters import DEFAULT, AllNamespaces, ContainerRef, Namespace
from cortend.services.all import Services
from cortend.services.commit import CommitRequest
from cortend.services.labels import label_container
from cortend.services.requests import CreateRequest
from cortend.services.views import ContainerView


def router(services: Services) -> APIRouter:
    """The routes of this noun."""
    api = APIRouter(prefix="/containers", tags=["containers"])
    containers = services.containers

    @api.get("")
    async def list_containers(
        listing: Listed, namespace: Namespace = DEFAULT, all_namespaces: AllNamespaces = False
    ) -> Items[ContainerDetail]:
        """Every container, running or not, newest first."""
        views = await views_of(services, namespace, all_namespaces)
        return await listing.items(
            services.workers,
            lambda: [detail(view) for view in views],
            key=lambda found: (-found.container.created_at, found.namespace, found.container.id),
            also=lambda found: (found.container, {"runtime.name": found.container.spec.runtime}, found.container.spec),
        )

    @api.post("", status_code=201)
    async def create_container(body: ContainerCreate, namespace: Namespace = DEFAULT) -> ContainerCreated:
        """Make a container from an image that is here."""
        created = await containers.create(namespace, CreateRequest(**dict(body)))
        return ContainerCreated(container=created.record, warnings=created.warnings)

    @api.get("/{ref}")
    async def get_container(ref: ContainerRef, namespace: Namespace = DEFAULT) -> ContainerDetail:
        """One container with its task and endpoint."""
        return detail(await containers.get(namespace, ref))

    @api.patch("/{ref}")
    async def update_container(
        ref: ContainerRef, body: LabelsPatch, namespace: Namespace = DEFAULT
    ) -> ContainerDetail:
        """Change labels."""
        record = await services.workers.run(
            lambda: label_container(services.metadata, namespace, ref, body.labels, replace=body.replace)
        )
        return detail(await containers.get(namespace, record.id))

    @api.post("/{ref}/commit", status_code=201)
    async def commit_container(
        body: ContainerCommit, ref: ContainerRef, namespace: Namespace = DEFAULT
    ) -> ContainerCommitted:
        """Make an image of what a container changed, paused meanwhile."""
        request = CommitRequest(
            name=body.reference,
            author=body.author,
            message=body.message,
            pause=body.pause,
            changes=body.changes,
            compression=body.compression,
        )
        committed = await services.commits.commit(namespace, ref, request)
        return ContainerCommitted(record=committed.record, id=committed.id)

    @api.delete("/{ref}", status_code=204)
    async def delete_container(
        ref: ContainerRef,
        namespace: Namespace = DEFAULT,
        force: bool = False,
        volumes: bool = False,
        keep_snapshot: bool = False,
    ) -> None:
        """Remove a container; `force` kills its task first, `volumes` removes its anonymous volumes too.

        `keep_snapshot` leaves its snapshot, labelled `containerd.io/gc.root`.
        """
        await containers.remove(namespace, ref, force=force, volumes=volumes, keep_snapshot=keep_snapshot)

    return api


async def views_of(services: Services, namespace: str, all_namespaces: bool) -> list[ContainerView]:
    """The containers of a namespace, or of all."""
    if not all_namespaces:
        return await services.containers.list(namespace, all=True)

    def names() -> list[str]:
        with services.metadata.view() as tx:
            return [found.name for found in tx.namespaces.list()]

    return [
        view
        for name in await services.workers.run(names)
        for view in await services.containers.list(name, all=True)
    ]


def detail(view: ContainerView) -> ContainerDetail:
    """A view as the API shows it."""
    return ContainerDetail(
        namespace=view.ns, status=view.status, container=view.record, task=view.task, endpoint=view.endpoint
    )
