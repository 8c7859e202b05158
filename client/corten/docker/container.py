"""What is read of containers: ps, top, port."""

from __future__ import annotations

from corten.command import Command
from corten.docker.engine import container_path
from corten.docker.listing import Listing, encode_filters, filter_flag, format_flag
from corten.flags import Flag
from corten.output import ago, ellipsis, err, escape, human_size, local_time, out, short_id, table
from corten.rows import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from corten.docker.session import Session
    from corten.flags import Options

COMMAND_WIDTH = 20

_HEADERS = {
    "ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "RunningFor": "CREATED", "Status": "STATUS",
    "Ports": "PORTS", "Names": "NAMES", "CreatedAt": "CREATED AT", "State": "STATE", "Size": "SIZE",
    "Labels": "LABELS", "Mounts": "MOUNTS", "LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS",
    "Platform": "PLATFORM",
}  # fmt: skip
_COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")


def container_row(entry: dict[str, Any], *, truncate: bool) -> Row:
    """The fields of one container of `GET /containers/json`."""
    identifier, command = str(entry.get("Id", "")), str(entry.get("Command", ""))
    labels = entry.get("Labels") or {}
    mounts = [str(mount.get("Name") or mount.get("Source", "")) for mount in entry.get("Mounts") or ()]
    local = [mount for mount in entry.get("Mounts") or () if mount.get("Driver") == "local"]
    networks = (entry.get("NetworkSettings") or {}).get("Networks") or {}
    created = float(entry.get("Created") or 0)
    platform = (entry.get("ImageManifestDescriptor") or {}).get("platform") or {}
    return Row(
        {
            "ID": short_id(identifier) if truncate else identifier,
            "Image": _image(entry, truncate=truncate),
            "Command": f'"{_quoted(ellipsis(command, COMMAND_WIDTH) if truncate else command)}"',
            "RunningFor": ago(created),
            "CreatedAt": local_time(created),
            "Status": str(entry.get("Status", "")),
            "State": str(entry.get("State", "")),
            "Ports": display_ports(entry.get("Ports") or ()),
            "Names": ",".join(_names(entry.get("Names") or (), truncate=truncate)),
            "Size": _size(entry),
            "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
            "Mounts": ",".join(ellipsis(name, 15) if truncate else name for name in mounts),
            "LocalVolumes": str(len(local)),
            "Networks": ",".join(networks),
            "Platform": "/".join(str(platform[key]) for key in ("os", "architecture", "variant") if platform.get(key)),
        },
        {"Label": lambda key: labels.get(key, "")},
    )


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _image(entry: dict[str, Any], *, truncate: bool) -> str:
    image = str(entry.get("Image") or "")
    if not image:
        return "<no image>"
    if truncate:
        image_id = str(entry.get("ImageID", ""))
        if image.startswith("sha256:") or (image_id and short_id(image_id) == short_id(image)):
            return short_id(image)
        name, at, _ = image.partition("@")
        if at and ":" in name.rpartition("/")[2]:
            return name
    return image


def _names(names: Iterable[str], *, truncate: bool) -> list[str]:
    """Without the slash; names that links gave (`/a/b`) only in full listings."""
    plain = [str(name).removeprefix("/") for name in names]
    return [name for name in plain if "/" not in name] if truncate else plain


def _size(entry: dict[str, Any]) -> str:
    writable, whole = entry.get("SizeRw") or 0, entry.get("SizeRootFs") or 0
    text = human_size(writable)
    return f"{text} (virtual {human_size(whole)})" if whole > 0 else text


def display_ports(ports: Iterable[dict[str, Any]]) -> str:
    """`0.0.0.0:8080->80/tcp`; neighbours that are the same on both sides become a range."""
    runs: dict[tuple[str, str], tuple[int, int]] = {}
    shown, mapped = [], []
    for port in sorted(ports, key=_port_order):
        private, public = int(port.get("PrivatePort") or 0), int(port.get("PublicPort") or 0)
        ip, kind = str(port.get("IP") or ""), str(port.get("Type") or "tcp")
        if ip and public != private:
            mapped.append(f"{_address(ip)}{public}->{private}/{kind}")
            continue
        first, last = runs.get((ip, kind), (private, private))
        if private > last + 1:
            shown.append(_show_run(ip, kind, first, last))
            first = private
        runs[ip, kind] = (first, private)
    shown += [_show_run(ip, kind, *run) for (ip, kind), run in runs.items()]
    return ", ".join(shown + mapped)


def _port_order(port: dict[str, Any]) -> tuple[int, str, int, str]:
    private, public = int(port.get("PrivatePort") or 0), int(port.get("PublicPort") or 0)
    return private, str(port.get("IP") or ""), public, str(port.get("Type") or "")


def _show_run(ip: str, kind: str, first: int, last: int) -> str:
    span = str(first) if first == last else f"{first}-{last}"
    return f"{_address(ip)}{span}->{span}/{kind}" if ip else f"{span}/{kind}"


def _address(ip: str) -> str:
    if not ip:
        return ""
    return f"[{ip}]:" if ":" in ip else f"{ip}:"


def _run_ps(session: Session, options: Options) -> int:
    form = options["format"] or (session.config.text("psFormat") if not options["quiet"] else "")
    limit = 1 if options["latest"] and options["last"] == -1 else options["last"]
    size = options["size"] or ".Size" in form
    query = {
        "all": options["all"] or None,
        "filters": encode_filters(options["filter"]),
        "limit": limit if limit > 0 else None,
        "size": size or None,
    }
    entries = session.engine.call("GET", "/containers/json", query) or []
    rows = (container_row(entry, truncate=not options["no-trunc"]) for entry in entries)
    columns = (*_COLUMNS, "Size") if options["size"] else _COLUMNS
    Listing(columns, _HEADERS).show(rows, form, quiet=options["quiet"])
    return 0


def _run_top(session: Session, options: Options) -> int:
    name, *arguments = options.args
    query = {"ps_args": " ".join(arguments) or None}
    answer = session.engine.call("GET", container_path(name, "/top"), query)
    titles = [escape(title) for title in answer.get("Titles") or ()]
    out(table(answer.get("Processes") or (), titles), end="")
    return 0


def _run_port(session: Session, options: Options) -> int:
    name, *wanted = options.args
    info = session.engine.call("GET", container_path(name, "/json"))
    ports = (info.get("NetworkSettings") or {}).get("Ports") or {}
    if not wanted:
        lines = [f"{port} -> {_binding(one)}" for port, bound in ports.items() for one in bound or ()]
        out("".join(f"{escape(line)}\n" for line in sorted(lines, key=_natural)), end="")
        return 0
    port, _, kind = wanted[0].partition("/")
    bound = ports.get(f"{port}/{kind or 'tcp'}")
    if not bound:
        err(f"no public port '{escape(wanted[0])}' published for {escape(name)}")
        return 1
    out("".join(f"{escape(_binding(one))}\n" for one in bound), end="")
    return 0


def _binding(bound: dict[str, Any]) -> str:
    return f"{_address(str(bound.get('HostIp') or ''))}{bound.get('HostPort', '')}"


def _natural(line: str) -> tuple[int, str]:
    number = line.partition("/")[0]
    return (int(number) if number.isdigit() else 0, line)


PS = Command(
    "List containers",
    _run_ps,
    flags=[
        Flag("all", "bool", "Show all containers (default shows just running)", short="a"),
        filter_flag(),
        format_flag(),
        Flag("last", "int", "Show the n last created containers, of all states", short="n", default=-1),
        Flag("latest", "bool", "Show the last created container, of any state", short="l"),
        Flag("no-trunc", "bool", "Don't truncate output"),
        Flag("quiet", "bool", "Only display container IDs", short="q"),
        Flag("size", "bool", "Display total file sizes", short="s"),
    ],
)
TOP = Command(
    "Display the running processes of a container",
    _run_top, arguments="CONTAINER [ps OPTIONS]", least=1, most=None, stops=True,
)  # fmt: skip
PORT = Command(
    "List port mappings of a container",
    _run_port, arguments="CONTAINER [PRIVATE_PORT[/PROTO]]", least=1, most=2,
)  # fmt: skip
