"""A process that writes to real stores until it is killed, and says on its output what was acknowledged.

    python -m crash.writer ROOT      (with `tests` on the path)
"""

from __future__ import annotations

import itertools
import os
import secrets
import sys
from pathlib import Path

from suites.metadata import new_image
from suites.store_world import World


def main(root: Path) -> None:
    """Write for ever; each line names an image, a blob or a snapshot that is durable."""
    with World(root) as world:
        for _ in itertools.count():
            token = secrets.token_hex(8)
            with world.database.update() as tx:
                tx.images.create("a", new_image(f"image-{token}"))
                tx.emit("a", "/images/create", token)
            say("image", token)
            say("blob", world.put("a", secrets.token_bytes(20_000)))
            say("snapshot", world.layer("a", token))


def say(kind: str, name: str) -> None:
    """Acknowledge: one write, so that a line is there whole or not at all."""
    os.write(1, f"{kind} {name}\n".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
