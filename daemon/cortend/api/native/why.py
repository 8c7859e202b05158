"""What keeps an object, and what a removal would take along; nothing is removed here."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from corten_shared.models.api import Items
from corten_shared.models.volume import VolumeRecord
from corten_shared.models.why import Plan, PlanRequest, Why
from cortend.api.docker.containers import until_of
from cortend.api.docker.filters import Filters
from cortend.api.docker.translate_image import created_ns
from cortend.api.native.parameters import DEFAULT, Namespace
from cortend.services.all import Services
from cortend.services.image_catalog import ImageView
from cortend.services.plan import Accept, check_request
from cortend.services.views import ContainerView

Object = Annotated[
    str, Query(description="A name, an id, a snapshot's key, or a digest or its first digits.", min_length=1)
]
Kind = Annotated[str, Query(description="Only objects of this kind: containers, images, volumes, leases, content, …")]

_KNOWN = {
    "containers.prune": ("until", "label", "label!"),
    "images.prune": ("until", "label", "label!"),
    "volumes.prune": ("label", "label!"),
}
"""The filters that the prunes of docker's API have."""


def router(services: Services) -> APIRouter:
    """The routes."""
    api = APIRouter(tags=["why"])

    @api.get("/why")
    async def why(object: Object, namespace: Namespace = DEFAULT, kind: Kind = "") -> Items[Why]:
        """What keeps an object, as chains from what is kept for itself; one entry for each kind of object so called."""
        return Items(items=await services.why.why(namespace, object, kind))

    @api.post("/plan")
    async def plan(body: PlanRequest, namespace: Namespace = DEFAULT) -> Plan:
        """Which objects a removal, a prune or a collection takes along, and how many bytes that frees."""
        check_request(body)
        return await services.plans.plan(namespace, body, accepting(body))

    return api


def accepting(request: PlanRequest) -> Accept:
    """A prune's filters. Raises InvalidArgument for those that it does not have."""
    filters = Filters.of(request.filters, _KNOWN.get(request.action, ()))
    before = until_of(filters)

    def container(view: ContainerView) -> bool:
        return (before is None or view.record.created_at < before) and filters.labels(view.record.labels)

    def image(view: ImageView) -> bool:
        old = before is None or created_ns(view) < before
        return old and filters.labels(view.documents.config.config.labels or {})

    def volume(record: VolumeRecord) -> bool:
        return filters.labels(record.labels)

    return Accept(container, image, volume)
