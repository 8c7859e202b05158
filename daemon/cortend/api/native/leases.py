"""Leases, and what they hold."""

from __future__ import annotations

import secrets

from fastapi import APIRouter

from corten_shared import times
from corten_shared.models.api import Items, LeaseCreate
from corten_shared.models.lease import Lease, Resource
from cortend.api.native.listing import Listed
from cortend.api.native.parameters import DEFAULT, Namespace
from cortend.core.gc import EXPIRE, FULL, expiry
from cortend.services.all import Services


def router(services: Services) -> APIRouter:
    """The routes of this noun."""
    api = APIRouter(prefix="/leases", tags=["leases"])
    metadata, workers = services.metadata, services.workers

    @api.get("")
    async def list_leases(listing: Listed, namespace: Namespace = DEFAULT) -> Items[Lease]:
        """Every lease of the namespace, by id."""

        def read() -> list[Lease]:
            with metadata.view() as tx:
                return tx.leases.list(namespace)

        return await listing.items(workers, read, key=lambda lease: lease.id)

    @api.post("", status_code=201)
    async def create_lease(body: LeaseCreate, namespace: Namespace = DEFAULT) -> Lease:
        """Make a lease."""
        now = times.now()
        labels = dict(body.labels)
        if body.expires:
            labels[FULL + EXPIRE] = times.format_rfc3339(now + int(body.expires * 1e9))
        lease = Lease(id=body.id or secrets.token_hex(16), labels=labels, created_at=now)

        def write() -> None:
            with metadata.update() as tx:
                tx.namespaces.ensure(namespace)
                tx.leases.create(namespace, lease)

        await workers.run(write)
        if (end := expiry(labels)) is not None:
            services.collect.expiring(end)
        return lease

    @api.get("/{lease}")
    async def get_lease(lease: str, namespace: Namespace = DEFAULT) -> Lease:
        """One lease."""

        def read() -> Lease:
            with metadata.view() as tx:
                return tx.leases.get(namespace, lease)

        return await workers.run(read)

    @api.delete("/{lease}", status_code=204)
    async def delete_lease(lease: str, namespace: Namespace = DEFAULT, sync: bool = False) -> None:
        """End a lease: what nothing else holds is collected soon; with `sync`, before this answers."""

        def write() -> None:
            with metadata.update() as tx:
                tx.leases.delete(namespace, lease)

        await workers.run(write)
        if sync:
            await services.collect.collect()
        else:
            services.collect.request()

    @api.get("/{lease}/resources")
    async def list_resources(lease: str, listing: Listed, namespace: Namespace = DEFAULT) -> Items[Resource]:
        """What the lease holds."""

        def read() -> list[Resource]:
            with metadata.view() as tx:
                return tx.leases.resources(namespace, lease)

        return await listing.items(workers, read, key=lambda held: (held.type, held.id))

    @api.post("/{lease}/resources", status_code=204)
    async def add_resource(lease: str, body: Resource, namespace: Namespace = DEFAULT) -> None:
        """Hold an object."""

        def write() -> None:
            with metadata.update() as tx:
                tx.leases.add(namespace, lease, body)

        await workers.run(write)

    @api.delete("/{lease}/resources/{type:path}", status_code=204)
    async def remove_resource(lease: str, type: str, id: str, namespace: Namespace = DEFAULT) -> None:
        """Let go of an object, named by its type in the path and its `id` parameter."""

        def write() -> None:
            with metadata.update() as tx:
                tx.leases.remove(namespace, lease, Resource(type=type, id=id))

        await workers.run(write)
        services.collect.request()

    return api
