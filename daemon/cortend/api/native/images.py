"""Images: names for content; pull with progress, tag, remove."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from corten_shared.models.api import (
    ImageCheck,
    ImageDetail,
    ImageManifest,
    ImagesPrune,
    ImagesPruned,
    ImageUsage,
    Items,
    LabelsPatch,
    Login,
    PullRequest,
    Removed,
    TagRequest,
)
from corten_shared.models.image import ImageRecord, PullProgress
from cortend.api.native.listing import Listed
from cortend.api.native.parameters import DEFAULT, ImageName, Namespace
from cortend.api.native.streaming import JsonLines, Stream, checked_lines
from cortend.core.registry import Credentials
from cortend.services.all import Services
from cortend.services.image_catalog import ImageView
from cortend.services.image_checks import ImageChecks
from cortend.services.images import ManifestState
from cortend.services.labels import label_image
from cortend.services.pull import PullOptions

Snapshotter = Annotated[str, Query(description="The snapshotter; the configured one when empty.")]


def router(services: Services) -> APIRouter:
    """The routes of this noun."""
    api = APIRouter(prefix="/images", tags=["images"])
    images, workers = services.images, services.workers

    @api.get("")
    async def list_images(listing: Listed, namespace: Namespace = DEFAULT) -> Items[ImageRecord]:
        """Every name and the content it names, by name."""

        def read() -> list[ImageRecord]:
            with services.metadata.view() as tx:
                return tx.images.list(namespace)

        return await listing.items(workers, read, key=lambda image: image.name)

    @api.post("/pull", response_class=JsonLines, responses={200: {"model": PullProgress}})
    async def pull_image(body: PullRequest, namespace: Namespace = DEFAULT) -> Stream:
        """Pull an image. Answers JSON lines of progress; the last has `image`, or is `{"error": …}`."""
        credentials = credentials_of(body.credentials)
        options = PullOptions(
            platforms=body.platforms,
            every=body.all_platforms,
            metadata=body.all_metadata,
            unpack=body.unpack,
            snapshotter=body.snapshotter,
            labels=body.labels,
            concurrent=body.max_concurrent_downloads,
        )
        progress = services.pulls.pull(
            namespace, body.reference, platform=body.platform, credentials=credentials, options=options
        )
        return await checked_lines(progress)

    @api.post("/tag", status_code=204)
    async def tag_image(body: TagRequest, namespace: Namespace = DEFAULT) -> None:
        """Give an image another name."""
        await images.tag(namespace, body.source, body.target)

    checks = ImageChecks(metadata=services.metadata, content=services.content, documents=images.documents)

    @api.post("/check")
    async def check_images(
        listing: Listed, namespace: Namespace = DEFAULT, snapshotter: Snapshotter = ""
    ) -> Items[ImageCheck]:
        """How much of each image is here, for this host's platform, and whether it is unpacked; by name."""
        found = services.snapshots.named(snapshotter)
        return await listing.items(
            workers, lambda: checks.check(namespace, found), key=lambda image: image.name
        )

    @api.post("/usage")
    async def get_image_usage(
        name: Annotated[str, Query(description="A full or short name.")],
        namespace: Namespace = DEFAULT,
        snapshotter: Snapshotter = "",
    ) -> ImageUsage:
        """What an image takes in content and snapshots, layer by layer."""
        record = (await images.get(namespace, name)).records[0]
        return await workers.run_slow(checks.usage, namespace, record, services.snapshots.named(snapshotter))

    @api.post("/prune")
    async def prune_images(body: ImagesPrune, namespace: Namespace = DEFAULT) -> ImagesPruned:
        """Remove the images that no container uses: those without a name, or all."""
        removed, size = await images.prune(namespace, dangling=not body.all)
        return ImagesPruned(items=[Removed(action=line.action, subject=line.subject) for line in removed], size=size)

    @api.patch("/{name:path}")
    async def update_image(name: ImageName, body: LabelsPatch, namespace: Namespace = DEFAULT) -> ImageRecord:
        """Change the labels of a name."""
        return await workers.run(
            lambda: label_image(services.metadata, namespace, name, body.labels, replace=body.replace)
        )

    @api.get("/{name:path}")
    async def get_image(name: ImageName, namespace: Namespace = DEFAULT) -> ImageDetail:
        """One image with its configuration."""
        view = await images.get(namespace, name)
        return _detail(view, await images.manifests(namespace, view))

    @api.delete("/{name:path}")
    async def delete_image(name: ImageName, namespace: Namespace = DEFAULT, force: bool = False) -> Items[Removed]:
        """Remove a name, and the image with its last one; says what went."""
        removed = await images.remove(namespace, name, force=force)
        return Items(items=[Removed(action=line.action, subject=line.subject) for line in removed])

    return api


def credentials_of(login: Login | None) -> Credentials | None:
    """The login of a request."""
    if login is None:
        return None
    return Credentials(login.username, login.password, login.identity_token, login.registry_token)


def _detail(view: ImageView, manifests: Sequence[ManifestState]) -> ImageDetail:
    documents = view.documents
    return ImageDetail(
        record=view.records[0],
        id=view.id,
        manifest_digest=documents.manifest_digest,
        platform=documents.platform,
        size=view.size,
        names=sorted(record.name for record in view.records),
        containers=view.containers,
        config=documents.config,
        manifests=[
            ImageManifest(
                descriptor=state.descriptor,
                platform=state.descriptor.platform
                or (documents.platform if state.descriptor.digest == documents.manifest_digest else None),
                here=state.here,
                complete=state.complete,
            )
            for state in manifests
        ],
    )
