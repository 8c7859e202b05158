"""Marking and labels, without any store."""

from __future__ import annotations

import pytest

from corten_shared.errors import InvalidArgument
from cortend.core.gc import (
    Node,
    back_references,
    container_references,
    expired,
    mark,
    references,
    resource_kind,
    snapshot_kind,
)
from cortend.core.graph import LEASED, PARENT, TARGET, Graph, Hold


def blob(name: str) -> Node:
    return Node("ns", "content", name)


def test_labels_refer_to_content_and_snapshots() -> None:
    labels = {
        "gc.ref.content": "1",
        "gc.ref.content.config": "2",
        "gc.ref.content/l.0": "3",
        "gc.ref.snapshot.overlayfs": "4",
        "gc.ref.snapshot.native/top": "5",
        "gc.ref.snapshot.native.x.y": "6",
        "gc.ref.image": "7",
        "containerd.io/gc.ref.content.l.1": "8",
        "containerd.io/gc.ref.snapshot.overlayfs": "9",
        "gc.ref.contents": "no",
        "gc.ref.snapshot.": "no",
        "gc.root": "no",
        "other": "no",
        "example.com/gc.ref.content": "no",
    }
    assert [found.target for found in references("ns", labels)] == [
        blob("1"),
        blob("2"),
        blob("3"),
        Node("ns", "snapshots/overlayfs", "4"),
        Node("ns", "snapshots/native", "5"),
        Node("ns", "snapshots/native", "6"),
        Node("ns", "images", "7"),
        blob("8"),
        Node("ns", "snapshots/overlayfs", "9"),
    ]
    assert list(back_references("ns", labels)) == []
    assert snapshot_kind("native") == "snapshots/native"


def test_labels_refer_back() -> None:
    labels = {
        "containerd.io/gc.bref.container": "1",
        "gc.bref.image.x": "2",
        "gc.bref.content": "3",
        "gc.bref.snapshot.native": "4",
        "gc.bref.volume": "no",
    }
    assert [found.target for found in back_references("ns", labels)] == [
        Node("ns", "containers", "1"),
        Node("ns", "images", "2"),
        blob("3"),
        Node("ns", "snapshots/native", "4"),
    ]
    assert list(references("ns", labels)) == []


def test_a_containers_labels_count_in_containerds_spelling_only() -> None:
    labels = {"gc.ref.content": "short", "containerd.io/gc.ref.content": "full"}
    assert [found.target for found in container_references("ns", labels)] == [blob("full")]


def test_a_lease_holds_what_it_can_hold() -> None:
    assert [resource_kind(kind) for kind in ("content", "ingests", "ingest", "images", "snapshots/x")] == [
        "content", "ingest", "ingest", "images", "snapshots/x",
    ]  # fmt: skip
    for wrong in ("", "snapshots/", "snapshot", "tasks"):
        with pytest.raises(InvalidArgument):
            resource_kind(wrong)


def test_a_lease_expires_at_its_time_and_never_without_a_readable_one() -> None:
    at = {"gc.expire": "1970-01-01T00:00:10Z"}
    second = 1_000_000_000
    assert not expired(at, 10 * second - 1)
    assert expired(at, 10 * second)
    assert not expired({}, 10 * second)
    assert not expired({"gc.expire": "soon"}, 10 * second)
    assert expired({"containerd.io/gc.expire": "1970-01-01T00:00:10Z"}, 10 * second)


def test_mark_reaches_everything_and_ends_on_cycles() -> None:
    edges = {
        blob("a"): [blob("b"), blob("c")],
        blob("b"): [blob("a")],
        blob("c"): [blob("gone")],
        blob("x"): [blob("a")],
    }
    reached = mark([blob("a")], lambda node: edges.get(node, ()))
    assert reached == {blob("a"), blob("b"), blob("c"), blob("gone")}
    assert mark([], lambda node: ()) == set()


IMAGE, LEASE = Node("ns", "images", "busybox"), Node("ns", "leases", "pull")
TOP, BASE = Node("ns", "snapshots/native", "top"), Node("ns", "snapshots/native", "base")


def picture() -> Graph:
    """An image of a manifest and two layers' snapshots, and a lease that holds the manifest until 5."""
    graph = Graph()
    graph.objects = {blob("manifest"), blob("config"), blob("loose"), TOP, BASE}
    graph.roots = {IMAGE: None, LEASE: 5}
    graph.hold(IMAGE, blob("manifest"), TARGET)
    graph.hold(LEASE, blob("manifest"), LEASED)
    graph.hold(blob("manifest"), blob("config"), "gc.ref.content.config")
    graph.hold(blob("config"), TOP, "gc.ref.snapshot.native")
    graph.hold_parent(TOP, BASE)
    return graph


def test_the_dead_are_what_no_root_reaches_children_first() -> None:
    graph = picture()
    assert graph.dead() == [blob("loose")]
    assert graph.dead(without={IMAGE}) == [blob("loose")]
    assert graph.dead(without={IMAGE, LEASE}) == [blob("config"), blob("loose"), blob("manifest"), TOP, BASE]


def test_why_gives_a_chain_from_every_root_the_shortest_first() -> None:
    graph = picture()
    rest = [
        Hold(blob("manifest"), blob("config"), "gc.ref.content.config"),
        Hold(blob("config"), TOP, "gc.ref.snapshot.native"),
        Hold(TOP, BASE, PARENT),
    ]
    chains = graph.chains(BASE)
    assert chains == [
        [Hold(IMAGE, blob("manifest"), TARGET), *rest],
        [Hold(LEASE, blob("manifest"), LEASED), *rest],
    ]
    assert [graph.until(chain, BASE) for chain in chains] == [None, 5]
    assert graph.chains(IMAGE) == [[]]
    assert graph.chains(blob("loose")) == []


def test_a_flat_lease_keeps_an_object_and_its_parents_and_says_so() -> None:
    graph = Graph()
    graph.objects = {TOP, BASE, blob("manifest"), blob("config")}
    graph.hold_parent(TOP, BASE)
    graph.hold(blob("manifest"), blob("config"), "gc.ref.content")
    graph.flat = {TOP: {LEASE: 7}, blob("manifest"): {LEASE: 7}}
    assert graph.dead() == [blob("config")]
    assert graph.dead(without={LEASE}) == [blob("config"), blob("manifest"), TOP, BASE]
    [chain] = graph.chains(BASE)
    assert chain == [Hold(LEASE, TOP, LEASED), Hold(TOP, BASE, PARENT)]
    assert graph.until(chain, BASE) == 7
    assert graph.chains(blob("config")) == []


def test_what_is_referred_to_anew_is_spared_with_all_it_reaches() -> None:
    graph = picture()
    graph.roots.clear()
    alive = graph.alive()
    graph.spared([blob("config")], alive)
    assert graph.in_order(graph.objects - alive) == [blob("loose"), blob("manifest")]
