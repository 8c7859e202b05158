"""Letting go of content that an image needs no more once it is unpacked."""

from __future__ import annotations

import re

from corten_shared.models.content import ReferencesPruned
from cortend.core.content import ContentStore

_LAYER = re.compile(r"(?:containerd\.io/)?gc\.ref\.content[./]l\.\d+\Z")
"""The labels by which a manifest keeps its layers."""


def prune_references(content: ContentStore, ns: str, dry: bool) -> list[ReferencesPruned]:
    """Take the labels that keep layers from every manifest of the namespace, or only say which; blocks."""
    found = []
    for blob in content.walk(ns):
        labels = {key: value for key, value in blob.labels.items() if _LAYER.match(key)}
        if labels:
            found.append(ReferencesPruned(digest=blob.digest, labels=labels))
            if not dry:
                content.update(ns, blob.digest, dict.fromkeys(labels))
    return found
