"""`container prune`, `image prune` and `volume prune`."""

from __future__ import annotations

import sys

from corten.command import Command
from corten.docker.listing import encode_filters, filter_flag
from corten.docker.native import PLAN, plan
from corten.flags import Flag
from corten.output import err, escape, human_size, out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from corten.docker.session import Session
    from corten.flags import Options

_FORCE = Flag("force", "bool", "Do not prompt for confirmation", short="f")


def _confirmed(options: Options, warning: str) -> bool:
    """Ask, unless told not to; docker's words."""
    if options["force"]:
        return True
    out(f"WARNING! {warning}\nAre you sure you want to continue? [y/N] ", end="")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    err("operation cancelled")
    return False


def _filters(texts: Iterable[str]) -> dict[str, list[str]]:
    """`--filter` as the native API has it."""
    found: dict[str, list[str]] = {}
    for text in texts:
        key, _, value = text.partition("=")
        if key.endswith("!"):
            value = value.removeprefix("=")
        found.setdefault(key.strip().lower(), []).append(value.strip())
    return found


def _prune(session: Session, path: str, filters: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = session.engine.call("POST", path, {"filters": encode_filters(filters)}) or {}
    return found


def _report(title: str, lines: list[str], freed: int) -> int:
    if lines:
        out(title)
        out("".join(f"{escape(line)}\n" for line in lines))
    out(f"Total reclaimed space: {human_size(freed)}")
    return 0


def _run_containers(session: Session, options: Options) -> int:
    if options["plan"]:
        return plan(session, "containers.prune", filters=_filters(options["filter"]))
    if not _confirmed(options, "This will remove all stopped containers."):
        return 1
    done = _prune(session, "/containers/prune", options["filter"])
    return _report("Deleted Containers:", done.get("ContainersDeleted") or [], done.get("SpaceReclaimed") or 0)


def _run_images(session: Session, options: Options) -> int:
    everything = options["all"]
    if options["plan"]:
        return plan(session, "images.prune", all=bool(everything), filters=_filters(options["filter"]))
    what = "images without at least one container associated to them" if everything else "dangling images"
    if not _confirmed(options, f"This will remove all {what}."):
        return 1
    done = _prune(session, "/images/prune", [*options["filter"], f"dangling={'false' if everything else 'true'}"])
    lines = [f"{word.lower()}: {entry[word]}" for entry in done.get("ImagesDeleted") or [] for word in entry]
    return _report("Deleted Images:", lines, done.get("SpaceReclaimed") or 0)


def _run_volumes(session: Session, options: Options) -> int:
    everything = options["all"]
    if options["plan"]:
        return plan(session, "volumes.prune", all=bool(everything), filters=_filters(options["filter"]))
    what = "all local volumes" if everything else "anonymous local volumes"
    if not _confirmed(options, f"This will remove {what} not used by at least one container."):
        return 1
    done = _prune(session, "/volumes/prune", [*options["filter"], *(["all=true"] if everything else [])])
    return _report("Deleted Volumes:", done.get("VolumesDeleted") or [], done.get("SpaceReclaimed") or 0)


CONTAINER_PRUNE = Command("Remove all stopped containers", _run_containers, flags=[filter_flag(), _FORCE, PLAN])
IMAGE_PRUNE = Command(
    "Remove unused images",
    _run_images,
    flags=[
        Flag("all", "bool", "Remove all unused images, not just dangling ones", short="a"), filter_flag(), _FORCE, PLAN,
    ],
)  # fmt: skip
VOLUME_PRUNE = Command(
    "Remove unused local volumes",
    _run_volumes,
    flags=[
        Flag("all", "bool", "Remove all unused volumes, not just anonymous ones", short="a"),
        filter_flag(), _FORCE, PLAN,
    ],
)  # fmt: skip
