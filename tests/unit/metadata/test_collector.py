"""Garbage collection on the real stores: what is kept, by what, and what goes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corten_shared import digest as digests
from cortend.core.gc import Node
from cortend.core.metadata import Collected
from cortend.metadata.db import Database
from cortend.metadata.graph import Graph
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


def test_what_is_kept_between_the_marks_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image is tagged after the first mark found its content dead."""
    digest, other = world.put("a", b"manifest"), world.put("a", b"other")
    real = Graph.dead

    def dead(graph: Graph) -> list[Node]:
        found = real(graph)
        monkeypatch.undo()
        world.tag("a", "image", digest)
        return found

    monkeypatch.setattr(Graph, "dead", dead)
    assert world.collector.collect().blobs == 1
    assert world.digests("a") == {digest}
    assert other not in world.stored()


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
