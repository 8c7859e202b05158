"""Containers that were removed."""

from __future__ import annotations

from fastapi import APIRouter

from corten_shared.models.api import Items
from corten_shared.models.postmortem import Postmortem
from cortend.api.native.listing import Listed
from cortend.api.native.parameters import DEFAULT, Namespace
from cortend.services.all import Services


def router(services: Services) -> APIRouter:
    """The routes of this noun."""
    api = APIRouter(prefix="/postmortems", tags=["containers"])

    @api.get("")
    async def list_postmortems(listing: Listed, namespace: Namespace = DEFAULT) -> Items[Postmortem]:
        """Removed containers, oldest first."""

        def read() -> list[Postmortem]:
            with services.metadata.view() as tx:
                return tx.postmortems.list(namespace)

        return await listing.items(services.workers, read, key=lambda item: (item.removed_at, item.container.id))

    @api.get("/{reference}")
    async def get_postmortem(reference: str, namespace: Namespace = DEFAULT) -> Postmortem:
        """How the container that was removed last of this name or id was made, ended, and what it said last."""
        return await services.postmortems.find(namespace, reference)

    return api
