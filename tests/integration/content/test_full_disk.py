"""A file system that is really full, under the content store and the database."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten_shared import digest as digests
from corten_shared.errors import ResourceExhausted
from corten_shared.models.snapshot import Mount
from cortend.linux.mount import mounted
from suites.metadata import new_image
from suites.store_world import World

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts a small tmpfs"),
]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    tmpfs = Mount(type="tmpfs", source="tmpfs", options=["size=8m"])
    with mounted([tmpfs], tmp_path):
        yield tmp_path


def test_a_blob_that_does_not_fit_is_resumed_when_there_is_room(small: Path) -> None:
    ballast = small / "ballast"
    ballast.write_bytes(bytes(4 << 20))
    data = secrets.token_bytes(4 << 20)
    with World(small) as world:
        with world.content.writer("a", "layer", size=len(data)) as writer:
            with pytest.raises(ResourceExhausted, match="no space left on device while writing a/layer"):
                writer.write(data)
            assert writer.digest == digests.of(data[: writer.offset])
        ballast.unlink()
        with world.content.writer("a", "layer", size=len(data)) as writer:
            assert 0 < writer.offset < len(data)
            writer.write(data[writer.offset :])
            assert writer.commit() == digests.of(data)


def test_the_database_says_it_and_keeps_what_was_committed(small: Path) -> None:
    ballast = small / "ballast"
    with World(small) as world:
        with world.database.update() as tx:
            tx.images.create("a", new_image("kept"))
        free = os.statvfs(small)
        ballast.write_bytes(bytes(free.f_bavail * free.f_bsize - 64 * 1024))
        with pytest.raises(ResourceExhausted, match=r"no space left on device while writing .*meta\.db"):
            for number in range(5_000):
                with world.database.update() as tx:
                    tx.images.create("a", new_image(f"image-{number}"))
        ballast.unlink()
        with world.database.update() as tx:
            tx.images.delete("a", "kept")
            tx.images.create("a", new_image("after"))
    with World(small) as world, world.database.view() as tx:
        assert tx.images.get("a", "after")
