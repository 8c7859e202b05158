"""The body of volume create."""

from __future__ import annotations

from cortend.api.docker.models.base import Wire
from cortend.api.docker.models.create import Labels


class VolumeCreateBody(Wire):
    """A volume; without a name an anonymous one."""

    name: str = ""
    driver: str = ""
    driver_opts: Labels = {}
    labels: Labels = {}
