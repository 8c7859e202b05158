"""Ports of a new container: `-p`, `--expose`."""

from __future__ import annotations

from corten import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_PROTOCOLS = ("tcp", "udp", "sctp")


def parse_ports(
    publish: Iterable[str], expose: Iterable[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, list[dict[str, str]]]]:
    """(ExposedPorts, PortBindings) of the API; raises ValueError with docker's words."""
    exposed: dict[str, dict[str, Any]] = {}
    bindings: dict[str, list[dict[str, str]]] = {}
    for text in publish:
        for port, binding in _publications(_short_form(text) if "=" in text else text):
            exposed[port] = {}
            bindings.setdefault(port, []).append(binding)
    for text in expose:
        for port in _exposures(text):
            exposed.setdefault(port, {})
    return exposed, bindings


def _publications(text: str) -> Iterable[tuple[str, dict[str, str]]]:
    """`[[ip:][host]:]container[/protocol]`, both with ranges."""
    rest, slash, protocol = text.rpartition("/")
    if not slash:
        rest, protocol = text, "tcp"
    protocol = protocol.lower()
    ip, host, container = _split(rest)
    if protocol not in _PROTOCOLS:
        raise ValueError(f"invalid proto: {protocol}")
    if not container:
        raise ValueError(f"no port specified: {text}<empty>")
    if ip and not values.is_ip(ip):
        raise ValueError(f"invalid IP address: {ip}")
    first, last = _range(container, "containerPort")
    host_first, host_last = _range(host, "hostPort") if host else (0, 0)
    spread = bool(host) and last - first == host_last - host_first
    if host and not spread and first != last:
        raise ValueError(f"invalid ranges specified for container and host Ports: {container} and {host}")
    for offset in range(last - first + 1):
        chosen = host if not spread else str(host_first + offset)
        yield f"{first + offset}/{protocol}", {"HostIp": ip, "HostPort": chosen}


def _split(text: str) -> tuple[str, str, str]:
    """(ip, host ports, container ports); an IPv6 address may stand in brackets."""
    before, _, container = text.rpartition(":")
    ip, _, host = before.rpartition(":")
    if ip.startswith("[") and ip.endswith("]"):
        ip = ip[1:-1]
    return ip, host, container


def _range(text: str, what: str) -> tuple[int, int]:
    """First and last port of `80` or `80-90`."""
    start, dash, end = text.partition("-")
    ports = [start, end] if dash else [start, start]
    if not all(port.isascii() and port.isdigit() and int(port[:6]) < 65536 for port in ports):
        raise ValueError(f"invalid {what}: {text}")
    first, last = int(ports[0]), int(ports[1])
    if last < first:
        raise ValueError(f"invalid {what}: {text}")
    return first, last


def _short_form(text: str) -> str:
    """`target=80,published=8080,protocol=udp,mode=host` in the short form."""
    fields = {"target": "", "published": "", "protocol": "tcp", "mode": "ingress"}
    for field in values.csv_fields(text):
        key, equals, value = field.partition("=")
        if not equals or key.lower() not in fields:
            raise ValueError(f"invalid field {field}")
        fields[key.lower()] = value
    if not fields["target"]:
        raise ValueError(f"target port is not specified: {text}")
    return f"{fields['published']}:{fields['target']}/{fields['protocol']}"


def _exposures(text: str) -> Iterable[str]:
    if ":" in text:
        raise ValueError(f"invalid port format for --expose: {text}")
    ports, _, protocol = text.partition("/")
    try:
        first, last = _range(ports, "port")
    except ValueError:
        word = ports.partition("-")[0]
        problem = f'strconv.ParseUint: parsing "{word}": invalid syntax'
        raise ValueError(f"invalid range format for --expose: {text}, error: {problem}") from None
    for port in range(first, last + 1):
        yield f"{port}/{protocol or 'tcp'}"
