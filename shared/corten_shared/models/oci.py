"""OCI and Docker image documents (OCI image-spec 1.1; Docker image manifest version 2, schema 2).

These come from registries and archives, so every field is checked here and nothing is policy.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator

from corten_shared import digest as digests
from corten_shared.models.base import Document

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"

INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
LAYER_COMPRESSION = {
    OCI_LAYER: "none",
    OCI_LAYER_GZIP: "gzip",
    OCI_LAYER_ZSTD: "zstd",
    DOCKER_LAYER: "none",
    DOCKER_LAYER_GZIP: "gzip",
    DOCKER_LAYER_ZSTD: "zstd",
}
"""Media types of layers that can be unpacked, and how they are compressed."""

MAX_BLOB = 1 << 40
"""No descriptor may promise more than a tebibyte."""

Digest = Annotated[str, AfterValidator(digests.parse)]


class Platform(Document):
    """What a manifest in an index runs on."""

    architecture: str = ""
    os: str = ""
    variant: str | None = None
    os_version: str | None = Field(default=None, alias="os.version")

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class Descriptor(Document):
    """A reference to content: media type, digest, size in bytes."""

    media_type: str = Field(alias="mediaType", max_length=255)
    digest: Digest
    size: int = Field(ge=0, le=MAX_BLOB)
    annotations: dict[str, str] | None = None
    platform: Platform | None = None
    artifact_type: str | None = Field(default=None, alias="artifactType")

    def dump(self) -> dict[str, Any]:
        """The descriptor as an OCI document writes it."""
        return self.model_dump(by_alias=True, exclude_none=True)


class Index(Document):
    """An image index or Docker manifest list."""

    schema_version: int = Field(alias="schemaVersion")
    media_type: str | None = Field(default=None, alias="mediaType")
    manifests: list[Descriptor] = Field(max_length=1024)
    annotations: dict[str, str] | None = None


class Manifest(Document):
    """An image manifest: one config and layers, lowest first."""

    schema_version: int = Field(alias="schemaVersion")
    media_type: str | None = Field(default=None, alias="mediaType")
    config: Descriptor
    layers: list[Descriptor]
    annotations: dict[str, str] | None = None


class ArchivedImage(Document):
    """One image in the manifest.json of a docker archive: names of its files inside the archive, and its names."""

    config: str = Field(alias="Config")
    repo_tags: list[str] | None = Field(default=None, alias="RepoTags", max_length=1024)
    layers: list[str] = Field(alias="Layers", max_length=10_000)

    @field_validator("layers", mode="before")
    @classmethod
    def _null_is_none(cls, value: Any) -> Any:
        return [] if value is None else value


class RootFS(Document):
    """The uncompressed digests of an image's layers, lowest first."""

    type: str = "layers"
    diff_ids: list[Digest]


class RunConfig(Document):
    """The `config` member of an image: defaults for containers made from it."""

    user: str = Field(default="", alias="User")
    exposed_ports: dict[str, Any] | None = Field(default=None, alias="ExposedPorts")
    env: list[str] | None = Field(default=None, alias="Env")
    entrypoint: list[str] | None = Field(default=None, alias="Entrypoint")
    cmd: list[str] | None = Field(default=None, alias="Cmd")
    volumes: dict[str, Any] | None = Field(default=None, alias="Volumes")
    working_dir: str = Field(default="", alias="WorkingDir")
    labels: dict[str, str] | None = Field(default=None, alias="Labels")
    stop_signal: str | None = Field(default=None, alias="StopSignal")
    healthcheck: dict[str, Any] | None = Field(default=None, alias="Healthcheck")
    shell: list[str] | None = Field(default=None, alias="Shell")
    on_build: list[str] | None = Field(default=None, alias="OnBuild")

    @field_validator("user", "working_dir", mode="before")
    @classmethod
    def _null_is_empty(cls, value: Any) -> Any:
        return "" if value is None else value


class History(Document):
    """How one layer, or an empty step, came to be."""

    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool = False


class ImageConfig(Document):
    """An image's configuration blob; its digest is what docker calls the image id."""

    created: str | None = None
    author: str | None = None
    architecture: str = ""
    os: str = ""
    variant: str | None = None
    config: RunConfig = RunConfig()
    rootfs: RootFS
    history: list[History] = []

    @field_validator("config", "history", mode="before")
    @classmethod
    def _null_is_default(cls, value: Any, info: Any) -> Any:
        return ({} if info.field_name == "config" else []) if value is None else value
