"""The files docker gives every container: /etc/hostname, /etc/hosts and /etc/resolv.conf.

They live in the container's state directory and are bind-mounted, so that they can change while
the image stays as it is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path

from corten_shared.errors import InvalidArgument
from corten_shared.models.container import ContainerSpec

FALLBACK_DNS = ("8.8.8.8", "8.8.4.4")
"""What docker uses where the host's own resolvers are on loopback, which a container cannot reach."""

_HOSTS = (
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::\tip6-localnet",
    "ff00::\tip6-mcastprefix",
    "ff02::1\tip6-allnodes",
    "ff02::2\tip6-allrouters",
)
_MAX_RESOLV_CONF = 64 << 10


def hosts(spec: ContainerSpec, hostname: str, address: str, gateway: str) -> str:
    """The text of /etc/hosts; `host-gateway` in an extra host stands for the network's gateway."""
    lines = list(_HOSTS)
    lines += [f"{ip}\t{name}" for name, ip in _extra_hosts(spec.network.extra_hosts, gateway)]
    if address:
        names = f"{hostname}.{spec.domainname} {hostname}" if spec.domainname else hostname
        lines.append(f"{address}\t{names}")
    return "\n".join(lines) + "\n"


def _extra_hosts(entries: Iterable[str], gateway: str) -> Iterable[tuple[str, str]]:
    for entry in entries:
        name, _, ip = entry.partition(":")
        ip = ip.strip("[]")
        if ip == "host-gateway":
            ip = gateway or "127.0.0.1"
        try:
            ipaddress.ip_address(ip)
        except ValueError:
            raise InvalidArgument(f"invalid IP address in add-host: {ip[:60]!r}") from None
        if not name or any(c.isspace() or not c.isprintable() for c in name):
            raise InvalidArgument(f'bad format for add-host: "{entry[:60]}"')
        yield name, ip


def resolv_conf(spec: ContainerSpec, host: str, defaults: Iterable[str], *, own_network: bool) -> str:
    """The text of /etc/resolv.conf: the request's servers, else the daemon's, else the host's.

    With a network of its own a container cannot reach the host's loopback, so resolvers there are dropped.
    """
    servers, search, options = _parse(host)
    if own_network:
        servers = [server for server in servers if not _is_loopback(server)]
    servers = spec.network.dns or list(defaults) or servers or list(FALLBACK_DNS if own_network else ())
    search = [] if spec.network.dns_search == ["."] else (spec.network.dns_search or search)
    options = spec.network.dns_options or options
    lines = [f"nameserver {server}" for server in servers]
    if search:
        lines.append("search " + " ".join(search))
    if options:
        lines.append("options " + " ".join(options))
    return "".join(f"{line}\n" for line in lines if line.isprintable())


def _parse(text: str) -> tuple[list[str], list[str], list[str]]:
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        match line.split("#")[0].split():
            case ["nameserver", server, *_]:
                servers.append(server)
            case ["search" | "domain", *names]:
                search = names
            case ["options", *names]:
                options = names
            case _:
                pass
    return servers, search, options


def _is_loopback(server: str) -> bool:
    try:
        return ipaddress.ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return False


def read_host_resolv_conf(path: Path = Path("/etc/resolv.conf")) -> str:
    """The host's resolver configuration, or nothing where there is none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_MAX_RESOLV_CONF)
    except OSError:
        return ""
