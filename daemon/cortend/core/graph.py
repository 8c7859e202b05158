"""What holds what, as one consistent state: the collector's, and the one that answers `why` and `--plan`.

Nothing here asks a store: `metadata.graph` fills a Graph, and everything else is asked of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from cortend.core import gc
from cortend.core.gc import Node

PARENT = "parent"
TARGET = "target"
LEASED = "resource"
"""Names of holds that are no label: a snapshot's parent; what an image or container is made of; a lease's object."""

_NOBODY: Mapping[Node, str] = {}


class Hold(NamedTuple):
    """One link of a chain: `holder` keeps `held`; `how` is the label, or one of the words above."""

    holder: Node
    held: Node
    how: str


class Graph:
    """Every collectable object, what it needs, and what is kept for itself.

    objects     what a collection removes unless something keeps it
    edges       holder -> {held: how}
    roots       what is kept for itself -> until when (ns since the epoch; None: for good)
    flat        what flat leases hold -> {lease: until when}: with its parents, without its references
    parents     snapshot -> its parent
    expired     leases and names of images whose time is over (these are among `objects`)
    """

    def __init__(self) -> None:
        self.objects: set[Node] = set()
        self.edges: dict[Node, dict[Node, str]] = {}
        self.roots: dict[Node, int | None] = {}
        self.flat: dict[Node, dict[Node, int | None]] = {}
        self.parents: dict[Node, Node] = {}
        self.expired: set[Node] = set()

    # -- filling ----------------------------------------------------------------------------------------------------

    def hold(self, holder: Node, held: Node, how: str) -> None:
        """`holder` keeps `held`."""
        self.edges.setdefault(holder, {}).setdefault(held, how)

    def hold_parent(self, child: Node, parent: Node) -> None:
        """A snapshot keeps its parent."""
        self.parents[child] = parent
        self.edges.setdefault(child, {})[parent] = PARENT

    def ends(self) -> Iterator[int]:
        """When roots and leases expire (ns since the epoch)."""
        yield from (end for end in self.roots.values() if end is not None)

    # -- the collector's question -----------------------------------------------------------------------------------

    def alive(self, *, without: Collection[Node] = (), breathe: Callable[[], None] | None = None) -> set[Node]:
        """What is kept, were the objects `without` not there."""
        gone = frozenset(without)
        roots = [node for node in self.roots if node not in gone]
        alive = gc.mark(roots, lambda node: self._needs(node, gone), breathe=breathe)
        flat = [node for node, leases in self.flat.items() if node not in gone and not leases.keys() <= gone]
        self._mark_flat(flat, gone, alive)
        return alive

    def _needs(self, node: Node, gone: frozenset[Node]) -> Iterable[Node]:
        needed = self.edges.get(node, _NOBODY)
        return [one for one in needed if one not in gone] if gone else needed

    def _mark_flat(self, nodes: Iterable[Node], gone: frozenset[Node], alive: set[Node]) -> None:
        """A snapshot cannot be without its parent, so even a flat lease holds that."""
        for node in nodes:
            current: Node | None = node
            while current is not None and current not in gone and current not in alive:
                alive.add(current)
                current = self.parents.get(current)

    def dead(self, *, without: Collection[Node] = (), breathe: Callable[[], None] | None = None) -> list[Node]:
        """What nothing keeps, children before their parents; of `without`, what is not an object is left out."""
        return self.in_order(self.objects - self.alive(without=without, breathe=breathe))

    def in_order(self, nodes: Iterable[Node]) -> list[Node]:
        """Leases and images first, then content, then snapshots with children before their parents."""
        depths: dict[Node, int] = {}
        rank = {gc.LEASE: 0, gc.IMAGE: 1, gc.CONTENT: 2}
        return sorted(nodes, key=lambda node: (rank.get(node.kind, 3), -self._depth(node, depths), node))

    def _depth(self, node: Node, known: dict[Node, int]) -> int:
        line = [node]
        while line[-1] not in known and (parent := self.parents.get(line[-1])) is not None:
            line.append(parent)
        depth = known.setdefault(line.pop(), 0)
        for one in reversed(line):
            depth = known[one] = depth + 1
        return depth

    def spared(self, touched: Iterable[Node], alive: set[Node]) -> None:
        """Add to `alive` what became kept after this state: all that `touched`, what new holds point to, reaches.

        Whatever is kept now and was not then is reached from a new hold by old ones, which are known here.
        """
        # From scratch: what a flat lease keeps is in `alive` already, but not what that refers to.
        alive |= gc.mark(touched, lambda node: self._needs(node, frozenset()))

    # -- why --------------------------------------------------------------------------------------------------------

    def holders(self) -> dict[Node, list[Hold]]:
        """What keeps each object, directly."""
        found: dict[Node, list[Hold]] = {}
        for holder, needed in self.edges.items():
            for held, how in needed.items():
                found.setdefault(held, []).append(Hold(holder, held, how))
        return found

    def chains(self, node: Node) -> list[list[Hold]]:
        """One chain (the shortest) from each root to `node`, root first, shortest chains first; a root's own is empty.

        A flat lease's chain has the object it names and that one's parents only.
        """
        holders = self.holders()
        found: list[list[Hold]] = [[]] if node in self.roots else []
        found += _chains_from(self.roots, node, holders)
        # What a flat lease names is kept with its parents: chains to it may only go over those.
        parents = {held: [hold for hold in holds if hold.how == PARENT] for held, holds in holders.items()}
        for named in self.flat:
            below = [[]] if named == node else _chains_from({named: None}, node, parents)
            found += [[Hold(lease, named, LEASED), *rest] for rest in below for lease in self.flat[named]]
        return sorted(found, key=lambda chain: (len(chain), chain))

    def until(self, chain: list[Hold], node: Node) -> int | None:
        """When the chain ends by itself (its root expires); None when it does not."""
        if not chain:
            return self.roots[node]
        root = chain[0]
        if root.holder in self.roots:
            return self.roots[root.holder]
        return self.flat[root.held][root.holder]


class Graphs(Protocol):
    """Where a Graph comes from."""

    def graph(self) -> Graph:
        """The present state, read in one transaction; blocks, but no writer waits for it."""
        ...


def _chains_from(roots: Collection[Node], node: Node, holders: Mapping[Node, list[Hold]]) -> list[list[Hold]]:
    """The shortest chain to `node` from every one of `roots` that has one, without the empty one."""
    towards: dict[Node, Hold | None] = {node: None}
    pending = deque([node])
    found = []
    while pending:
        held = pending.popleft()
        if held in roots and held != node:
            found.append(_follow(held, towards))
        for hold in holders.get(held, ()):
            if hold.holder not in towards:
                towards[hold.holder] = hold
                pending.append(hold.holder)
    return found


def _follow(root: Node, towards: Mapping[Node, Hold | None]) -> list[Hold]:
    chain = []
    while (hold := towards[root]) is not None:
        chain.append(hold)
        root = hold.held
    return chain
