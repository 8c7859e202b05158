"""Ports in docker's notation: `80/tcp` -> [{HostIp, HostPort}], and back."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

from corten_shared.errors import InvalidArgument
from corten_shared.models.container import PortMapping
from cortend.api.docker.models.create import PortBinding

_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/([a-zA-Z]+))?\Z", re.ASCII)
_PROTOCOLS = ("tcp", "udp", "sctp")

Protocol = Literal["tcp", "udp", "sctp"]


def parse_port(text: str) -> tuple[range, Protocol]:
    """The numbers and the protocol of `80`, `80/udp` or `8000-8010/tcp`."""
    match = _PORT.match(text)
    protocol = (match[3] or "tcp").lower() if match else ""
    if match is None or protocol not in _PROTOCOLS:
        raise InvalidArgument(f'invalid port specification: "{text[:60]}"')
    first = int(match[1])
    last = int(match[2] or first)
    if not 0 < first <= last <= 65535:
        raise InvalidArgument(f'invalid port specification: "{text[:60]}"')
    return range(first, last + 1), cast(Protocol, protocol)


def port_mappings(bindings: Mapping[str, list[PortBinding]]) -> list[PortMapping]:
    """What is to be published; a key without a binding is published at random (as `-p 80` sends it)."""
    found: list[PortMapping] = []
    for key, wanted in bindings.items():
        ports, protocol = parse_port(key)
        if len(ports) != 1:
            raise InvalidArgument(f'invalid port specification: "{key[:60]}"')
        found += [_mapping(ports[0], protocol, binding) for binding in wanted or [PortBinding()]]
    return found


def _mapping(port: int, protocol: Protocol, binding: PortBinding) -> PortMapping:
    if binding.host_ip:
        try:
            ipaddress.ip_address(binding.host_ip)
        except ValueError:
            raise InvalidArgument(f"invalid IP address: {binding.host_ip[:60]}") from None
    return PortMapping(
        container_port=port, protocol=protocol, host_ip=binding.host_ip, host_port=_host_port(binding.host_port)
    )


def _host_port(text: str) -> int:
    if text in ("", "0"):
        return 0
    ports, _ = parse_port(text)
    # A range asks for any free port in it; the first is what the engine can promise to try.
    return ports[0]


def exposed_ports(exposed: Iterable[str], bindings: Iterable[str]) -> list[str]:
    """`80/tcp` for every port exposed or published, ranges taken apart."""
    found: dict[str, None] = {}
    for text in (*exposed, *bindings):
        ports, protocol = parse_port(text)
        found.update((f"{port}/{protocol}", None) for port in ports)
    return list(found)


def port_map(exposed: Iterable[str], ports: Iterable[PortMapping]) -> dict[str, Any]:
    """NetworkSettings.Ports: null for a port that is exposed only; published on all addresses shows both families."""
    found: dict[str, Any] = dict.fromkeys(exposed)
    for port in ports:
        key = f"{port.container_port}/{port.protocol}"
        addresses = [port.host_ip] if port.host_ip else ["0.0.0.0"]  # noqa: S104
        entries = [{"HostIp": address, "HostPort": str(port.host_port)} for address in addresses]
        found[key] = [*(found.get(key) or []), *entries]
    return found


def port_list(exposed: Iterable[str], ports: Iterable[PortMapping]) -> list[dict[str, Any]]:
    """The `Ports` of a listing."""
    published = list(ports)
    known = {f"{port.container_port}/{port.protocol}" for port in published}
    found: list[dict[str, Any]] = [
        {"PrivatePort": int(text.partition("/")[0]), "Type": text.partition("/")[2] or "tcp"}
        for text in exposed
        if text not in known
    ]
    found += [
        {
            "IP": port.host_ip or "0.0.0.0",  # noqa: S104
            "PrivatePort": port.container_port,
            "PublicPort": port.host_port,
            "Type": port.protocol,
        }
        for port in published
    ]
    return found
