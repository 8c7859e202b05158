"""The documents of an image that is made of a container (pure): its configuration, config and manifest."""

from __future__ import annotations

import json
from typing import NamedTuple

from corten_shared import digest as digests
from corten_shared import times
from corten_shared.models.container import ContainerRecord
from corten_shared.models.oci import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_LAYER_ZSTD,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Descriptor,
    History,
    ImageConfig,
    Manifest,
    Platform,
    RootFS,
    RunConfig,
)
from cortend.core.diff import Packed
from cortend.core.documents import check_layers
from cortend.services.image_documents import ImageDocuments

_OCI_LAYERS = {"none": OCI_LAYER, "gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}
_DOCKER_LAYERS = {"none": DOCKER_LAYER, "gzip": DOCKER_LAYER_GZIP, "zstd": DOCKER_LAYER_ZSTD}


class MadeImage(NamedTuple):
    """An image's documents and their bytes."""

    documents: ImageDocuments
    target: Descriptor
    config: bytes
    manifest: bytes


def config_of(record: ContainerRecord) -> RunConfig:
    """A container's settings as an image's configuration."""
    spec = record.spec
    return RunConfig(
        User=spec.user,
        ExposedPorts={port: {} for port in spec.network.exposed} or None,
        Env=spec.env or None,
        Entrypoint=spec.entrypoint,
        Cmd=spec.cmd,
        Volumes={path: {} for path in spec.volumes} or None,
        WorkingDir=spec.cwd,
        Labels=record.labels or None,
        StopSignal=spec.stop_signal or None,
        Healthcheck=spec.healthcheck,
    )


def merged(wanted: RunConfig | None, container: RunConfig) -> RunConfig:
    """`wanted`, where it leaves something open as the container has it (docker's rule)."""
    if wanted is None:
        return container
    env = {entry.partition("=")[0]: entry for entry in (*(container.env or ()), *(wanted.env or ()))}
    both_open = not wanted.entrypoint
    return wanted.model_copy(
        update={
            "user": wanted.user or container.user,
            "exposed_ports": {**(container.exposed_ports or {}), **(wanted.exposed_ports or {})} or None,
            "env": list(env.values()) or None,
            "entrypoint": wanted.entrypoint or container.entrypoint,
            "cmd": wanted.cmd or (container.cmd if both_open else None),
            "volumes": {**(container.volumes or {}), **(wanted.volumes or {})} or None,
            "working_dir": wanted.working_dir or container.working_dir,
            "labels": {**(container.labels or {}), **(wanted.labels or {})} or None,
            "stop_signal": wanted.stop_signal or container.stop_signal,
            "healthcheck": wanted.healthcheck or container.healthcheck,
        }
    )


def made(
    base: ImageDocuments | None,
    host: Platform,
    config: RunConfig,
    packed: Packed,
    compression: str,
    step: History,
) -> MadeImage:
    """The image of `base` with one layer more, unless that is empty, and `step` in its history."""
    docker = base is not None and base.manifest.media_type == DOCKER_MANIFEST
    layers = list(base.manifest.layers) if base else []
    diff_ids = list(base.config.rootfs.diff_ids) if base else []
    if packed.entries:
        media_type = (_DOCKER_LAYERS if docker else _OCI_LAYERS)[compression]
        layers.append(Descriptor(mediaType=media_type, digest=packed.digest, size=packed.size))
        diff_ids.append(packed.diff_id)
    check_layers(len(layers), "the image")
    platform = base.platform if base else host
    step = step.model_copy(update={"created": times.format_rfc3339(times.now()), "empty_layer": not packed.entries})
    document = ImageConfig(
        created=step.created,
        author=step.author,
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant,
        config=config,
        rootfs=RootFS(diff_ids=diff_ids),
        history=[*(base.config.history if base else ()), step],
    )
    data = _dump(document)
    described = Descriptor(
        mediaType=DOCKER_CONFIG if docker else OCI_CONFIG, digest=digests.of(data), size=len(data)
    )
    kind = DOCKER_MANIFEST if docker else OCI_MANIFEST
    manifest = Manifest(schemaVersion=2, mediaType=kind, config=described, layers=layers)
    raw = _dump(manifest)
    target = Descriptor(mediaType=kind, digest=digests.of(raw), size=len(raw))
    return MadeImage(ImageDocuments(target.digest, manifest, document), target, data, raw)


def _dump(document: ImageConfig | Manifest) -> bytes:
    return json.dumps(document.model_dump(by_alias=True, exclude_none=True), separators=(",", ":")).encode()
