"""kill -9 at every named place of pull, unpack, commit, garbage collection, removal, load and import.

For each point of `cortend.core.trace`: a daemon that dies there while it does something that passes it, a new start,
and then: the store is consistent, what was asked for is done by asking again, what had arrived is not fetched again,
and in the end nothing is left over. The other tests run some of the points, `make soak` all of them.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cortend.core import trace
from daemon import Cortend, eventually, running
from images import busybox_entries, busybox_image, make_layer, make_tar, write_docker_archive
from support_registry import LyingRegistry

pytestmark = pytest.mark.root

SEED = int(os.environ.get("CORTEN_SEED", secrets.randbelow(1 << 30)))
LAYERS = 3


class Mortal:
    """A daemon that is told where to die."""

    def __init__(self, daemon: Cortend, registry: LyingRegistry, archive: Path) -> None:
        self.daemon = daemon
        self.registry = registry
        self.archive = archive
        self.image = busybox_image(*(make_layer([(f"layer-{n}", f"{n}\n".encode() * 3000)]) for n in range(LAYERS)))
        self.name = f"{registry.host}/app"
        registry.serve_image(self.image, "app")
        write_docker_archive(self.image, archive, ["loaded:1"])

    def pull(self) -> bool:
        return self._do("pull", self.name)

    def load(self) -> bool:
        return self._do("load", "-i", str(self.archive))

    def take(self) -> bool:
        return self._do("import", "-", "imported", input=make_tar([*busybox_entries(), ("layer-0", b"0\n" * 3000)]))

    def commit(self) -> bool:
        return self._do("commit", "made", "committed:1")

    def remove(self) -> bool:
        """A container, its image, and the collection after them."""
        self._do("rm", "made")
        self._do("rmi", self.name)
        return self.daemon.cortenctl("gc", check=False).returncode == 0

    def _do(self, *words: str, input: bytes | None = None) -> bool:
        return self.daemon.corten(*words, check=False, input=input).returncode == 0

    def die_at(self, point: str, action: Callable[[], bool]) -> None:
        """Do it with a daemon that dies there, and start again."""
        self.daemon.stop()
        self.daemon.start(env={trace.VARIABLE: f"{point}=kill"})
        assert self.daemon.process is not None
        action()
        assert self.daemon.process.wait(30) == -9, f"{point} was not reached"
        self.daemon.start()

    def check(self) -> None:
        """Consistent to the byte, after one collection without anything that nobody wants."""
        self.daemon.cortenctl("gc")
        done = self.daemon.cortenctl("system", "check", check=False)
        assert done.returncode == 0, done.stdout.decode()

    def runs(self, name: str, wanted: bytes = b"0\n" * 3000) -> None:
        shown = self.daemon.corten("run", "--rm", "--pull", "never", name, "cat", "/layer-0").stdout
        assert shown == wanted

    def images(self) -> set[str]:
        shown = self.daemon.corten("images", "--format", "{{.Repository}}").stdout.decode()
        return set(shown.split())

    def clear(self) -> None:
        """Remove everything; nothing may be left."""
        if names := self.daemon.corten("images", "-q").stdout.decode().split():
            self.daemon.corten("rmi", "-f", *set(names))
        for lease in self.daemon.cortenctl("leases", "ls", "-q").stdout.decode().split():
            self.daemon.cortenctl("leases", "rm", lease)
        for ingest in self.daemon.cortenctl("content", "active", "-q").stdout.decode().split():
            self.daemon.cortenctl("content", "abort", ingest)
        self.daemon.cortenctl("gc")
        root = self.daemon.root
        eventually(
            lambda: not os.listdir(root / "content/blobs/sha256") + os.listdir(root / "snapshots/overlayfs"),
            "nothing is left of any image",
        )


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    archive = tmp_path_factory.mktemp("archive") / "image.tar"
    with LyingRegistry() as registry, running("[gc]\ndelay = 3000.0\n") as daemon:
        yield Mortal(daemon, registry, archive)


def asked(mortal: Mortal) -> int:
    """How many layers the registry was asked for."""
    return sum(mortal.registry.count("GET", f"/v2/app/blobs/{layer.digest}") for layer in mortal.image.layers)


ALWAYS = {
    "content.commit.renamed", "snapshot.commit.synced", "unpack.layer.applied", "pull.image.named",
    "snapshot.remove.recorded", "gc.rows.deleted", "load.archive.read", "commit.image.named", "import.layer.unpacked",
}  # fmt: skip


def points(*prefixes: str) -> list[str]:
    return [name for name in trace.POINTS if name.startswith(prefixes)]


def walk(names: list[str]) -> list[object]:
    """The points as parameters."""
    return [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.soak) for name in names]


PULLED = points("content.ingest.", "content.commit.", "snapshot.create.", "snapshot.commit.", "pull.", "unpack.")
REMOVED = points("content.delete.", "snapshot.remove.", "gc.", "image.remove.")
LOADED, IMPORTED, COMMITTED = points("load."), points("import."), points("commit.")


def test_every_point_is_walked() -> None:
    """Those of a push too, where pushes are tested: what is sent changes nothing here."""
    walked = {*PULLED, *REMOVED, *LOADED, *IMPORTED, *COMMITTED}
    assert walked == set(trace.POINTS) - set(points("push."))


@pytest.mark.parametrize("point", walk(PULLED))
def test_a_pull(mortal: Mortal, point: str) -> None:
    before = asked(mortal)
    mortal.die_at(point, mortal.pull)
    mortal.check()
    assert mortal.images() <= {mortal.name}
    arrived = len(os.listdir(mortal.daemon.root / "content/blobs/sha256"))
    again = asked(mortal)
    assert mortal.pull()
    layers = LAYERS + 1
    assert asked(mortal) - again <= layers - min(layers, max(0, arrived - 2)), "what had arrived is not fetched again"
    assert asked(mortal) - before >= layers
    mortal.check()
    mortal.runs(mortal.name)
    mortal.clear()


@pytest.mark.parametrize("point", walk(REMOVED))
def test_a_removal_and_its_collection(mortal: Mortal, point: str) -> None:
    assert mortal.pull()
    mortal.daemon.corten("create", "--name", "made", mortal.name)
    mortal.die_at(point, mortal.remove)
    mortal.check()
    mortal.daemon.corten("rm", "made", check=False)
    if mortal.name in mortal.images():
        mortal.runs(mortal.name)
        assert mortal.remove()
    assert mortal.pull()
    mortal.check()
    mortal.runs(mortal.name)
    mortal.clear()


@pytest.mark.parametrize("point", walk(LOADED))
def test_a_load(mortal: Mortal, point: str) -> None:
    mortal.die_at(point, mortal.load)
    mortal.check()
    assert mortal.load()
    mortal.check()
    mortal.runs("loaded:1")
    mortal.clear()


@pytest.mark.parametrize("point", walk(IMPORTED))
def test_an_import(mortal: Mortal, point: str) -> None:
    mortal.die_at(point, mortal.take)
    mortal.check()
    assert mortal.take()
    mortal.check()
    mortal.runs("imported")
    mortal.clear()


@pytest.mark.parametrize("point", walk(COMMITTED))
def test_a_commit(mortal: Mortal, point: str) -> None:
    assert mortal.pull()
    mortal.daemon.corten("run", "--name", "made", mortal.name, "sh", "-c", "echo mine >/layer-0")
    mortal.die_at(point, mortal.commit)
    mortal.check()
    assert mortal.commit()
    mortal.check()
    mortal.runs("committed:1", b"mine\n")
    mortal.daemon.corten("rm", "made")
    mortal.clear()


@pytest.mark.soak
@pytest.mark.parametrize("round_", range(60))
def test_any_point_at_any_hit(mortal: Mortal, round_: int) -> None:
    """Later hits of a point: another layer, another blob, a pull that others are under way beside."""
    rng = random.Random(SEED + round_)
    print("seed", SEED + round_)
    point, hit = rng.choice(PULLED), rng.randrange(1, 7)
    mortal.daemon.stop()
    mortal.daemon.start(env={trace.VARIABLE: f"{point}=kill@{hit}"})
    mortal.pull()
    assert mortal.daemon.process is not None
    if mortal.daemon.process.poll() is None:
        mortal.daemon.kill()
    mortal.daemon.start()
    mortal.check()
    assert mortal.pull()
    mortal.check()
    mortal.runs(mortal.name)
    mortal.clear()
