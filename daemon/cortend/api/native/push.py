"""Pushing images, and single blobs, with progress."""

from __future__ import annotations

from fastapi import APIRouter

from corten_shared.errors import InvalidArgument
from corten_shared.models.api import ObjectPushRequest, PushRequest
from corten_shared.models.image import PushProgress
from corten_shared.reference import parse_name, parse_normalized
from cortend.api.native.images import credentials_of
from cortend.api.native.parameters import DEFAULT, Namespace
from cortend.api.native.streaming import JsonLines, Stream, checked_lines
from cortend.services.all import Services
from cortend.services.push_plan import PushOrder


def router(services: Services) -> APIRouter:
    """The routes of this verb."""
    api = APIRouter()
    pushes = services.pushes

    @api.post("/images/push", tags=["images"], response_class=JsonLines, responses={200: {"model": PushProgress}})
    async def push_image(body: PushRequest, namespace: Namespace = DEFAULT) -> Stream:
        """Push an image. Answers JSON lines of progress; each name that the registry has now is one with `pushed`.

        The last line may be `{"error": …}`.
        """
        if body.all_tags and (body.local or body.manifest):
            raise InvalidArgument("all_tags pushes images under their own names: local and manifest go with one")
        target = parse_name(body.reference) if body.all_tags else parse_normalized(body.reference)
        if body.all_tags and target.object:
            raise InvalidArgument("all_tags goes with a repository without a tag", subject=body.reference[:200])
        order = PushOrder(target, local=body.local, platform=body.platform, manifest=body.manifest)
        login = credentials_of(body.credentials)
        return await checked_lines(pushes.push(namespace, order, credentials=login, concurrent=body.concurrent))

    @api.post(
        "/content/{digest}/push", tags=["content"], response_class=JsonLines, responses={200: {"model": PushProgress}}
    )
    async def push_blob(digest: str, body: ObjectPushRequest, namespace: Namespace = DEFAULT) -> Stream:
        """Push one blob, manifest or index by itself. Answers JSON lines of progress as `images/push` does."""
        target = parse_name(body.reference)
        login = credentials_of(body.credentials)
        return await checked_lines(
            pushes.push_object(namespace, target, digest, body.media_type, credentials=login)
        )

    return api
