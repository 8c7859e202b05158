"""Container listings: docker's filters, rows and status texts."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from corten_shared.errors import CortenError, InvalidArgument, NotFound
from corten_shared.models.task import TaskRecord
from corten_shared.reference import parse_normalized
from cortend.api.docker.filters import Filters
from cortend.api.docker.ids import network_id
from cortend.api.docker.translate_inspect import endpoint_settings, mount_points
from cortend.api.docker.translate_ports import parse_port, port_list
from cortend.services.views import ContainerView

FILTERS = frozenset(
    [
        "ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name", "network",
        "publish", "since", "status", "volume",
    ]
)
_STATUSES = frozenset({"created", "restarting", "running", "removing", "paused", "exited", "dead"})
_HEALTH = frozenset({"none", "starting", "healthy", "unhealthy"})
_HEALTH_TEXTS = {"none": "", "starting": " (health: starting)", "healthy": " (healthy)", "unhealthy": " (unhealthy)"}

Predicate = Callable[[ContainerView], bool]


def implies_all(filters: Filters) -> bool:
    """Whether a filter asks for containers that do not run, so that `all` is meant."""
    return "status" in filters


def matcher(filters: Filters, views: Iterable[ContainerView]) -> Predicate:
    """A test of the listing's filters; `views` are all containers, among which `before` and `since` name one."""
    if not filters:
        return lambda view: True
    _check(filters)
    exited = filters.integers("exited")
    bounds = _bounds(filters, views)
    ancestors = [_ancestor(text) for text in filters.get("ancestor")]
    published = _ports(filters, "publish")
    exposed = _ports(filters, "expose")

    def accept(view: ContainerView) -> bool:
        record = view.record
        return (
            filters.search("id", (record.id,))
            and filters.search("name", (record.name, f"/{record.name}"))
            and filters.labels(record.labels)
            and filters.exact("status", (view.status,))
            and ("exited" not in filters or _exited_with(view, exited))
            and (not ancestors or any(is_one(view) for is_one in ancestors))
            and bounds[0] < record.created_at < bounds[1]
            and ("volume" not in filters or _uses_volume(view, filters))
            and filters.prefix("network", (record.spec.network.mode, network_id(record.spec.network.mode)))
            and (not published or bool(published & _published(view)))
            and (not exposed or bool(exposed & _exposed(view)))
            and filters.exact("health", (view.health,))
            and filters.flag("is-task") is not True
        )

    return accept


def _check(filters: Filters) -> None:
    for key, known in (("status", _STATUSES), ("health", _HEALTH)):
        for value in filters.get(key):
            if value not in known:
                raise InvalidArgument(f"invalid filter '{key}={value[:40]}'")


def _bounds(filters: Filters, views: Iterable[ContainerView]) -> tuple[int, float]:
    since = [_find(views, ref).record.created_at for ref in filters.get("since")]
    before = [_find(views, ref).record.created_at for ref in filters.get("before")]
    return max(since, default=-1), min(before, default=float("inf"))


def _find(views: Iterable[ContainerView], ref: str) -> ContainerView:
    name = ref.removeprefix("/")
    for view in views:
        if view.record.name == name or (ref and view.record.id.startswith(ref)):
            return view
    raise NotFound(f"No such container: {ref[:80]}")


def _exited_with(view: ContainerView, codes: frozenset[int]) -> bool:
    return view.status == "exited" and view.task is not None and view.task.exit_code in codes


def _ancestor(text: str) -> Predicate:
    """The image by id, prefix of an id, or name."""
    digits = text.removeprefix("sha256:")
    is_id = re.fullmatch(r"[0-9a-f]{4,64}", digits) is not None
    try:
        name = str(parse_normalized(text))
    except CortenError:
        name = ""

    def is_one(view: ContainerView) -> bool:
        record = view.record
        by_id = is_id and record.image_id.removeprefix("sha256:").startswith(digits)
        return by_id or text == record.image or bool(name and name == record.image_name)

    return is_one


def _uses_volume(view: ContainerView, filters: Filters) -> bool:
    return any(filters.exact("volume", (mount.source, mount.target)) for mount in view.record.spec.mounts)


def _ports(filters: Filters, key: str) -> frozenset[tuple[int, str]]:
    return frozenset(
        (number, protocol) for text in filters.get(key) for ports, protocol in (parse_port(text),) for number in ports
    )


def _published(view: ContainerView) -> frozenset[tuple[int, str]]:
    ports = view.endpoint.ports if view.endpoint and view.running else view.record.spec.network.ports
    return frozenset((number, p.protocol) for p in ports for number in (p.container_port, p.host_port))


def _exposed(view: ContainerView) -> frozenset[tuple[int, str]]:
    return frozenset(
        (number, protocol)
        for text in view.record.spec.network.exposed
        for ports, protocol in (parse_port(text),)
        for number in ports
    )


def row(view: ContainerView, mountpoints: Mapping[str, str], now: float | None = None) -> dict[str, Any]:
    """One container of `GET /containers/json`."""
    record, spec = view.record, view.record.spec
    mode = spec.network.mode
    endpoint = view.endpoint if view.running else None
    return {
        "Id": record.id,
        "Names": [f"/{record.name}"],
        "Image": record.image,
        "ImageID": record.image_id,
        "ImageManifestDescriptor": None,
        "Command": command_text(spec.args),
        "Created": record.created_at // 1_000_000_000,
        "Ports": port_list(spec.network.exposed, endpoint.ports if endpoint else ()) if view.running else [],
        "Labels": record.labels,
        "State": view.status,
        "Status": status_text(view, now),
        "HostConfig": {"NetworkMode": mode, "Annotations": spec.annotations or None},
        "NetworkSettings": {"Networks": {} if mode.startswith("container:") else {mode: endpoint_settings(view)}},
        "Mounts": mount_points(record, mountpoints),
    }


def command_text(args: list[str]) -> str:
    """The command line as docker shows it: arguments with blanks in single quotes."""
    return " ".join(f"'{arg}'" if " " in arg else arg for arg in args)


def status_text(view: ContainerView, now: float | None = None) -> str:
    """`Up 5 minutes (Paused)`, `Exited (0) 3 seconds ago`, …"""
    now = time.time() if now is None else now
    task = view.task
    match view.status:
        case "running" if task:
            return f"Up {_since(task.started_at, now)}{_HEALTH_TEXTS[view.health]}"
        case "paused" if task:
            return f"Up {_since(task.started_at, now)} (Paused)"
        case "restarting" if task:
            return f"Restarting ({_code(task)}) {_since(task.finished_at, now)} ago"
        case "exited" if task:
            return f"Exited ({_code(task)}) {_since(task.finished_at, now)} ago"
        case "removing":
            return "Removal In Progress"
        case "dead":
            return "Dead"
        case _:
            return "Created"


def _code(task: TaskRecord) -> int:
    return task.exit_code or 0


def _since(time_ns: int, now: float) -> str:
    return human_duration(max(0.0, now - time_ns / 1e9))


def human_duration(seconds: float) -> str:
    """A span as docker says it (go-units HumanDuration)."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if (minutes := whole // 60) == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    for limit, divisor, unit in ((48, 1, "hours"), (336, 24, "days"), (1440, 168, "weeks"), (17520, 720, "months")):
        if hours < limit:
            return f"{hours // divisor} {unit}"
    return f"{whole // 3600 // 24 // 365} years"
