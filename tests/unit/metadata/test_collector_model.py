"""Pulls, tags, commits, removals, leases, adoptions and collections in any order, against a model of what must stay.

The model knows what keeps what from the operations themselves, not from labels or rows; after a collection the stores
hold exactly that: nothing referenced is gone, nothing unreferenced is left. Operations also happen in the middle of a
collection: between its look and its barrier, and behind that. The stores are the real ones, over plain directories and
over the native driver's.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from corten_shared import digest as digests
from cortend.core.graph import Graph
from cortend.snapshots.native import NativeDriver
from suites.directory_driver import DirectoryDriver
from suites.store_world import HOUR, World

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
    own: int = 0
    """The number of a commit, for an image whose topmost layer nobody else has."""

    def layer(self, number: int) -> bytes:
        """The bytes of a layer."""
        return f"layer {number}".encode()

    @property
    def config(self) -> bytes:
        """The bytes of the configuration."""
        return f"config {self.layers} {self.own}".encode()

    @property
    def manifest(self) -> bytes:
        """The bytes of the manifest."""
        return f"manifest {self.layers} {self.own}".encode()

    @property
    def top(self) -> str:
        """The name of the topmost snapshot."""
        return f"commit-{self.own}" if self.own else self.below

    @property
    def below(self) -> str:
        """The name of the topmost snapshot that is shared."""
        return f"chain-{self.layers - 1}"

    @property
    def committed(self) -> bytes:
        """The bytes of a commit's layer."""
        return f"commit {self.own}".encode()

    @property
    def blobs(self) -> list[bytes]:
        """The bytes of all layers."""
        return [*(self.layer(number) for number in range(self.layers)), *([self.committed] if self.own else [])]

    @property
    def all(self) -> Things:
        """Everything it consists of."""
        data = [self.manifest, self.config, *self.blobs]
        return Things(frozenset(map(digests.of, data)), self.snapshots)

    @property
    def snapshots(self) -> frozenset[str]:
        """The names of its snapshots."""
        return frozenset({self.top, *(f"chain-{number}" for number in range(self.layers))})


class Pull:
    """A pull under way: what its lease holds, and the next of its steps."""

    def __init__(self, ns: str, image: Image, expires: int | None, adopts: bool) -> None:
        self.ns = ns
        self.image = image
        self.adopts = adopts
        self.expires = expires
        self.step = 0
        self.held = Things()


class Pulls(RuleBasedStateMachine):
    """The operations; `step` of a pull is one commit, so that collections fall between any two."""

    driver: type[DirectoryDriver] | type[NativeDriver] = DirectoryDriver

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp())
        self.world = World(self.root, driver=self.driver)
        self.pulls: dict[str, Pull] = {}
        self.images: dict[tuple[str, str], Image] = {}
        self.ends: dict[tuple[str, str], int] = {}
        self.containers: dict[tuple[str, str], tuple[str, Image]] = {}
        self.flat: dict[str, tuple[str, Things]] = {}
        self.tied: list[tuple[str, str, str, str]] = []
        self.counter = 0

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.database.close()
            shutil.rmtree(self.root)

    @rule(ns=NAMESPACES, layers=SIZES, hours=st.sampled_from([None, 1, 5]), adopts=st.booleans())
    def start_pull(self, ns: str, layers: int, hours: int | None, adopts: bool) -> None:
        self.counter += 1
        lease = self.world.lease(ns, f"pull-{self.counter}", hours=hours)
        expires = None if hours is None else self.world.time + hours * HOUR
        self.pulls[lease] = Pull(ns, Image(layers), expires, adopts)

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
            return Things(frozenset({self._blob(pull, image.layer(number), lease)}))
        parent = f"chain-{number - 1}" if number else ""
        return Things(snapshots=frozenset({world.layer(pull.ns, f"chain-{number}", parent, lease)}))

    def _blob(self, pull: Pull, data: bytes, lease: str) -> str:
        """A blob, adopted where that is how the pull does it and another namespace has it."""
        digest = digests.of(data)
        if pull.adopts and self.world.content.adopt(pull.ns, digest, lease=lease):
            return digest
        return self.world.put(pull.ns, data, lease=lease)

    def _step_documents(self, lease: str, pull: Pull) -> Things:
        image = pull.image
        if pull.step % 2 == 0:
            labels = self.world.refs(snapshot=image.top)
            return Things(frozenset({self.world.put(pull.ns, image.config, labels, lease)}))
        blobs = [digests.of(image.config), *(digests.of(image.layer(number)) for number in range(image.layers))]
        return Things(frozenset({self.world.put(pull.ns, image.manifest, self.world.refs(blobs), lease)}))

    def _finish(self, lease: str, name: str) -> None:
        pull = self.pulls.pop(lease)
        self.world.tag(pull.ns, name, digests.of(pull.image.manifest))
        self.world.unlease(pull.ns, lease)
        self._named(pull.ns, name, pull.image)

    def _named(self, ns: str, name: str, image: Image, end: int | None = None) -> None:
        self.images[ns, name] = image
        self.ends.pop((ns, name), None)
        if end is not None:
            self.ends[ns, name] = end

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
        self.ends.pop((ns, name), None)
        self.world.untag(ns, name)

    @precondition(lambda self: self.images)
    @rule(data=st.data(), name=NAMES, hours=st.sampled_from([None, None, 2]))
    def tag(self, data: st.DataObject, name: str, hours: int | None) -> None:
        """A further name, or one that moves; some have an end."""
        ns, old = data.draw(st.sampled_from(sorted(self.images)))
        image = self.images[ns, old]
        labels = {} if hours is None else {"containerd.io/gc.expire": self.world.in_hours(hours)}
        self.world.tag(ns, name, digests.of(image.manifest), labels)
        self._named(ns, name, image, None if hours is None else self.world.time + hours * HOUR)

    @precondition(lambda self: self.containers)
    @rule(data=st.data(), name=NAMES)
    def commit_container(self, data: st.DataObject, name: str) -> None:
        """A container's image with one more layer, all of it under a lease until it has a name."""
        ns, container = data.draw(st.sampled_from(sorted(self.containers)))
        world = self.world
        self.counter += 1
        image = Image(self.containers[ns, container][1].layers, self.counter)
        lease = world.lease(ns, f"commit-{self.counter}")
        world.put(ns, image.committed, lease=lease)
        world.layer(ns, image.top, image.below, lease)
        world.put(ns, image.config, world.refs(snapshot=image.top), lease)
        # the layers below are the container's image's: its manifest keeps them until this one does
        blobs = [digests.of(data) for data in (image.config, *image.blobs)]
        world.put(ns, image.manifest, world.refs(blobs), lease)
        world.tag(ns, name, digests.of(image.manifest))
        world.unlease(ns, lease)
        self._named(ns, name, image)

    @precondition(lambda self: self.images)
    @rule(data=st.data(), what=st.sampled_from(["manifest", "snapshot"]))
    def hold_flat(self, data: st.DataObject, what: str) -> None:
        """A lease on an object alone: a manifest without its layers, a snapshot with those below it."""
        ns, name = data.draw(st.sampled_from(sorted(self.images)))
        image = self.images[ns, name]
        self.counter += 1
        lease = self.world.lease(ns, f"flat-{self.counter}", flat=True)
        if what == "manifest":
            self.world.hold(ns, lease, content=digests.of(image.manifest))
            self.flat[lease] = ns, Things(frozenset({digests.of(image.manifest)}))
        else:
            self.world.hold(ns, lease, snapshot=image.top)
            self.flat[lease] = ns, Things(snapshots=image.snapshots)

    @precondition(lambda self: self.flat)
    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(sorted(self.flat)))
        ns, _ = self.flat.pop(lease)
        self.world.unlease(ns, lease)

    @rule(data=st.data(), ns=NAMESPACES, kind=st.sampled_from(["image", "container"]))
    def tie(self, data: st.DataObject, ns: str, kind: str) -> None:
        """A blob that refers back: it lives as long as a name, or a container, which may come later."""
        self.counter += 1
        target = data.draw(NAMES) if kind == "image" else f"container-{data.draw(st.integers(1, self.counter + 1))}"
        digest = self.world.put(ns, f"tied {self.counter}".encode(), {f"containerd.io/gc.bref.{kind}": target})
        self.tied.append((ns, digest, kind, target))

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
        for key in [key for key, end in self.ends.items() if end <= self.world.time]:
            del self.ends[key]
            self.images.pop(key, None)
        for lease, pull in list(self.pulls.items()):
            if pull.expires is not None and pull.expires <= self.world.time:
                del self.pulls[lease]

    @rule()
    def restart(self) -> None:
        time = self.world.time
        self.world.database.close()
        self.world = World(self.root, driver=self.driver)
        self.world.time = time

    @rule(data=st.data(), moment=st.sampled_from(["alive", "in_order"]), count=st.integers(1, 4))
    def collect_meanwhile(self, data: st.DataObject, moment: str, count: int) -> None:
        """A collection in the middle of which other things happen: there may be garbage then, but nothing misses."""
        real = getattr(Graph, moment)

        def hooked(graph: Graph, *args: Any, **given: Any) -> Any:
            setattr(Graph, moment, real)
            found = real(graph, *args, **given)
            for _ in range(count):
                self._something(data)
            return found

        setattr(Graph, moment, hooked)
        try:
            self.world.collector.collect()
        finally:
            setattr(Graph, moment, real)
        self._forget_tied()

    def _something(self, data: st.DataObject) -> None:
        choices = [lambda: self.start_pull(data.draw(NAMESPACES), data.draw(SIZES), None, data.draw(st.booleans()))]
        if self.pulls:
            choices += [lambda: self.go_on(data, data.draw(st.integers(1, 9)))] * 3
        if self.images:
            choices += [
                lambda: self.tag(data, data.draw(NAMES), None),
                lambda: self.remove_image(data),
                lambda: self.create_container(data),
                lambda: self.hold_flat(data, "snapshot"),
            ]
        if self.containers:
            choices += [lambda: self.remove_container(data), lambda: self.commit_container(data, data.draw(NAMES))]
        data.draw(st.sampled_from(choices))()

    @rule()
    def collect(self) -> None:
        self.world.collector.collect()
        self._forget_tied()
        kept = {ns: self._kept(ns) for ns in ("a", "b")}
        for ns, things in kept.items():
            assert self.world.digests(ns) == things.blobs
            assert self.world.names(ns) == things.snapshots
        assert self.world.stored() == kept["a"].blobs | kept["b"].blobs
        assert len(list(self.world.driver.ids())) == len(kept["a"].snapshots) + len(kept["b"].snapshots)

    def _forget_tied(self) -> None:
        """What was collected does not come back with the name that it refers to."""
        self.tied = [one for one in self.tied if one[1] in self.world.digests(one[0])]

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
        for owner, things in self.flat.values():
            if owner == ns:
                kept = kept.plus(things)
        tied = {digest for owner, digest, kind, target in self.tied if owner == ns and self._is_there(ns, kind, target)}
        return kept.plus(Things(frozenset(tied)))

    def _is_there(self, ns: str, kind: str, target: str) -> bool:
        return (ns, target) in (self.images if kind == "image" else self.containers)

    def _with_references(self, ns: str, held: Things) -> Things:
        """A pull that found a snapshot holds those below it; its documents come last, when all else is held."""
        numbers = [int(name.removeprefix("chain-")) for name in held.snapshots]
        return held.plus(Things(snapshots=frozenset(f"chain-{n}" for n in range(max(numbers, default=-1) + 1))))


class NativePulls(Pulls):
    """The same over the driver that copies."""

    driver = NativeDriver


class SoakedPulls(Pulls):
    """The same, much longer."""


TestPulls = Pulls.TestCase
TestNativePulls = NativePulls.TestCase
TestSoakedPulls = pytest.mark.soak(pytest.mark.timeout(1800)(SoakedPulls.TestCase))
TestPulls.settings = settings(
    max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestNativePulls.settings = settings(TestPulls.settings, max_examples=5)
SoakedPulls.TestCase.settings = settings(TestPulls.settings, max_examples=400, stateful_step_count=60)
