"""Volumes of containers that are being made."""

from __future__ import annotations

import asyncio
from pathlib import Path

from corten_shared.models.container import MountSpec
from cortend.events.exchange import Exchange
from cortend.metadata.db import Database
from cortend.services.volumes import VolumeService
from cortend.volumes.local import LocalVolumes
from cortend.workers import ThreadWorkers


def test_a_prune_spares_the_volumes_of_a_container_that_is_being_made(tmp_path: Path) -> None:
    """They are there before the container's record, and its start would not find them."""
    workers = ThreadWorkers()
    with Database(tmp_path / "meta.db", Exchange()) as database:
        service = VolumeService(store=LocalVolumes(tmp_path / "volumes"), metadata=database, workers=workers)
        [mount] = service.resolve("default", [MountSpec(type="volume", target="/data")], "container")
        assert asyncio.run(service.prune("default")) == []
        service.keep_anonymous("default", [mount])
        assert asyncio.run(service.prune("default")) == [mount.source]
    workers.close()
