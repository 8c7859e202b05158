"""Namespaces: list, create, get, label, delete."""

from __future__ import annotations

from fastapi import APIRouter

from corten_shared import times
from corten_shared.models.api import Items, LabelsPatch, NamespaceCreate
from corten_shared.models.namespace import Namespace
from cortend.api.native.listing import Listed
from cortend.services.all import Services
from cortend.services.namespaces import NamespaceService


def router(services: Services) -> APIRouter:
    """The routes of this noun."""
    api = APIRouter(prefix="/namespaces", tags=["namespaces"])
    metadata, workers = services.metadata, services.workers
    namespaces = NamespaceService(
        metadata=metadata,
        content=services.content,
        volumes=services.volumes,
        workers=workers,
        collect=services.collect.collect,
    )

    @api.get("")
    async def list_namespaces(listing: Listed) -> Items[Namespace]:
        """Every namespace, by name."""

        def read() -> list[Namespace]:
            with metadata.view() as tx:
                return tx.namespaces.list()

        return await listing.items(workers, read, key=lambda namespace: namespace.name)

    @api.post("", status_code=201)
    async def create_namespace(body: NamespaceCreate) -> Namespace:
        """Make a namespace. Writing into one that does not exist makes it too."""
        namespace = Namespace(name=body.name, labels=body.labels, created_at=times.now())

        def write() -> None:
            with metadata.update() as tx:
                tx.namespaces.create(namespace)
                tx.emit(body.name, "/namespaces/create", body.name)

        await workers.run(write)
        return namespace

    @api.get("/{name}")
    async def get_namespace(name: str) -> Namespace:
        """One namespace."""

        def read() -> Namespace:
            with metadata.view() as tx:
                return tx.namespaces.get(name)

        return await workers.run(read)

    @api.patch("/{name}")
    async def label_namespace(name: str, body: LabelsPatch) -> Namespace:
        """Change labels."""

        def write() -> Namespace:
            with metadata.update() as tx:
                changed = tx.namespaces.update(name, body.labels)
                tx.emit(name, "/namespaces/update", name)
                return changed

        return await workers.run(write)

    @api.delete("/{name}", status_code=204)
    async def delete_namespace(name: str) -> None:
        """Delete a namespace; refused, saying what is left, while it holds anything but garbage."""
        await namespaces.delete(name)

    return api
