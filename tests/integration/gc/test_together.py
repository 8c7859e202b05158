"""Eight clients that pull, load, run, remove and prune at once: nobody is told that what is there is not, and a prune
during a pull never breaks it."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from daemon import Cortend, running
from holdings import Holdings
from images import busybox_image, make_layer, push_to_registry, write_docker_archive
from support_registry import Registry

pytestmark = pytest.mark.root

CLIENTS = 8


class Client:
    """One client with images of its own names: whatever it was told is there must be there until it removes it."""

    def __init__(self, engine: Cortend, number: int, repository: str, archive: Path, counts: Counter[str]) -> None:
        self._engine = engine
        self._number = number
        self._repository = repository
        self._archive = archive
        self._counts = counts
        self._random = random.Random(number)

    def work(self, until: float) -> None:
        """Do one thing after another; raises at the first that is not as it must be."""
        jobs: list[Callable[[], None]] = [self.pull, self.pull, self.load, self.collect, self.prune, self.lease]
        while time.monotonic() < until:
            job = self._random.choice(jobs)
            job()
            self._counts[job.__name__] += 1

    def pull(self) -> None:
        """All clients pull the same few images, each tags its own name, runs from it and removes it."""
        source = f"{self._repository}:{self._random.randrange(3)}"
        own = f"client{self._number}:own"
        # Another client may take the shared name away between the two; then only this has to be done again.
        while True:
            self._engine.corten("pull", "-q", source)
            done = self._engine.corten("tag", source, own, check=False)
            if done.returncode == 0:
                break
            assert b"No such image" in done.stderr, done.stderr
        self._run(own)
        self._engine.corten("rmi", source, check=False)
        self._engine.corten("rmi", own)

    def load(self) -> None:
        """From an archive, under the client's own name."""
        self._engine.corten("load", "-q", "-i", str(self._archive))
        self._run(f"loaded{self._number}:1")
        self._engine.corten("rmi", f"loaded{self._number}:1")

    def _run(self, image: str) -> None:
        name = f"client{self._number}"
        done = self._engine.corten("run", "--name", name, "-v", "/data", image, "cat", "/etc/mark")
        assert done.stdout.startswith(b"mark")
        self._engine.corten("rm", "-v", name)

    def prune(self) -> None:
        """Dangling images, that is: nobody's. Containers and named images are other clients'."""
        self._engine.corten("image", "prune", "-f")
        self._engine.corten("volume", "prune", "-f")

    def collect(self) -> None:
        self._engine.cortenctl("gc")

    def lease(self) -> None:
        """What a lease holds is there until it ends."""
        ns, lease = f"space{self._number}", "held"
        self._engine.cortenctl("-n", ns, "leases", "create", "--id", lease)
        self._engine.cortenctl("-n", ns, "images", "pull", "-q", f"{self._repository}:0")
        digests = self._engine.cortenctl("-n", ns, "content", "ls", "-q").stdout.decode().split()
        for digest in digests:
            self._engine.cortenctl("-n", ns, "leases", "add", lease, "content", digest)
        self._engine.cortenctl("-n", ns, "images", "rm", f"{self._repository}:0")
        self._engine.cortenctl("gc")
        left = self._engine.cortenctl("-n", ns, "content", "ls", "-q").stdout.decode().split()
        assert set(left) == set(digests)
        self._engine.cortenctl("-n", ns, "leases", "rm", lease)
        self._engine.cortenctl("namespaces", "rm", ns)


@pytest.fixture
def engine() -> Iterator[Cortend]:
    with running("[gc]\nschedule_delay = 0.01\nmutation_threshold = 10\npause_threshold = 0.5\n") as daemon:
        yield daemon


def together(engine: Cortend, registry: Registry, folder: Path, seconds: float) -> Counter[str]:
    """Let all clients work; how often each thing was done."""
    for tag in range(3):
        own = make_layer([("etc/mark", f"mark {tag}".encode()), (f"data{tag}", os.urandom(200_000))])
        push_to_registry(busybox_image(own), registry.host, "together", str(tag))
    repository = f"{registry.host}/together"
    counts: Counter[str] = Counter()
    clients = []
    for number in range(CLIENTS):
        archive = folder / f"{number}.tar"
        mark = make_layer([("etc/mark", b"mark loaded")])
        write_docker_archive(busybox_image(mark), archive, [f"loaded{number}:1"])
        clients.append(Client(engine, number, repository, archive, counts))
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(client.work, until) for client in clients]:
            done.result()
    for name in engine.cortenctl("images", "ls", "-q").stdout.decode().split():
        engine.cortenctl("images", "rm", name.removeprefix("dangling@"))
    engine.corten("volume", "prune", "-f")
    engine.cortenctl("gc")
    for noun in ("images", "content", "snapshots", "leases"):
        assert engine.cortenctl(noun, "ls", "-A", "-q").stdout == b"", noun
    assert list((engine.root / "content/blobs/sha256").iterdir()) == []
    return counts


def test_eight_clients_at_once(engine: Cortend, registry: Registry, tmp_path: Path) -> None:
    before = Holdings.when_idle(engine)
    counts = together(engine, registry, tmp_path, 5)
    assert sum(counts.values()) >= CLIENTS
    Holdings.settle(engine, before)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_eight_clients_for_ten_minutes(engine: Cortend, registry: Registry, tmp_path: Path) -> None:
    counts = together(engine, registry, tmp_path, 600)
    print(dict(counts))


def test_prunes_without_a_pause_break_no_pull(engine: Cortend, registry: Registry) -> None:
    """Each pull's own image, removed at once: its layers are shared, and garbage between any two pulls."""
    own = make_layer([("etc/mark", b"mark"), ("data", os.urandom(3_000_000))])
    push_to_registry(busybox_image(own), registry.host, "pruned", "1")
    name = f"{registry.host}/pruned:1"
    done = threading.Event()

    def prune() -> int:
        count = 0
        while not done.is_set():
            engine.corten("image", "prune", "-af")
            engine.cortenctl("gc")
            count += 1
        return count

    with ThreadPoolExecutor(2) as pool:
        pruning = pool.submit(prune)
        try:
            for _ in range(8):
                assert engine.corten("pull", "-q", name).stdout.decode().strip().startswith(f"{registry.host}/pruned")
        finally:
            done.set()
        assert pruning.result() > 0
