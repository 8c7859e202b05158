"""Pulls, removals, lease ends and collections in any order, against a model of what must be there.

The model knows what keeps what from the operations themselves, not from labels or rows; after a collection the stores
hold exactly that: nothing referenced is gone, nothing unreferenced is left.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from corten_shared import digest as digests
from suites.store_world import HOUR, World, refs

NAMESPACES = st.sampled_from(["a", "b"])
SIZES = st.integers(1, 3)
NAMES = st.sampled_from(["x", "y"])


class Things(NamedTuple):
    """Blobs and snapshots."""

    blobs: frozenset[str] = frozenset()
    snapshots: frozenset[str] = frozenset()

    def plus(self, other: Things) -> Things:
        """Both together."""
        return Things(self.blobs | other.blobs, self.snapshots | other.snapshots)


class Image(NamedTuple):
    """An image by its number of layers: images share their lower layers, so blobs and snapshots are shared too."""

    layers: int

    def layer(self, number: int) -> bytes:
        """The bytes of a layer."""
        return f"layer {number}".encode()

    @property
    def config(self) -> bytes:
        """The bytes of the configuration."""
        return f"config {self.layers}".encode()

    @property
    def manifest(self) -> bytes:
        """The bytes of the manifest."""
        return f"manifest {self.layers}".encode()

    @property
    def top(self) -> str:
        """The name of the topmost snapshot."""
        return f"chain-{self.layers - 1}"

    @property
    def all(self) -> Things:
        """Everything it consists of."""
        data = [self.manifest, self.config, *(self.layer(number) for number in range(self.layers))]
        return Things(
            frozenset(map(digests.of, data)), frozenset(f"chain-{number}" for number in range(self.layers))
        )


class Pull:
    """A pull under way: what its lease holds, and the next of its steps."""

    def __init__(self, ns: str, image: Image, expires: int | None) -> None:
        self.ns = ns
        self.image = image
        self.expires = expires
        self.step = 0
        self.held = Things()


class Pulls(RuleBasedStateMachine):
    """The operations; `step` of a pull is one commit, so that collections fall between any two."""

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp())
        self.world = World(self.root)
        self.pulls: dict[str, Pull] = {}
        self.images: dict[tuple[str, str], Image] = {}
        self.containers: dict[tuple[str, str], tuple[str, Image]] = {}
        self.counter = 0

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.database.close()
            shutil.rmtree(self.root)

    @rule(ns=NAMESPACES, layers=SIZES, hours=st.sampled_from([None, 1, 5]))
    def start_pull(self, ns: str, layers: int, hours: int | None) -> None:
        self.counter += 1
        lease = self.world.lease(ns, f"pull-{self.counter}", hours=hours)
        expires = None if hours is None else self.world.time + hours * HOUR
        self.pulls[lease] = Pull(ns, Image(layers), expires)

    @precondition(lambda self: self.pulls)
    @rule(data=st.data(), steps=st.integers(1, 9))
    def go_on(self, data: st.DataObject, steps: int) -> None:
        lease = data.draw(st.sampled_from(sorted(self.pulls)))
        pull = self.pulls[lease]
        for _ in range(steps):
            if pull.step == 2 * pull.image.layers + 2:
                self._finish(lease, data.draw(NAMES))
                return
            pull.held = pull.held.plus(self._step(lease, pull))
            pull.step += 1

    def _step(self, lease: str, pull: Pull) -> Things:
        world, image, number = self.world, pull.image, pull.step // 2
        if number == image.layers:
            return self._step_documents(lease, pull)
        if pull.step % 2 == 0:
            return Things(frozenset({world.put(pull.ns, image.layer(number), lease=lease)}))
        parent = f"chain-{number - 1}" if number else ""
        return Things(snapshots=frozenset({world.layer(pull.ns, f"chain-{number}", parent, lease)}))

    def _step_documents(self, lease: str, pull: Pull) -> Things:
        image = pull.image
        if pull.step % 2 == 0:
            return Things(frozenset({self.world.put(pull.ns, image.config, refs(snapshot=image.top), lease)}))
        blobs = [digests.of(image.config), *(digests.of(image.layer(number)) for number in range(image.layers))]
        return Things(frozenset({self.world.put(pull.ns, image.manifest, refs(blobs), lease)}))

    def _finish(self, lease: str, name: str) -> None:
        pull = self.pulls.pop(lease)
        self.world.tag(pull.ns, name, digests.of(pull.image.manifest))
        self.world.unlease(pull.ns, lease)
        self.images[pull.ns, name] = pull.image

    @precondition(lambda self: self.pulls)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(sorted(self.pulls)))
        self.world.unlease(self.pulls.pop(lease).ns, lease)

    @precondition(lambda self: self.images)
    @rule(data=st.data())
    def remove_image(self, data: st.DataObject) -> None:
        ns, name = data.draw(st.sampled_from(sorted(self.images)))
        del self.images[ns, name]
        self.world.untag(ns, name)

    @precondition(lambda self: self.images)
    @rule(data=st.data())
    def create_container(self, data: st.DataObject) -> None:
        ns, name = data.draw(st.sampled_from(sorted(self.images)))
        image = self.images[ns, name]
        self.counter += 1
        container = f"container-{self.counter}"
        self.world.snapshotter.prepare(ns, container, image.top)
        self.world.container(ns, container, container, digests.of(image.manifest))
        self.containers[ns, container] = (container, image)

    @precondition(lambda self: self.containers)
    @rule(data=st.data())
    def remove_container(self, data: st.DataObject) -> None:
        ns, name = data.draw(st.sampled_from(sorted(self.containers)))
        del self.containers[ns, name]
        with self.world.database.update() as tx:
            tx.containers.delete(ns, name)

    @rule(hours=st.integers(1, 6))
    def wait(self, hours: int) -> None:
        """Time passes, and the collector ends leases; the pulls that held them are given up."""
        self.world.time += hours * HOUR
        for lease, pull in list(self.pulls.items()):
            if pull.expires is not None and pull.expires <= self.world.time:
                del self.pulls[lease]

    @rule()
    def restart(self) -> None:
        time = self.world.time
        self.world.database.close()
        self.world = World(self.root)
        self.world.time = time

    @rule()
    def collect(self) -> None:
        self.world.collector.collect()
        kept = {ns: self._kept(ns) for ns in ("a", "b")}
        for ns, things in kept.items():
            assert self.world.digests(ns) == things.blobs
            assert self.world.names(ns) == things.snapshots
        assert self.world.stored() == kept["a"].blobs | kept["b"].blobs
        assert len(list(self.world.driver.ids())) == len(kept["a"].snapshots) + len(kept["b"].snapshots)

    @invariant()
    def nothing_kept_is_missing(self) -> None:
        if hasattr(self, "world"):
            for ns in ("a", "b"):
                things = self._kept(ns)
                assert self.world.digests(ns) >= things.blobs
                assert self.world.names(ns) >= things.snapshots

    def _kept(self, ns: str) -> Things:
        kept = Things()
        for pull in self.pulls.values():
            if pull.ns == ns:
                kept = kept.plus(self._with_references(ns, pull.held))
        for (owner, _), image in self.images.items():
            if owner == ns:
                kept = kept.plus(image.all)
        for (owner, _), (key, image) in self.containers.items():
            if owner == ns:
                kept = kept.plus(image.all).plus(Things(snapshots=frozenset({key})))
        return kept

    def _with_references(self, ns: str, held: Things) -> Things:
        """A pull that found a snapshot holds those below it; its documents come last, when all else is held."""
        numbers = [int(name.removeprefix("chain-")) for name in held.snapshots]
        return held.plus(Things(snapshots=frozenset(f"chain-{n}" for n in range(max(numbers, default=-1) + 1))))


TestPulls = Pulls.TestCase
TestPulls.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
