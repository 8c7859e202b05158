"""Host ports: choosing them, telling conflicts, and holding them.

A published port lives in the kernel's rules, not in a socket: another program could listen on it and
never get a connection. So for as long as a port is published a socket is bound to it, which makes
that program fail with "address already in use", as it would on any port in use.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import threading
from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import NamedTuple

from corten_shared.errors import Conflict, InvalidArgument, ResourceExhausted
from corten_shared.models.container import PortMapping
from cortend.network import sysctls

log = logging.getLogger(__name__)

ANY = "0.0.0.0"  # noqa: S104 - docker's default: every address
_DEFAULT_RANGE = (32768, 60999)


class HostPort(NamedTuple):
    """A port of the host: protocol, address (`0.0.0.0` is every one) and number."""

    protocol: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}/{self.protocol}"

    def overlaps(self, other: HostPort) -> bool:
        """Whether a packet could be for both."""
        same = self.protocol == other.protocol and self.port == other.port
        return same and (self.address == other.address or ANY in (self.address, other.address))


def host_port(mapping: PortMapping) -> HostPort:
    """Where a mapping is reachable; raises InvalidArgument for an address that is not IPv4."""
    try:
        address = str(IPv4Address(mapping.host_ip or ANY))
    except ValueError as error:
        raise InvalidArgument(
            f"invalid host address {mapping.host_ip[:60]!r} for port {mapping.container_port}",
            hint="the bridge network publishes on IPv4 addresses",
        ) from error
    return HostPort(mapping.protocol, address, mapping.host_port)


class HostPorts:
    """Allocates ports of the host and holds the published ones. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0
        self._held: dict[HostPort, socket.socket | None] = {}

    def allocate(self, wanted: Iterable[PortMapping], taken: Iterable[PortMapping]) -> list[PortMapping]:
        """See `NetworkDriver.allocate_ports`. Fixed ports go first, so that a random one never takes theirs."""
        mappings = list(wanted)
        busy = _index(taken)
        chosen: dict[int, PortMapping] = {}
        for index, mapping in sorted(enumerate(mappings), key=lambda item: item[1].host_port == 0):
            place = host_port(mapping)
            if place.port:
                _check(place, busy)
            else:
                place = self._random(place, busy)
            busy.setdefault((place.protocol, place.port), []).append(place)
            chosen[index] = mapping.model_copy(update={"host_port": place.port})
        return [chosen[index] for index in range(len(mappings))]

    def hold(self, place: HostPort) -> None:
        """Keep other programs off a port; again is fine. Raises Conflict when one is on it."""
        with self._lock:
            if place in self._held:
                return
            try:
                self._held[place] = _bind(place)
            except OSError as error:
                raise _refusal(place, error) from error

    def release(self, place: HostPort) -> None:
        """Undo `hold`; missing is fine."""
        with self._lock:
            if (sock := self._held.pop(place, None)) is not None:
                sock.close()

    def close(self) -> None:
        """Release everything."""
        for place in list(self._held):
            self.release(place)

    def _random(self, place: HostPort, busy: dict[tuple[str, int], list[HostPort]]) -> HostPort:
        low, high = _ephemeral_range()
        for _ in range(high - low + 1):
            candidate = place._replace(port=self._count(low, high))
            if any(candidate.overlaps(other) for other in busy.get((candidate.protocol, candidate.port), ())):
                continue
            try:
                _probe(candidate)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise _refusal(candidate, error) from error
                continue
            return candidate
        raise ResourceExhausted(
            f"Bind for {place.address}:0 failed: all ports are allocated",
            hint="see net.ipv4.ip_local_port_range, from which ports are chosen",
        )

    def _count(self, low: int, high: int) -> int:
        """The next number to try, going round: a port just freed is not handed out at once."""
        with self._lock:
            self._next = self._next + 1 if low <= self._next < high else low
            return self._next


def _index(taken: Iterable[PortMapping]) -> dict[tuple[str, int], list[HostPort]]:
    index: dict[tuple[str, int], list[HostPort]] = {}
    for mapping in taken:
        place = host_port(mapping)
        index.setdefault((place.protocol, place.port), []).append(place)
    return index


def _check(place: HostPort, busy: dict[tuple[str, int], list[HostPort]]) -> None:
    if any(place.overlaps(other) for other in busy.get((place.protocol, place.port), ())):
        raise Conflict(
            f"Bind for {place.address}:{place.port} failed: port is already allocated",
            hint="another container publishes it; choose another host port or stop that container",
            subject=str(place),
        )
    try:
        _probe(place)
    except OSError as error:
        raise _refusal(place, error) from error


def _probe(place: HostPort) -> None:
    if (sock := _bind(place)) is not None:
        sock.close()


def _bind(place: HostPort) -> socket.socket | None:
    """A socket bound to the place; None where this kernel lacks the protocol (sctp), so nobody can listen either."""
    kind = socket.SOCK_DGRAM if place.protocol == "udp" else socket.SOCK_STREAM
    number = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": socket.IPPROTO_SCTP}[place.protocol]
    try:
        sock = socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC, number)
    except OSError as error:
        if error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            return None
        raise
    with contextlib.ExitStack() as stack:
        stack.callback(sock.close)
        try:
            sock.bind((place.address, place.port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or place.protocol != "tcp":
                raise
            # Old connections of a server that is gone linger in TIME_WAIT; this still fails for one that listens.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((place.address, place.port))
        stack.pop_all()
    return sock


def _refusal(place: HostPort, error: OSError) -> Conflict:
    where = f"{place.address}:{place.port}"
    if error.errno == errno.EADDRINUSE:
        return Conflict(
            f"Bind for {where} failed: port is already allocated",
            hint=f"a program on this host uses it; `ss -lnp 'sport = :{place.port}'` shows which",
            subject=str(place),
        )
    return Conflict(
        f"Bind for {where} failed: {(error.strerror or str(error)).lower()}",
        hint="the host address of a published port must be one of this host's",
        subject=str(place),
    )


def _ephemeral_range() -> tuple[int, int]:
    """The kernel's range of ports for clients, which docker too takes random host ports from."""
    fields = sysctls.read("ipv4/ip_local_port_range").split()
    if len(fields) == 2 and 0 < int(fields[0]) <= int(fields[1]) <= 65535:
        return int(fields[0]), int(fields[1])
    return _DEFAULT_RANGE
