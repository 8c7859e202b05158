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


class PullProgress(Record):
    """One line of a pull's progress stream.

    `status` is docker's word (`Pulling fs layer`, `Downloading`, `Download complete`,
    `Extracting`, `Pull complete`, `Already exists`, …), `id` a blob's short id, or the tag for
    the first line; `current`/`total` are bytes. The last line of a good pull has `image` set.
    """

    status: str
    id: str | None = None
    current: int | None = None
    total: int | None = None
    image: ImageRecord | None = None
