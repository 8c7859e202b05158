"""The graph against a plain fixpoint, on graphs of any shape."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from cortend.core.gc import Node
from cortend.core.graph import Graph

NODES = [Node("ns", kind, str(number)) for kind in ("content", "snapshots/x", "images") for number in range(5)]
SNAPSHOTS = [node for node in NODES if node.kind == "snapshots/x"]
LEASE = Node("ns", "leases", "l")
node = st.sampled_from(NODES)
edges = st.lists(st.tuples(node, node), max_size=25)
parents = st.dictionaries(st.integers(1, 4), st.integers(0, 3), max_size=4)


def build(
    roots: list[Node], holds: list[tuple[Node, Node]], flat: list[Node], parents: dict[int, int]
) -> Graph:
    graph = Graph()
    graph.objects = {node for node in NODES if node.kind != "images"}
    graph.roots = dict.fromkeys(roots)
    graph.flat = {node: {LEASE: None} for node in flat}
    for holder, held in holds:
        graph.hold(holder, held, "label")
    for child, parent in parents.items():
        if parent < child:
            graph.hold_parent(SNAPSHOTS[child], SNAPSHOTS[parent])
    return graph


def naive(graph: Graph, gone: frozenset[Node] = frozenset()) -> set[Node]:
    """What is kept, by going round until nothing changes."""
    alive = set(graph.roots) - gone
    while more := {
        held for holder in alive for held in graph.edges.get(holder, ()) if held not in alive and held not in gone
    }:
        alive |= more
    flat = set(graph.flat) - gone
    while more := {graph.parents[node] for node in flat if node in graph.parents} - flat - gone:
        flat |= more
    return alive | flat


graphs = st.builds(build, st.lists(node, max_size=4), edges, st.lists(node, max_size=2), parents)


@given(graphs, st.sets(node, max_size=4))
def test_what_is_kept_is_what_a_fixpoint_says(graph: Graph, gone: set[Node]) -> None:
    assert graph.alive() == naive(graph)
    assert graph.alive(without=gone) == naive(graph, frozenset(gone))


@given(graphs)
def test_why_knows_a_chain_exactly_for_what_is_kept_and_every_link_holds(graph: Graph) -> None:
    alive = graph.alive()
    for one in NODES:
        chains = graph.chains(one)
        assert bool(chains) == (one in alive)
        for chain in chains:
            if not chain:
                assert one in graph.roots
                continue
            assert chain[-1].held == one
            assert all(before.held == after.holder for before, after in itertools.pairwise(chain))
            flat = chain[0].holder == LEASE
            assert flat or chain[0].holder in graph.roots
            assert all(link.held in graph.edges[link.holder] for link in chain[1 if flat else 0 :])


@given(graphs, st.lists(node, max_size=3), edges)
@settings(max_examples=300)
def test_whatever_is_kept_after_new_holds_was_spared(
    graph: Graph, roots: list[Node], holds: list[tuple[Node, Node]]
) -> None:
    """The barrier's claim: only what new holds point to, and what old ones reach from there, can come to life."""
    spared = graph.alive()
    graph.spared([*roots, *(held for _, held in holds)], spared)
    for root in roots:
        graph.roots[root] = None
    for holder, held in holds:
        graph.hold(holder, held, "label")
    assert naive(graph) <= spared


@given(graphs)
def test_children_go_before_their_parents(graph: Graph) -> None:
    order = graph.in_order(graph.objects)
    for child, parent in graph.parents.items():
        assert order.index(child) < order.index(parent)
