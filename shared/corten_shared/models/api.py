"""Bodies of the native API that are not records: requests, answers, lists, stream lines.

Lists are `{"items": [...], "next": ...}`; `next` is null at their end.
"""

from __future__ import annotations

import base64
from typing import Any, Generic, Literal, TypeVar

from pydantic import Field, SecretStr, SerializationInfo, field_serializer

from corten_shared.models.base import Record
from corten_shared.models.container import ContainerRecord, ContainerSpec
from corten_shared.models.image import ImageRecord
from corten_shared.models.network import Endpoint
from corten_shared.models.oci import Descriptor, ImageConfig, Platform
from corten_shared.models.task import TaskRecord
from corten_shared.times import Timestamp

T = TypeVar("T")


class Items(Record, Generic[T]):
    """A list, or a page of one: send `next` as `page` to get what follows. Read only the members that you know."""

    items: list[T]
    next: str | None = None


class ErrorInfo(Record):
    """What went wrong; `code` is stable (corten_shared.errors), the rest is for people."""

    code: str
    message: str
    hint: str | None = None
    subject: str | None = None
    details: dict[str, Any] | None = None


class ErrorBody(Record):
    """The body of every error, and the last line of a stream that failed."""

    error: ErrorInfo


class LabelsPatch(Record):
    """Labels to set; null removes one; others stay, or with `replace` go."""

    labels: dict[str, str | None]
    replace: bool = False


class NamespaceCreate(Record):
    """A namespace to make."""

    name: str
    labels: dict[str, str] = {}


REVEAL = {"reveal": True}
"""The serialisation context in which a Login is written out: for sending it, and nothing else."""


class Login(Record):
    """Credentials for one pull or push; never stored, never logged. `identity_token` is an OAuth2 refresh token."""

    username: str = ""
    password: SecretStr = SecretStr("")
    identity_token: SecretStr = SecretStr("")
    registry_token: SecretStr = SecretStr("")

    @field_serializer("password", "identity_token", "registry_token", when_used="json")
    def _write(self, value: SecretStr, info: SerializationInfo) -> str:
        return value.get_secret_value() if info.context == REVEAL else str(value)


class PullRequest(Record):
    """An image to pull. Platforms are os/arch[/variant], one in `platform` or several in `platforms`; none: the host's.

    The first platform's image is unpacked, by `snapshotter` (empty: the usual one), unless `unpack` is false; then what
    is no container image is taken as well. `all_platforms` fetches everything, `all_metadata` the documents of all.
    `labels` are for the image's name; `max_concurrent_downloads` bounds this pull (0: the daemon's bound alone).
    """

    reference: str
    platform: str = ""
    platforms: list[str] = Field(default=[], max_length=64)
    all_platforms: bool = False
    all_metadata: bool = False
    unpack: bool = True
    snapshotter: str = ""
    labels: dict[str, str] = {}
    max_concurrent_downloads: int = Field(default=0, ge=0, le=64)
    credentials: Login | None = None


class PushRequest(Record):
    """An image to push as `reference`; `local` is its name here when that is another.

    `all_tags` pushes every tag of the repository that is here. `platform` (os/arch[/variant]) or `manifest` (a digest)
    choose one of an image's manifests; without them an index goes with all that is here. `concurrent` bounds how many
    blobs are sent at once (0: as configured).
    """

    reference: str
    local: str = ""
    all_tags: bool = False
    platform: str = ""
    manifest: str = ""
    concurrent: int = Field(default=0, ge=0, le=64)
    credentials: Login | None = None


class ObjectPushRequest(Record):
    """A blob or manifest to push by itself into the repository of `reference`.

    A manifest or index (`media_type` says so) gets the reference's tag, when it has one.
    """

    reference: str
    media_type: str = Field(default="application/octet-stream", max_length=255)
    credentials: Login | None = None


class FetchRequest(Record):
    """An object of a registry: what `reference` names, or the blob `digest` of its repository."""

    reference: str
    digest: str = ""
    credentials: Login | None = None


class TagRequest(Record):
    """A further name for an image."""

    source: str
    target: str


class ImageManifest(Record):
    """A manifest of an image: whether it is `here`, and `complete` with its config and layers."""

    descriptor: Descriptor
    platform: Platform | None
    here: bool
    complete: bool


class ImageDetail(Record):
    """An image with what its documents say, for this host's platform; `size` is bytes of all its layers.

    `names` are all names of the same image, `containers` how many were made from it; `manifests` are those of all
    platforms that its index names, or the one it has.
    """

    record: ImageRecord
    id: str
    manifest_digest: str
    platform: Platform
    size: int
    names: list[str]
    containers: int
    config: ImageConfig
    manifests: list[ImageManifest] = []


class ImageCheck(Record):
    """How much of an image is here for this host's platform: blobs and bytes that it needs, and that are there.

    `status` is complete, incomplete, or unavailable (its manifest is not here, so nobody knows what it needs).
    """

    name: str
    target: Descriptor
    status: Literal["complete", "incomplete", "unavailable"]
    blobs: int
    blobs_present: int
    size: int
    size_present: int
    unpacked: bool


class LayerUsage(Record):
    """One layer: its blob's bytes (0: not here), and what its snapshot takes."""

    digest: str
    content: int
    snapshot: str
    size: int
    inodes: int
    unpacked: bool


class ImageUsage(Record):
    """What an image takes: bytes of its blobs and of its snapshots. Layers may be shared with other images."""

    name: str
    content: int
    snapshots: int
    inodes: int
    layers: list[LayerUsage]


class Removed(Record):
    """What the removal of an image did to each of its names and parts."""

    action: Literal["Untagged", "Deleted"]
    subject: str


class ImagesPrune(Record):
    """Which images to remove that no container uses: those without a name, or `all`."""

    all: bool = False


class ImagesPruned(Record):
    """What was removed, and the bytes of the images' layers."""

    items: list[Removed]
    size: int


class PluginInfo(Record):
    """A part of the engine that could be another one; `reason` says why it is not usable here."""

    type: Literal["content", "snapshotter", "runtime", "network", "differ"]
    id: str
    status: Literal["ok", "skip", "error"]
    default: bool = False
    version: str = ""
    path: str = ""
    reason: str = ""


class ContainerCreate(Record):
    """A container to make; see ContainerSpec for how absent members stand for the image's defaults.

    An empty `name` asks for a random one. `extensions` is given back unchanged.
    """

    image: str
    name: str = ""
    platform: str = ""
    snapshotter: str = ""
    spec: ContainerSpec = ContainerSpec()
    labels: dict[str, str] = {}
    extensions: dict[str, Any] = {}


class ContainerCreated(Record):
    """A new container, and what it will not do as asked."""

    container: ContainerRecord
    warnings: list[str] = []


class ContainerCommit(Record):
    """An image to make of a container; `changes` are Dockerfile instructions (`CMD ["sh"]`, `ENV A=1`)."""

    reference: str = ""
    author: str = ""
    message: str = ""
    pause: bool = True
    changes: list[str] = []
    compression: Literal["gzip", "zstd", "none"] = "gzip"


class ContainerCommitted(Record):
    """The image that was made: its record, and the digest of its config (docker's image id)."""

    record: ImageRecord
    id: str


class ContainerDetail(Record):
    """A container with its last task and its place on a network; `status` in docker's word."""

    namespace: str
    status: str
    container: ContainerRecord
    task: TaskRecord | None = None
    endpoint: Endpoint | None = None


class TaskDetail(Record):
    """A task and the name of its container; `status` in docker's word."""

    namespace: str
    name: str
    status: str
    task: TaskRecord


class TaskStart(Record):
    """The container (id, unique prefix or name) to start a task for."""

    container: str


class TaskKill(Record):
    """A signal by name or number; with `all` to every process, not just the first."""

    signal: str = "SIGTERM"
    all: bool = False


class ExecCreate(Record):
    """A further process in a running container; empty `cwd` and `user` stand for the container's.

    `id` is a name that its creator gives it; empty asks for one. Environment variables come on top of the container's.
    """

    args: list[str] = Field(min_length=1)
    id: str = Field(default="", max_length=128)
    env: list[str] = []
    cwd: str = ""
    user: str = ""
    tty: bool = False
    stdin: bool = False
    privileged: bool = False


class ExecKill(Record):
    """A signal by name or number."""

    signal: str = "SIGTERM"


class TaskStop(Record):
    """How a task is asked to end: its stop signal, and SIGKILL after `timeout` seconds (None: the container's own)."""

    timeout: int | None = None
    signal: str | None = None


class TerminalSize(Record):
    """Characters."""

    width: int = Field(ge=0, le=65535)
    height: int = Field(ge=0, le=65535)


class TaskResult(Record):
    """How a task ended; `error` says why when its code could not be known."""

    exit_code: int
    error: str = ""


class LogEntry(Record):
    """A piece of output: `text` for people, and `data` (base64) where its bytes are not UTF-8."""

    time: Timestamp
    stream: Literal["stdout", "stderr"]
    text: str
    data: str | None = None

    @classmethod
    def of(cls, time_ns: int, stream: int, data: bytes) -> LogEntry:
        """An entry for bytes of stream 1 or 2."""
        name: Literal["stdout", "stderr"] = "stderr" if stream == 2 else "stdout"
        try:
            return cls(time=time_ns, stream=name, text=data.decode())
        except UnicodeDecodeError:
            exact = base64.b64encode(data).decode()
            return cls(time=time_ns, stream=name, text=data.decode(errors="replace"), data=exact)

    @property
    def raw(self) -> bytes:
        """The very bytes."""
        return base64.b64decode(self.data) if self.data is not None else self.text.encode()


class LeaseCreate(Record):
    """A lease to make; an empty id asks for a random one.

    It ends in `expires` seconds, which sets its label `containerd.io/gc.expire` (RFC 3339); 0: it does not.
    """

    id: str = Field(default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9_.:/-]{0,127})?$")
    labels: dict[str, str] = {}
    expires: float = Field(default=0, ge=0, le=100 * 365 * 86400, allow_inf_nan=False)


class CollectedResult(Record):
    """What a garbage collection removed, and bytes of content and committed snapshots freed."""

    blobs: int
    snapshots: int
    leases: int
    ingests: int
    bytes_freed: int
    images: int = 0


class SnapshotCreate(Record):
    """A snapshot to make on `parent` (none when empty); `lease`, when given, holds it."""

    key: str = Field(min_length=1, max_length=4096)
    parent: str = ""
    labels: dict[str, str] = {}
    lease: str | None = None


class SnapshotCommit(Record):
    """An active snapshot to be committed as `name`."""

    name: str = Field(min_length=1, max_length=4096)
    key: str
    labels: dict[str, str] = {}
    lease: str | None = None


class SnapshotDiff(Record):
    """Two snapshots to compare: `upper` with `lower`, or, when that is null, with its parent.

    `keep` keeps the layer as content, with these labels.
    """

    upper: str
    lower: str | None = None
    media_type: str = "application/vnd.oci.image.layer.v1.tar+gzip"
    keep: dict[str, str] | None = None


class Cleaned(Record):
    """How many directories were freed that no record named."""

    removed: int


class UnpackRequest(Record):
    """An image to unpack, by the digest of its manifest or index."""

    digest: str


class ImageMount(Record):
    """An image to mount on `target`, a directory of the daemon's host."""

    reference: str
    target: str
    writable: bool = False
    platform: str = ""
    snapshotter: str = ""


class ImageUnmount(Record):
    """A mounted image to unmount; `keep` leaves its snapshot for the next mount."""

    target: str
    keep: bool = False


class MountedOn(Record):
    """Where an image is mounted now."""

    target: str
