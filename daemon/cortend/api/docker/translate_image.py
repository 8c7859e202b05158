"""Images in docker's shapes."""

from __future__ import annotations

from typing import Any

from corten_shared.errors import InvalidArgument
from corten_shared.models.oci import RunConfig
from corten_shared.times import format_rfc3339, parse_rfc3339
from cortend.services.image_catalog import ImageView


def created_ns(view: ImageView) -> int:
    """When the image was made, in ns since the epoch; 0 where its config does not say."""
    try:
        return parse_rfc3339(view.documents.config.created or "")
    except InvalidArgument:
        return 0


def image_summary(view: ImageView, tags: list[str], digests: list[str]) -> dict[str, Any]:
    """One image of `GET /images/json`."""
    return {
        "Containers": view.containers,
        "Created": created_ns(view) // 10**9,
        "Id": view.id,
        "Labels": view.documents.config.config.labels,
        "ParentId": "",
        "RepoDigests": digests,
        "RepoTags": tags,
        "SharedSize": -1,
        "Size": view.size,
        "Descriptor": view.records[0].target.dump(),
    }


def image_document(view: ImageView, *, snapshotter: str) -> dict[str, Any]:
    """The document of `GET /images/{name}/json`."""
    config = view.documents.config
    comment = next((step.comment for step in reversed(config.history) if step.comment), "")
    return {
        "Id": view.id,
        "RepoTags": view.tags,
        "RepoDigests": view.digests,
        "Parent": "",
        "Comment": comment,
        "Created": config.created or "",
        "DockerVersion": "",
        "Author": config.author or "",
        "Config": config_document(config.config),
        "Architecture": config.architecture,
        **({"Variant": config.variant} if config.variant else {}),
        "Os": config.os,
        "Size": view.size,
        "GraphDriver": {"Data": None, "Name": snapshotter},
        "RootFS": {"Type": "layers", "Layers": config.rootfs.diff_ids},
        "Metadata": {"LastTagTime": format_rfc3339(view.updated_at)},
        "Descriptor": view.records[0].target.dump(),
    }


def config_document(config: RunConfig) -> dict[str, Any]:
    """An image's `Config`: what it sets, and the members that clients read without looking whether they are there."""
    always = {"Env": config.env, "Cmd": config.cmd, "Entrypoint": config.entrypoint, "Labels": config.labels}
    rest = config.model_dump(by_alias=True, exclude_defaults=True)
    return {**always, "WorkingDir": config.working_dir, **rest}
