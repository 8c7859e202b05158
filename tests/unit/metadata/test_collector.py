"""Garbage collection on the real stores: what is kept, by what, and what goes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from corten_shared import digest as digests
from corten_shared.errors import NotFound
from corten_shared.models.lease import Lease
from cortend.core.graph import Graph
from cortend.core.metadata import Collected
from cortend.metadata.collector import BATCH
from cortend.metadata.db import Database
from cortend.metadata.transaction import StoreTransaction
from suites.store_world import HOUR, World, refs

NOTHING = Collected(0, 0, 0, 0, 0)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world


def test_what_nothing_keeps_goes_with_its_bytes(world: World) -> None:
    world.put("a", b"12345")
    world.layer("a", "lower")
    world.layer("a", "upper", "lower")
    world.snapshotter.view("a", "view", "upper")
    assert world.collector.collect() == Collected(blobs=1, snapshots=3, leases=0, ingests=0, bytes_freed=5)
    assert (world.stored(), world.names("a"), list(world.driver.ids())) == (set(), set(), [])
    assert world.collector.collect() == NOTHING


def test_an_image_keeps_its_content_and_its_layers(world: World) -> None:
    layer = world.put("a", b"layer")
    world.layer("a", "lower")
    world.layer("a", "upper", "lower")
    config = world.put("a", b"config", refs(snapshot="upper"))
    manifest = world.put("a", b"manifest", refs([config, layer]))
    index = world.put("a", b"index", refs([manifest]))
    world.tag("a", "image", index)
    assert world.collector.collect() == NOTHING
    world.untag("a", "image")
    assert world.collector.collect()[:2] == (4, 2)


def test_labels_of_an_image_keep_what_they_name(world: World) -> None:
    extra = world.put("a", b"extra")
    world.tag("a", "image", digests.of(b"gone"))
    with world.database.update() as tx:
        tx.images.update("a", "image", {"gc.ref.content.extra": extra})
    assert world.collector.collect() == NOTHING


def test_a_container_keeps_its_snapshot_and_its_image(world: World) -> None:
    config = world.put("a", b"config")
    manifest = world.put("a", b"manifest", refs([config]))
    world.layer("a", "base")
    world.snapshotter.prepare("a", "rw", "base")
    world.container("a", "c", "rw", manifest)
    world.put("a", b"containers' labels hold nothing")
    assert world.collector.collect().blobs == 1
    assert (world.digests("a"), world.names("a")) == ({config, manifest}, {"base", "rw"})
    with world.database.update() as tx:
        tx.containers.delete("a", "c")
    assert world.collector.collect()[:2] == (2, 2)


def test_a_lease_keeps_what_it_holds_until_it_ends(world: World) -> None:
    lease = world.lease("a", "pull")
    config = world.put("a", b"config")
    world.put("a", b"manifest", refs([config]), lease)
    world.snapshotter.prepare("a", "unpacking", lease=lease)
    assert world.collector.collect() == NOTHING
    world.unlease("a", lease)
    assert world.collector.collect()[:2] == (2, 1)


def test_a_flat_lease_keeps_only_what_it_names_and_parents(world: World) -> None:
    lease = world.lease("a", "flat", flat=True)
    config = world.put("a", b"config")
    manifest = world.put("a", b"manifest", refs([config]), lease)
    world.layer("a", "lower")
    world.layer("a", "upper", "lower", lease)
    assert world.collector.collect()[:2] == (1, 0)
    assert (world.digests("a"), world.names("a")) == ({manifest}, {"lower", "upper"})


def test_what_is_leased_flat_and_kept_otherwise_keeps_its_references(world: World) -> None:
    lease = world.lease("a", "flat", flat=True)
    config = world.put("a", b"config")
    manifest = world.put("a", b"manifest", refs([config]), lease)
    world.tag("a", "image", manifest)
    assert world.collector.collect() == NOTHING


def test_a_lease_ends_at_its_time(world: World) -> None:
    world.put("a", b"leased", lease=world.lease("a", "l", hours=1))
    world.time += HOUR - 1
    assert world.collector.collect() == NOTHING
    world.time += 1
    assert world.collector.collect() == Collected(1, 0, 1, 0, 6)
    with world.database.view() as tx:
        assert tx.leases.list("a") == []


def test_an_expired_lease_is_dropped_though_it_holds_nothing(world: World) -> None:
    world.lease("a", "l", hours=1)
    world.time += 2 * HOUR
    assert world.collector.collect() == Collected(0, 0, 1, 0, 0)


def test_labelled_roots_stay(world: World) -> None:
    config = world.put("a", b"config")
    world.put("a", b"root", {"gc.root": "", **refs([config])})
    world.layer("a", "kept")
    world.snapshotter.update("a", "kept", {"gc.root": "mine"})
    assert world.collector.collect() == NOTHING


def test_what_one_namespace_keeps_says_nothing_about_another(world: World) -> None:
    digest = world.put("a", b"shared")
    world.content.adopt("b", digest)
    world.tag("a", "image", digest)
    assert world.collector.collect() == NOTHING
    assert (world.digests("a"), world.digests("b")) == ({digest}, set())
    assert world.stored() == {digest}


def test_files_and_directories_without_a_row_are_freed(world: World) -> None:
    with world.blobs.writer("crash") as writer:
        writer.write(b"orphan")
        writer.commit()
    world.driver.path(99).mkdir()
    assert world.collector.collect() == Collected(1, 1, 0, 0, 6)


def test_an_ingest_is_kept_by_a_lease_or_for_a_day(world: World, tmp_path: Path) -> None:
    lease = world.lease("a", "pull")
    for ref, holder in (("leased", lease), ("old", None), ("young", None), ("active", None)):
        with world.content.writer("a", ref, lease=holder) as writer:
            writer.write(b"x")
    active = world.content.writer("a", "active")
    for directory in (tmp_path / "content/ingest").iterdir():
        age = 23 if b"young" in (directory / "ingest.json").read_bytes() else 24
        os.utime(directory / "data", ns=(0, world.time - age * HOUR))
    with active:
        assert world.collector.collect().ingests == 1
    assert [status.ref for status in world.content.statuses("a")] == ["active", "leased", "young"]
    world.unlease("a", lease)
    assert world.collector.collect().ingests == 2


@pytest.mark.parametrize("moment", ["alive", "in_order"])
def test_what_is_kept_after_the_mark_stays(
    world: World, monkeypatch: pytest.MonkeyPatch, moment: Literal["alive", "in_order"]
) -> None:
    """An image is tagged when its manifest was found dead: before the barrier, and behind it."""
    config = world.put("a", b"config")
    manifest, other = world.put("a", b"manifest", refs([config])), world.put("a", b"other")
    before(monkeypatch, moment, lambda: world.tag("a", "image", manifest))
    assert world.collector.collect().blobs == 1
    assert world.digests("a") == {manifest, config}
    assert other not in world.stored()


def test_what_a_flat_lease_kept_and_a_name_keeps_now_keeps_its_references(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.put("a", b"config")
    manifest = world.put("a", b"manifest", refs([config]), world.lease("a", "flat", flat=True))
    world.put("a", b"other")
    before(monkeypatch, "in_order", lambda: world.tag("a", "image", manifest))
    assert world.collector.collect().blobs == 1
    assert world.digests("a") == {manifest, config}


NEW_HOLDS: dict[str, Callable[[World, str, str], object]] = {
    "lease": lambda world, blob, layer: world.hold("a", world.lease("a", "l"), content=blob, snapshot=layer),
    "container": lambda world, blob, layer: world.container("a", "c", layer, blob),
    "labelled content": lambda world, blob, layer: world.put("a", b"r", {"gc.root": "", **refs([blob], layer)}),
    "root labels": lambda world, blob, layer: (
        world.content.update("a", blob, {"containerd.io/gc.root": "x"}),
        world.snapshotter.update("a", layer, {"gc.root": "x"}),
    ),
    "image labels": lambda world, blob, layer: world.tag("a", "i", digests.of(b"none"), refs([blob], layer)),
    "labelled lease": lambda world, blob, layer: world.lease("a", "l", labels=refs([blob], layer)),
    "back references": lambda world, blob, layer: (
        world.tag("a", "i", digests.of(b"none")),
        world.content.update("a", blob, {"gc.bref.image": "i"}),
        world.snapshotter.update("a", layer, {"gc.bref.image": "i"}),
    ),
    "children": lambda world, blob, layer: (
        world.layer("a", "child", layer, world.lease("a", "l")),
        world.hold("a", "l", content=blob),
    ),
}


@pytest.mark.parametrize("how", NEW_HOLDS)
def test_whatever_begins_to_hold_after_the_mark_is_seen(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    config = world.put("a", b"config")
    manifest = world.put("a", b"manifest", refs([config]))
    world.layer("a", "base")
    world.layer("a", "top", "base")
    world.put("a", b"other")
    before(monkeypatch, "in_order", lambda: NEW_HOLDS[how](world, manifest, "top"))
    assert world.collector.collect().snapshots == 0
    assert world.digests("a") >= {manifest, config}
    assert world.names("a") >= {"base", "top"}
    assert digests.of(b"other") not in world.stored()


def before(monkeypatch: pytest.MonkeyPatch, moment: str, action: Callable[[], object]) -> None:
    """Have `action` happen once, right before Graph's method `moment` is called."""
    real = getattr(Graph, moment)

    def hooked(graph: Graph, *args: Any, **kwargs: Any) -> Any:
        monkeypatch.undo()
        found = real(graph, *args, **kwargs)
        action()
        return found

    monkeypatch.setattr(Graph, moment, hooked)


def test_a_name_with_an_end_goes_and_takes_its_content_along(world: World) -> None:
    manifest = world.put("a", b"manifest")
    world.tag("a", "image", manifest, {"containerd.io/gc.expire": world.in_hours(1)})
    world.tag("a", "held", manifest, {"gc.expire": world.in_hours(1)})
    world.put("a", b"holder", {"gc.root": "", "gc.ref.image": "held"})
    assert world.collector.collect() == NOTHING
    world.time += HOUR
    assert world.collector.collect().images == 1
    with world.database.view() as tx:
        assert [image.name for image in tx.images.list("a")] == ["held"]
        assert tx.events.list()[-1].topic == "/images/delete"
    assert manifest in world.digests("a")


def test_content_and_snapshots_with_an_end_are_kept_until_then(world: World) -> None:
    config = world.put("a", b"config")
    world.put("a", b"brief", {"gc.expire": world.in_hours(1), **refs([config])})
    world.layer("a", "brief")
    world.snapshotter.update("a", "brief", {"containerd.io/gc.expire": world.in_hours(1)})
    world.put("a", b"unreadable", {"gc.expire": "soon"})
    assert world.collector.collect()[:2] == (1, 0)
    world.time += HOUR
    assert world.collector.collect()[:2] == (2, 1)


def test_back_references_tie_an_object_to_another_life(world: World) -> None:
    world.layer("a", "rw")
    world.container("a", "c", "rw")
    world.put("a", b"of the container", {"containerd.io/gc.bref.container": "c"})
    world.put("a", b"of the snapshot", {"gc.bref.snapshot.directories": "rw"})
    world.put("a", b"of nobody", {"gc.bref.container": "other"})
    assert world.collector.collect().blobs == 1
    with world.database.update() as tx:
        tx.containers.delete("a", "c")
    assert world.collector.collect()[:2] == (2, 1)


def test_an_expired_lease_takes_nothing_more(world: World) -> None:
    lease = world.lease("a", "l", hours=1)
    world.time += HOUR
    with pytest.raises(NotFound, match="No such lease"):
        world.hold("a", lease, content=world.put("a", b"late"))


def test_no_transaction_of_a_collection_is_long(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the rows go, a few at a time: in processor time, which does not depend on who else is busy."""
    fill(world, blobs=10_000, chains=500, depth=10)
    spent: list[float] = []
    real = world.database.update

    @contextmanager
    def update() -> Iterator[StoreTransaction]:
        with real() as tx:
            begun = time.thread_time()
            yield tx
            spent.append(time.thread_time() - begun)

    monkeypatch.setattr(world.database, "update", update)
    world.collector.collect()
    monkeypatch.undo()
    assert rows(world) == [5_000, 2_500]
    assert len(spent) > 5
    assert max(spent) < 5 * BATCH, sorted(spent)[-5:]


@pytest.mark.soak
def test_others_write_while_a_hundred_thousand_rows_are_collected(world: World) -> None:
    fill(world, blobs=70_000, chains=3_000, depth=10)
    waits: list[float] = []
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            begun = time.monotonic()
            with world.database.update() as tx:
                tx.namespaces.ensure("busy")
            waits.append(time.monotonic() - begun)
            done.wait(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        world.collector.collect()
    finally:
        done.set()
        writer.join()
    assert rows(world) == [35_000, 15_000]
    waits.sort()
    slow = waits[int(len(waits) * 0.99)]
    print(f"{len(waits)} writes: 99 % within {slow * 1000:.0f} ms, all within {waits[-1] * 1000:.0f} ms")
    assert slow < 0.05


def rows(world: World) -> list[int]:
    """How many blobs and snapshots there are."""
    with world.database.view() as tx:
        return [tx.session.one(f"SELECT count(*) FROM {table}")[0] for table in ("content", "snapshots")]


def fill(world: World, *, blobs: int, chains: int, depth: int) -> None:
    """Rows without files: blobs and chains of snapshots, every other one of which a lease holds."""
    with world.database.update() as tx:
        tx.namespaces.ensure("a")
        tx.leases.create("a", Lease(id="l", created_at=0))
        session = tx.session
        for number in range(blobs):
            digest = digests.of(str(number).encode())
            session.execute("INSERT INTO content VALUES ('a', ?, 1, '{}', 0, 0)", (digest,))
            if number % 2:
                session.execute("INSERT INTO lease_resources VALUES ('a', 'l', 'content', ?)", (digest,))
        for number in range(chains * depth):
            parent = number if number % depth else None
            name = f"s{number}"
            session.execute(
                "INSERT INTO snapshots VALUES ('directories', ?, 'a', ?, ?, 'committed', '{}', 0, 0, 0, 0, '')",
                (number + 1, name, parent),
            )
            if number // depth % 2 and number % depth == depth - 1:
                session.execute(
                    "INSERT INTO lease_resources VALUES ('a', 'l', 'snapshots/directories', ?)", (name,)
                )


def test_an_idle_collection_writes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.tag("a", "image", world.put("a", b"manifest"))

    def refuse(database: Database) -> None:
        raise AssertionError("a write transaction though nothing is dead")

    monkeypatch.setattr(Database, "update", refuse)
    assert world.collector.collect() == NOTHING


def test_collections_never_break_pulls_that_run(world: World) -> None:
    """Threads pull and remove overlapping images while another collects without a pause."""
    done = threading.Event()
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    def pull(worker: int, turn: int) -> None:
        lease = world.lease("a", f"pull-{worker}-{turn}")
        layers = [world.put("a", f"layer {number}".encode(), lease=lease) for number in range(turn % 3 + 1)]
        top = ""
        for number in range(len(layers)):
            top = world.layer("a", f"chain-{number}", top, lease)
        config = world.put("a", f"config {len(layers)}".encode(), refs(snapshot=top), lease)
        manifest = world.put("a", f"manifest {len(layers)}".encode(), refs([config, *layers]), lease)
        world.tag("a", f"image-{worker}", manifest)
        world.unlease("a", lease)
        for digest in (manifest, config, *layers):
            world.content.read("a", digest, 100)
        assert world.snapshotter.stat("a", top)
        world.untag("a", f"image-{worker}")

    def pulls(worker: int) -> None:
        for turn in range(12):
            pull(worker, turn)

    def collect() -> None:
        while not done.is_set():
            world.collector.collect()

    workers = [threading.Thread(target=guarded, args=(lambda n=n: pulls(n),)) for n in range(3)]
    sweeper = threading.Thread(target=guarded, args=(collect,))
    for thread in (sweeper, *workers):
        thread.start()
    for thread in workers:
        thread.join()
    done.set()
    sweeper.join()
    assert failures == []
    world.collector.collect()
    assert (world.stored(), world.names("a"), list(world.driver.ids())) == (set(), set(), [])
