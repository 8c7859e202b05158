"""Volumes: directories that outlive containers."""

from __future__ import annotations

from corten_shared.models.base import Record
from corten_shared.times import Timestamp


class VolumeRecord(Record):
    """A named volume; `anonymous` ones were made for a container and go with `rm -v` and `--rm`.

    `owner` is that container's id, until it is removed and leaves the volume behind.
    """

    name: str
    driver: str = "local"
    mountpoint: str
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    anonymous: bool = False
    owner: str = ""
    created_at: Timestamp
