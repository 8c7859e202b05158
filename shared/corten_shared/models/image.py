"""Images: a name for a descriptor."""

from __future__ import annotations

from corten_shared.models.base import Record
from corten_shared.models.oci import Descriptor
from corten_shared.times import Timestamp


class ImageRecord(Record):
    """A name (`docker.io/library/busybox:latest`, or `name@sha256:…`) and the content it names."""

    name: str
    target: Descriptor
    labels: dict[str, str] = {}
    created_at: Timestamp
    updated_at: Timestamp


class Progress(Record):
    """One line of a transfer's progress stream.

    `status` is docker's word, `id` a blob's short id, or the tag for a pull's first line; `current`/`total` are bytes.
    """

    status: str
    id: str | None = None
    current: int | None = None
    total: int | None = None


class PullProgress(Progress):
    """Of a pull: `Pulling fs layer`, `Downloading`, `Download complete`, `Extracting`, `Pull complete`, `Already
    exists`, …

    The last line of a good pull has `image` set.
    """

    image: ImageRecord | None = None


class ImportProgress(Progress):
    """Of an import: `Loading layer` with a layer's short id, then a line with `image` set for each that came."""

    image: ImageRecord | None = None


class Pushed(Record):
    """What a registry has now: `digest` under `tag` (empty: under its digest alone); `size` is the manifest's."""

    tag: str
    digest: str
    size: int


class PushProgress(Progress):
    """Of a push: `Preparing`, `Waiting`, `Pushing`, `Pushed`, `Layer already exists`, `Mounted from library/busybox`.

    The line of each name that was pushed has `pushed` set.
    """

    pushed: Pushed | None = None
