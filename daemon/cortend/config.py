"""The daemon's configuration: a tree of frozen models, every key with a default.

This module is the schema; `config_file` reads and prints TOML. A key's description is what `cortend config default`
prints above it. `LIVE` names the keys that a reload (SIGHUP) can change without a restart.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from cortend.core.limits import ImageLimits

_IMAGE = ImageLimits()

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "text", "json"]

LIVE = (
    "log.level",
    "pull.max_concurrent_downloads",
    "pull.max_download_attempts",
    "pull.connect_timeout",
    "pull.header_timeout",
    "pull.idle_timeout",
    "push",
    "registry",
    "registries",
    "image_verifier",
    "gc",
    "containers.stop_timeout",
)
"""Keys, or tables as a whole, that change in a running daemon; every other key needs a restart."""


def _absolute(path: object) -> Path:
    if not isinstance(path, str | Path) or not str(path).startswith("/") or "\0" in str(path):
        raise ValueError("must be an absolute path")
    return Path(path)


def _absolute_or_empty(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError("must be an absolute path, or empty")
    return text


def _interface(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,15}", text) or text in (".", ".."):
        raise ValueError("must be an interface name: 1 to 15 letters, digits, '_', '.' or '-'")
    return text


def _identifier(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,31}", text):
        raise ValueError("must be letters, digits and '_', beginning with a letter, at most 32")
    return text


def _subnet(text: str) -> str:
    if text:
        try:
            network = ipaddress.IPv4Network(text)
        except ValueError as error:
            raise ValueError(f"must be an IPv4 network like 10.88.0.0/16, or empty ({error})") from None
        if network.prefixlen > 29:
            raise ValueError("must have room for containers: a prefix of /29 or shorter")
    return text


def _address(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"must be IP addresses, not {text!r}") from None
    return text


AbsolutePath = Annotated[Path, BeforeValidator(_absolute)]
OptionalPath = Annotated[str, AfterValidator(_absolute_or_empty)]
Seconds = Annotated[float, Field(gt=0, le=7 * 86400)]
Interface = Annotated[str, AfterValidator(_interface)]
Identifier = Annotated[str, AfterValidator(_identifier)]
Subnet = Annotated[str, AfterValidator(_subnet)]
Addresses = Annotated[tuple[Annotated[str, AfterValidator(_address)], ...], Field(strict=False)]


class Section(BaseModel):
    """A table of the file: unknown keys and wrong types are refused, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)


class Api(Section):
    """The socket that clients talk to."""

    socket: AbsolutePath = Field(
        default=Path("/run/corten/corten.sock"),
        description="Where the API listens, unless systemd passes a socket.",
    )
    group: str = Field(
        default="corten", description="Group that may use the socket. Root only where it does not exist."
    )
    mode: str = Field(
        default="0660", pattern=r"^0?[0-7]{3}$", description="Permissions of the socket, octal."
    )
    stop_timeout: Seconds = Field(
        default=5.0, description="Seconds that running requests have to end when the daemon stops."
    )


class Log(Section):
    """The daemon's own log, on standard error."""

    level: LogLevel = Field(default="info", description="debug, info, warning or error.")
    format: LogFormat = Field(
        default="auto", description="text, json, or auto: text on a terminal, JSON otherwise."
    )


class PullLimits(Section):
    """What an image may ask for; a pull that exceeds any of it is refused."""

    document_size: int = Field(
        default=_IMAGE.document_size, ge=1 << 16, le=64 << 20, description="Bytes of a manifest, index or config."
    )
    index_depth: int = Field(
        default=_IMAGE.index_depth, ge=1, le=16, description="Indexes between a tag and its manifest."
    )
    layers: int = Field(default=_IMAGE.layers, ge=1, le=10_000, description="Layers of an image.")
    layer_size: int = Field(default=_IMAGE.layer_size, ge=1 << 20, description="Bytes of one unpacked layer.")
    layer_entries: int = Field(
        default=_IMAGE.layer_entries, ge=1000, description="Files, directories and links in one layer."
    )
    layer_ratio: int = Field(
        default=_IMAGE.layer_ratio, ge=10,
        description="How many times larger than its compressed form a layer of more than 1 GiB may be.",
    )  # fmt: skip


class Pull(Section):
    """Getting images from registries."""

    max_concurrent_downloads: int = Field(
        default=3, ge=1, le=64, description="Layers downloaded at once in one pull."
    )
    max_download_attempts: int = Field(
        default=5, ge=1, le=100, description="Attempts for each download before giving up."
    )
    connect_timeout: Seconds = Field(default=10.0, description="Seconds to connect to a registry.")
    header_timeout: Seconds = Field(default=30.0, description="Seconds until a registry begins to answer.")
    idle_timeout: Seconds = Field(
        default=60.0, description="Seconds without a byte after which a download is broken off."
    )
    limits: PullLimits = Field(default=PullLimits(), description=PullLimits.__doc__)


class Push(Section):
    """Sending images to registries. Time-outs are those of [pull]."""

    max_concurrent_uploads: int = Field(default=5, ge=1, le=64, description="Layers uploaded at once.")
    max_upload_attempts: int = Field(
        default=5, ge=1, le=100, description="Attempts for each layer before giving up."
    )
    chunk_size: int = Field(
        default=64 << 20,
        ge=0,
        le=1 << 40,
        description="Bytes sent in one request: larger layers go in several, each of which can be resumed. 0: never.",
    )


class RegistryHosts(Section):
    """Where registries, their mirrors and their certificates are described."""

    config_path: OptionalPath = Field(
        default="/etc/corten/certs.d",
        description="Directory of HOST/hosts.toml files in containerd's form, or of docker's certificate files. It is "
        "read anew for every pull. Empty: none.",
    )


class Registry(Section):
    """The short form, where no mirror is needed; a directory of the host's own below config_path refines it.
    Loopback registries are spoken to in plain HTTP without being named."""

    plain_http: bool = Field(default=False, description="Speak HTTP, not HTTPS.")
    insecure_skip_verify: bool = Field(default=False, description="Accept any certificate.")
    ca_file: OptionalPath = Field(default="", description="PEM file of CAs to trust besides the system's.")


class Verifier(Section):
    """Programs that judge an image before it is fetched, as containerd's bindir verifiers. Off by default."""

    bin_dir: OptionalPath = Field(
        default="", description="Directory of the programs: all must end with 0. Empty: nothing is verified."
    )
    max_verifiers: int = Field(
        default=10, ge=-1, description="How many are called, by name; the rest are not. -1: all."
    )
    per_verifier_timeout: Seconds = Field(
        default=10.0, description="Seconds after which one that has not ended is a refusal."
    )


class Snapshots(Section):
    """File systems of images and containers."""

    driver: Literal["overlayfs", "native", "erofs"] = Field(
        default="overlayfs", description="overlayfs, erofs (each layer one read-only image), or native (plain copies)."
    )


class OciRuntime(Section):
    """An OCI runtime."""

    path: OptionalPath = Field(
        default="", description="The binary; empty: found on PATH by the runtime's name."
    )


class Runtime(Section):
    """What runs containers."""

    default: str = Field(
        default="",
        description="Name of the default OCI runtime. Empty: the first that works, crun then runc.",
    )
    conmon: OptionalPath = Field(default="", description="The conmon binary; empty: found on PATH.")
    init: OptionalPath = Field(
        default="", description="The binary for `--init`; empty: docker-init, tini or catatonit from PATH."
    )
    cgroup_parent: str = Field(
        default="/corten", pattern=r"^/[^\s]*$", description="Cgroup under which containers' cgroups are."
    )
    runtimes: dict[str, OciRuntime] = Field(default={}, description="Further OCI runtimes by name.")


class Network(Section):
    """The default bridge network."""

    bridge: Interface = Field(default="corten0", description="The bridge's interface.")
    subnet: Subnet = Field(default="", description="Its IPv4 network; empty: a free one is chosen.")
    mtu: int = Field(
        default=1500, ge=68, le=65535, description="MTU of the bridge and of containers' interfaces."
    )
    nft_table: Identifier = Field(default="corten", description="The nftables table of our rules.")
    dns: Addresses = Field(default=(), description="Resolvers for containers; empty: the host's.")


class Containers(Section):
    """Defaults for containers."""

    stop_timeout: int = Field(
        default=10, ge=0, le=86400, description="Seconds between the stop signal and SIGKILL."
    )


class Logs(Section):
    """What containers write, for those that are made without `--log-driver` and `--log-opt`."""

    driver: Literal["json-file", "local", "journald", "syslog", "none"] = Field(
        default="json-file",
        description="Log driver. json-file and local are the same; journald and syslog get a copy.",
    )
    max_size: int = Field(
        default=10_000_000, ge=0, description="Bytes of one log file; then another is begun. 0: no limit."
    )
    max_files: int = Field(default=3, ge=1, le=1000, description="Log files kept of a container.")
    journal: AbsolutePath = Field(
        default=Path("/run/systemd/journal/socket"), description="journald's socket for native messages."
    )
    options: dict[str, str] = Field(
        default={}, description='Further options of the driver, as in options = {"syslog-address" = "udp://[::1]:514"}.'
    )


class Gc(Section):
    """Garbage collection of content and snapshots that nothing refers to (containerd's scheduler's settings)."""

    model_config = ConfigDict(populate_by_name=True)

    schedule_delay: Seconds = Field(
        default=1.0,
        validation_alias=AliasChoices("schedule_delay", "delay"),
        description="Seconds between a deletion and the collection it causes.",
    )
    startup_delay: Seconds = Field(default=0.1, description="Seconds before the first collection.")
    pause_threshold: float = Field(
        default=0.02, ge=0, le=0.5, description="Share of time that collections may keep writers waiting."
    )
    deletion_threshold: int = Field(
        default=0, ge=0, description="Deletions after which pause_threshold no longer matters; 0: it always does."
    )
    mutation_threshold: int = Field(
        default=100, ge=0, description="Writes to the database that cause a collection; 0: they cause none."
    )
    interval: Seconds = Field(default=3600.0, description="Seconds between collections that nothing causes.")


class Events(Section):
    """The journal of events."""

    max_entries: int = Field(default=10_000, ge=1, le=10_000_000, description="Events kept.")
    max_age: Seconds = Field(default=7 * 86400.0, description="Seconds that an event is kept.")


class Config(Section):
    """Everything. Paths that do not exist are made."""

    root: AbsolutePath = Field(
        default=Path("/var/lib/corten"),
        description="What must outlive a reboot: images, containers, volumes.",
    )
    state: AbsolutePath = Field(
        default=Path("/run/corten"), description="What a reboot may clear: sockets, bundles, exit codes."
    )
    api: Api = Field(default=Api(), description=Api.__doc__)
    log: Log = Field(default=Log(), description=Log.__doc__)
    pull: Pull = Field(default=Pull(), description=Pull.__doc__)
    push: Push = Field(default=Push(), description=Push.__doc__)
    registry: RegistryHosts = Field(default=RegistryHosts(), description=RegistryHosts.__doc__)
    registries: dict[str, Registry] = Field(
        default={}, description='Registries by host, as in [registries."registry.local:5000"].'
    )
    image_verifier: Verifier = Field(default=Verifier(), description=Verifier.__doc__)
    snapshots: Snapshots = Field(default=Snapshots(), description=Snapshots.__doc__)
    runtime: Runtime = Field(default=Runtime(), description=Runtime.__doc__)
    network: Network = Field(default=Network(), description=Network.__doc__)
    containers: Containers = Field(default=Containers(), description=Containers.__doc__)
    logs: Logs = Field(default=Logs(), description=Logs.__doc__)
    gc: Gc = Field(default=Gc(), description=Gc.__doc__)
    events: Events = Field(default=Events(), description=Events.__doc__)

    def with_flags(
        self, *, root: Path | None = None, state: Path | None = None, socket: Path | None = None,
        level: LogLevel | None = None, format: LogFormat | None = None,
    ) -> Config:  # fmt: skip
        """The configuration with what the command line says. Another state root moves the socket along."""
        if socket is None and state is not None and self.api.socket == Config().api.socket:
            socket = state / "corten.sock"
        api = self.api.model_copy(update=_given(socket=socket))
        log = self.log.model_copy(update=_given(level=level, format=format))
        return self.model_copy(update={**_given(root=root, state=state), "api": api, "log": log})


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def changed_keys(old: Config, new: Config) -> list[str]:
    """The dotted keys whose values differ, sorted."""
    before, after = dict(_leaves(old.model_dump())), dict(_leaves(new.model_dump()))
    missing = object()
    return sorted(
        key for key in before.keys() | after.keys() if before.get(key, missing) != after.get(key, missing)
    )


def is_live(key: str) -> bool:
    """Whether the dotted `key` can change in a running daemon."""
    return any(key == live or key.startswith(f"{live}.") for live in LIVE)


def with_live_keys(old: Config, new: Config) -> Config:
    """`old` with what can change live taken from `new`: the configuration in force after a reload."""
    values, wanted = old.model_dump(), new.model_dump()
    for live in LIVE:
        *tables, last = live.split(".")
        into, source = values, wanted
        for table in tables:
            into, source = into[table], source[table]
        into[last] = source[last]
    return Config.model_validate(values)


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _leaves(value, f"{dotted}.")
        else:
            yield dotted, value
