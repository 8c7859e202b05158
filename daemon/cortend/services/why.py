"""What keeps an object alive, by the collector's own graph; and, if nothing does, when it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from corten_shared.errors import InvalidArgument, NotFound
from corten_shared.models.container import ContainerRecord
from corten_shared.models.image import ImageRecord
from corten_shared.models.volume import VolumeRecord
from corten_shared.models.why import Chain, Link, Why
from cortend.core import gc
from cortend.core.gc import Node
from cortend.core.graph import Graph, Graphs, Hold
from cortend.core.metadata import Metadata, Transaction
from cortend.core.volumes import VolumeStore
from cortend.core.workers import Workers
from cortend.services.image_names import by_name
from cortend.services.keepers import VOLUME, Names

_CHAINS = 20
"""How many chains an answer has at most: a base layer may have thousands."""
_LEAST_PREFIX = 4
"""Digits of a digest that are enough to name one."""

Answers = list[Why]


class WhyService:
    """Answers `why`."""

    def __init__(
        self,
        *,
        metadata: Metadata,
        graphs: Graphs,
        volumes: VolumeStore,
        workers: Workers,
        next_run: Callable[[], int],
    ) -> None:
        self._metadata = metadata
        self._graphs = graphs
        self._volumes = volumes
        self._workers = workers
        self._next_run = next_run

    async def why(self, ns: str, text: str, kind: str = "") -> Answers:
        """Why whatever is called `text` is there: one answer for each kind of object that is (or for `kind` alone).

        A name is that of a container, an image, a volume, a lease or a snapshot; a digest, or at least four digits of
        one, a blob's, a snapshot's or a container's. Raises NotFound; InvalidArgument when digits fit several.
        """
        next_run = self._next_run()
        return await self._workers.run_slow(self._why, ns, text, kind, next_run)

    def _why(self, ns: str, text: str, kind: str, next_run: int) -> Answers:
        with self._metadata.view() as tx:
            tx.namespaces.get(ns)  # before it becomes part of a path
        volumes = self._volumes.list(ns)
        graph = self._graphs.graph()
        with self._metadata.view() as tx:
            answer = _Answer(tx, ns, graph, volumes, next_run)
            found = [node for node in _resolve(tx, ns, graph, volumes, text) if kind in ("", *_kinds(node))]
            if not found:
                raise NotFound(
                    f"nothing is called {text[:200]}" + (f" among the {kind}" if kind else f" in namespace {ns}"),
                    hint="give a name, an id, a snapshot's key, or a digest (its first digits do)",
                    subject=text[:200],
                )
            return [answer.of(node) for node in found]


def _kinds(node: Node) -> tuple[str, ...]:
    """What a client may call its kind: `snapshots` means those of any snapshotter."""
    return (node.kind, "snapshots") if node.kind.startswith(gc.SNAPSHOT) else (node.kind,)


class _Answer:
    """Answers about objects of one state."""

    def __init__(
        self, tx: Transaction, ns: str, graph: Graph, volumes: Sequence[VolumeRecord], next_run: int
    ) -> None:
        self._names = Names(tx)
        self._graph = graph
        self._next_run = next_run
        self._volumes = {volume.name: volume for volume in volumes}
        self._containers = tx.containers.list(ns)

    def of(self, node: Node) -> Why:
        """Why `node` is there."""
        if node.kind == VOLUME:
            return self._of_volume(node)
        chains = self._graph.chains(node)
        ends = [self._graph.until(chain, node) for chain in chains]
        shown = [
            self._chain(node, chain, end) for chain, end in zip(chains[:_CHAINS], ends[:_CHAINS], strict=True)
        ]
        return Why(
            namespace=node.ns,
            object=self._names.link(node),
            kept=bool(chains),
            chains=shown,
            more=len(chains) - len(shown),
            users=self._users(node),
            goes_at=_goes_at(ends, self._next_run),
        )

    def _chain(self, node: Node, chain: list[Hold], end: int | None) -> Chain:
        if not chain:
            return Chain(links=[self._names.link(node)], expires=end)
        links = [self._names.link(chain[0].holder), *(self._names.link(hold.held, hold) for hold in chain)]
        return Chain(links=links, expires=end)

    def _users(self, node: Node) -> list[Link]:
        """Containers that use what is kept for itself: an image's name."""
        if node.kind != gc.IMAGE:
            return []
        return [self._link(one) for one in self._containers if one.image_name == node.id]

    def _of_volume(self, node: Node) -> Why:
        """A volume is nobody's garbage: containers use it, and otherwise it stays until somebody removes it."""
        volume = self._volumes[node.id]
        link = Link(kind=VOLUME, id=node.id, role="anonymous" if volume.anonymous else "")
        chains = [
            Chain(links=[self._link(one), link.model_copy(update={"role": f"mounted on {mount.target}"})])
            for one in self._containers
            for mount in one.spec.mounts
            if mount.type == "volume" and mount.source == node.id
        ]
        own = [Chain(links=[link])]
        return Why(namespace=node.ns, object=link, kept=True, chains=chains[:_CHAINS] or own)

    @staticmethod
    def _link(container: ContainerRecord) -> Link:
        return Link(kind=gc.CONTAINER, id=container.id, name=container.name)


def _goes_at(ends: Sequence[int | None], next_run: int) -> int | None:
    """When the last of the chains has ended; the next collection where there is none."""
    known = [end for end in ends if end is not None]
    return None if len(known) < len(ends) else max([next_run, *known])


# -- names ----------------------------------------------------------------------------------------------------------


def _resolve(
    tx: Transaction, ns: str, graph: Graph, volumes: Sequence[VolumeRecord], text: str
) -> list[Node]:
    """Every object that is called so; those whose digest only begins so, when nothing is."""
    exact = list(_exact(tx, ns, graph, volumes, text))
    return exact or _by_prefix(tx, ns, graph, text)


def _exact(
    tx: Transaction, ns: str, graph: Graph, volumes: Iterable[VolumeRecord], text: str
) -> Iterator[Node]:
    for container in tx.containers.list(ns):
        if text.removeprefix("/") in (container.id, container.name):
            yield Node(ns, gc.CONTAINER, container.id)
    if (image := _image(tx.images.list(ns), text)) is not None:
        yield Node(ns, gc.IMAGE, image.name)
    if any(volume.name == text for volume in volumes):
        yield Node(ns, VOLUME, text)
    if any(lease.id == text for lease in tx.leases.list(ns)):
        yield Node(ns, gc.LEASE, text)
    digest = f"sha256:{text}" if len(text) == 64 and ":" not in text else text
    yield from sorted(node for node in graph.objects if node.ns == ns and _named(node, text, digest))


def _image(images: Sequence[ImageRecord], text: str) -> ImageRecord | None:
    return next((image for image in images if image.name == text), None) or by_name(images, text)


def _named(node: Node, text: str, digest: str) -> bool:
    if node.kind == gc.CONTENT:
        return node.id == digest
    return node.kind.startswith(gc.SNAPSHOT) and node.id in (text, digest)


def _by_prefix(tx: Transaction, ns: str, graph: Graph, text: str) -> list[Node]:
    digits = text.removeprefix("sha256:")
    if len(digits) < _LEAST_PREFIX or not set(digits) <= set("0123456789abcdef"):
        return []
    found = [
        Node(ns, gc.CONTAINER, one.id) for one in tx.containers.list(ns) if not text.startswith("sha256:")
        and one.id.startswith(digits)
    ]  # fmt: skip
    found += [
        node for node in graph.objects
        if node.ns == ns and node.id.startswith(f"sha256:{digits}") and node.kind not in (gc.IMAGE, gc.LEASE)
    ]  # fmt: skip
    kinds = {node.kind for node in found}
    if len(found) > len(kinds):
        listed = ", ".join(sorted(node.id[:24] for node in found)[:5])
        raise InvalidArgument(f"{text} fits {len(found)} objects: {listed}", hint="give more digits", subject=text)
    return sorted(found)
