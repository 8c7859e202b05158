"""Names for the nodes of a graph: what people call an object, and what it is to the one that holds it."""

from __future__ import annotations

from corten_shared.errors import InvalidArgument
from corten_shared.models.why import Link
from corten_shared.reference import parse_normalized
from cortend.core import gc
from cortend.core.gc import Node
from cortend.core.graph import LEASED, PARENT, TARGET, Hold
from cortend.core.metadata import Transaction
from cortend.services.image_names import DANGLING

VOLUME = "volumes"


class Names:
    """Looks names up in one transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._containers: dict[str, dict[str, str]] = {}

    def link(self, node: Node, hold: Hold | None = None) -> Link:
        """The node for people; `hold` is what ties it to its holder."""
        return Link(kind=node.kind, id=node.id, name=self.name(node), role=_role(hold) if hold else "")

    def name(self, node: Node) -> str:
        """What people call it; empty where that is its id."""
        if node.kind == gc.IMAGE:
            return familiar(node.id)
        if node.kind == gc.CONTAINER:
            if node.ns not in self._containers:
                self._containers[node.ns] = {one.id: one.name for one in self._tx.containers.list(node.ns)}
            return self._containers[node.ns].get(node.id, "")
        return ""


def familiar(name: str) -> str:
    """`busybox:latest` for an image's full name; a dangling image has none."""
    if name.startswith(DANGLING):
        return ""
    try:
        return parse_normalized(name).familiar
    except InvalidArgument:
        return name


def _role(hold: Hold) -> str:
    if hold.how == PARENT:
        return "parent"
    if hold.how == LEASED:
        return ""
    if hold.how == TARGET:
        return "manifest" if hold.held.kind == gc.CONTENT else "root file system"
    if hold.how.startswith("gc.bref."):
        return "refers back"
    return _of_label(hold.how)


def _of_label(label: str) -> str:
    """`config` for `gc.ref.content.config`, `layer 3` for `….l.3`, `manifest` for `….m.0`."""
    words = label.replace("/", ".").split(".")[2:]
    match words:
        case ["content", "config"]:
            return "config"
        case ["content", "l", number]:
            return f"layer {number}"
        case ["content", "m", _]:
            return "manifest"
        case ["snapshot", *_]:
            return "unpacked"
        case _:
            return ".".join(words)
