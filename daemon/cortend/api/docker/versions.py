"""API versions: which are served, and how answers differ between them.

Handlers make the answer of the advertised version. `adapt` then changes it for the version that the request asked
for; every difference is a line of `SHIMS`, so that no handler knows a version number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from corten_shared.errors import InvalidArgument

Version = tuple[int, int]

ADVERTISED: Version = (1, 51)
"""What a client is told to speak: the last version before 1.52 took many members away."""
OLDEST: Version = (1, 24)
NEWEST: Version = (1, 55)
"""The highest version accepted in a path."""


def text(version: Version) -> str:
    """`1.51`."""
    return f"{version[0]}.{version[1]}"


def parse(digits: str) -> Version:
    """The version in a path (what follows `/v`); raises InvalidArgument in docker's words when it is not served."""
    major, _, minor = digits[:32].partition(".")
    version = (_number(major), _number(minor.partition(".")[0]))
    if version < OLDEST:
        raise InvalidArgument(
            f"client version {digits[:32]} is too old. Minimum supported API version is {text(OLDEST)}, "
            "please upgrade your client to a newer version"
        )
    if version > NEWEST:
        raise InvalidArgument(
            f"client version {digits[:32]} is too new. Maximum supported API version is {text(NEWEST)}"
        )
    return version


def _number(digits: str) -> int:
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 9 else 0


class Shim(NamedTuple):
    """A change of one kind of answer for versions from `since` (inclusive) to `below` (exclusive)."""

    shape: str
    since: Version
    below: Version
    change: Callable[[dict[str, Any]], None]


def adapt(shape: str, version: Version, body: dict[str, Any]) -> dict[str, Any]:
    """`body`, an answer of kind `shape`, as `version` has it; changed in place and returned."""
    for shim in _BY_SHAPE.get(shape, ()):
        if shim.since <= version < shim.below:
            shim.change(body)
    return body


def raw_stream_type(version: Version, *, tty: bool) -> str:
    """The content type of a hijacked or log stream: framed streams have a name of their own since 1.42."""
    if tty or version < (1, 42):
        return "application/vnd.docker.raw-stream"
    return "application/vnd.docker.multiplexed-stream"


def events_type(version: Version) -> str:
    """The content type of the event stream where the client asks for none."""
    return "application/jsonl" if version >= (1, 52) else "application/json"


_LEGACY_ADDRESSES = (
    "Bridge", "HairpinMode", "LinkLocalIPv6Address", "LinkLocalIPv6PrefixLen", "SecondaryIPAddresses",
    "SecondaryIPv6Addresses", "EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress",
    "IPPrefixLen", "IPv6Gateway", "MacAddress",
)  # fmt: skip

_EMPTY_CONFIG: dict[str, Any] = {
    "Env": None, "Cmd": None, "Volumes": None, "WorkingDir": "", "Entrypoint": None, "OnBuild": None, "Labels": None,
    "User": "",
}  # fmt: skip
_LEGACY_CONFIG: dict[str, Any] = {
    "Hostname": "", "Domainname": "", "AttachStdin": False, "AttachStdout": False, "AttachStderr": False, "Tty": False,
    "OpenStdin": False, "StdinOnce": False, "Image": "",
}  # fmt: skip


def _virtual_size(body: dict[str, Any]) -> None:
    body["VirtualSize"] = body["Size"]


def _none_names(body: dict[str, Any]) -> None:
    if not body["RepoTags"] and not body["RepoDigests"]:
        body["RepoTags"] = ["<none>:<none>"]
        body["RepoDigests"] = ["<none>@<none>"]


def _image_container(body: dict[str, Any]) -> None:
    body["Container"] = ""
    body["ContainerConfig"] = {**_LEGACY_CONFIG, **_EMPTY_CONFIG}


def _image_full_config(body: dict[str, Any]) -> None:
    if body.get("Config") is not None:
        body["Config"] = {**_LEGACY_CONFIG, **_EMPTY_CONFIG, **body["Config"]}


def _image_trim(body: dict[str, Any]) -> None:
    for key in ("Parent", "Comment", "DockerVersion", "Author", "Variant", "OsVersion", "Container", "GraphDriver"):
        body.pop(key, None)


def _inspect_addresses(body: dict[str, Any]) -> None:
    for key in _LEGACY_ADDRESSES:
        body["NetworkSettings"].pop(key, None)


def _inspect_storage(body: dict[str, Any]) -> None:
    driver = body.pop("GraphDriver", None) or {}
    body["Storage"] = {"RootFS": {"Snapshot": {"Name": driver.get("Name", "")}}}


def _inspect_dns_names(body: dict[str, Any]) -> None:
    for endpoint in body["NetworkSettings"]["Networks"].values():
        endpoint.pop("DNSNames", None)


def _summary_annotations(body: dict[str, Any]) -> None:
    body["HostConfig"].pop("Annotations", None)


def _event_legacy(body: dict[str, Any]) -> None:
    actor = body["Actor"]
    if body["Type"] in ("container", "image"):
        body["status"], body["id"] = body["Action"], actor["ID"]
        if body["Type"] == "container":
            body["from"] = actor["Attributes"].get("image", "")


def _info_containerd(body: dict[str, Any]) -> None:
    body.pop("Containerd", None)


FIRST: Version = (0, 0)
LAST: Version = (999, 0)

SHIMS = (
    Shim("image.summary", FIRST, (1, 43), _none_names),
    Shim("image.summary", FIRST, (1, 44), _virtual_size),
    Shim("image.inspect", FIRST, (1, 44), _virtual_size),
    Shim("image.inspect", FIRST, (1, 45), _image_container),
    Shim("image.inspect", FIRST, (1, 50), _image_full_config),
    Shim("image.inspect", (1, 52), LAST, _image_trim),
    Shim("container.inspect", FIRST, (1, 44), _inspect_dns_names),
    Shim("container.inspect", (1, 52), LAST, _inspect_addresses),
    Shim("container.inspect", (1, 52), LAST, _inspect_storage),
    Shim("container.summary", FIRST, (1, 46), _summary_annotations),
    Shim("event", FIRST, (1, 52), _event_legacy),
    Shim("info", FIRST, (1, 46), _info_containerd),
)
"""Every difference, in the order in which they are made (engine API changelog, by version)."""

HIDDEN_EVENTS = {("image", "create"): (1, 46)}
"""Events that a client below the version is not told of."""


def shows_event(version: Version, kind: str, action: str) -> bool:
    """Whether clients of `version` see this event."""
    return version >= HIDDEN_EVENTS.get((kind, action), FIRST)


_BY_SHAPE: dict[str, tuple[Shim, ...]] = {
    shape: tuple(shim for shim in SHIMS if shim.shape == shape) for shape in {shim.shape for shim in SHIMS}
}


def prunes_named_volumes(version: Version) -> bool:
    """Whether `volume prune` takes named volumes too without being told to, as it did before 1.42."""
    return version < (1, 42)
