"""Where blobs came from: the repositories that have one, told by its labels as containerd writes them.

    containerd.io/distribution.source.<registry> = library/busybox,team/app

A push has the registry mount such a blob from one of them instead of sending it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from corten_shared.errors import InvalidArgument, NotFound
from corten_shared.reference import Reference, parse_name
from cortend.core.content import ContentStore

PREFIX = "containerd.io/distribution.source."
MOST = 12
"""Repositories remembered for a blob, per registry: the newest. More would not fit in a label."""


def remember(content: ContentStore, ns: str, reference: Reference, blobs: Iterable[str]) -> None:
    """Note that the reference's repository has these blobs. One transaction, none when all of it is known."""
    key = PREFIX + reference.domain
    changes: dict[str, dict[str, str | None]] = {}
    for digest in blobs:
        try:
            known = _repositories(content.info(ns, digest).labels, reference.domain)
        except NotFound:
            continue
        if reference.path not in known:
            changes[digest] = {key: ",".join([*known, reference.path][-MOST:])}
    if changes:
        content.update_many(ns, changes)


def candidates(labels: Mapping[str, str], target: Reference) -> list[str]:
    """Repositories of the target's registry that may have the blob with these labels, nearest to the target first."""
    wanted = target.path.split("/")

    def distance(path: str) -> int:
        parts = path.split("/")
        return -sum(a == b for a, b in zip(parts, wanted, strict=False))

    return sorted((path for path in _repositories(labels, target.domain) if path != target.path), key=distance)


def origins(labels: Mapping[str, str]) -> list[Reference]:
    """Every repository that the labels name, the newest first."""
    return [
        Reference(key.removeprefix(PREFIX), path)
        for key in labels
        if key.startswith(PREFIX)
        for path in reversed(_repositories(labels, key.removeprefix(PREFIX)))
    ]


def _repositories(labels: Mapping[str, str], domain: str) -> list[str]:
    """What the label says, as far as it names repositories: anybody may write labels, and these go into requests."""
    return [path for path in labels.get(PREFIX + domain, "").split(",")[-MOST:] if path and _is_path(domain, path)]


def _is_path(domain: str, path: str) -> bool:
    try:
        return parse_name(f"{domain}/{path}") == Reference(domain, path)
    except InvalidArgument:
        return False
