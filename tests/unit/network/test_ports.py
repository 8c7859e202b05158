"""Host ports, against the loopback sockets of this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from corten_shared.errors import Conflict, InvalidArgument, ResourceExhausted
from corten_shared.models.container import PortMapping
from cortend.network import ports
from cortend.network.ports import HostPort, HostPorts

LOOPBACK = "127.0.0.1"


@pytest.fixture
def host_ports() -> Iterator[HostPorts]:
    made = HostPorts()
    yield made
    made.close()


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind((LOOPBACK, 0))
        port: int = sock.getsockname()[1]
        return port


def mapping(port: int, protocol: str = "tcp") -> PortMapping:
    return PortMapping.model_validate(
        {"container_port": 80, "host_ip": LOOPBACK, "host_port": port, "protocol": protocol}
    )


@pytest.mark.parametrize(("protocol", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
def test_a_port_in_use_on_the_host_is_a_conflict(host_ports: HostPorts, protocol: str, kind: int) -> None:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind((LOOPBACK, 0))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        port = sock.getsockname()[1]
        with pytest.raises(Conflict, match=rf"^Bind for {LOOPBACK}:{port} failed: port is already allocated$"):
            host_ports.allocate([mapping(port, protocol)], [])


def test_the_same_host_port_twice_is_a_conflict(host_ports: HostPorts) -> None:
    port = free_port()
    with pytest.raises(Conflict, match="already allocated"):
        host_ports.allocate([mapping(port), mapping(port)], [])


def test_a_fixed_port_is_never_given_to_a_random_one(
    host_ports: HostPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setattr(ports, "_ephemeral_range", lambda: (port, port))
    with pytest.raises(ResourceExhausted, match=f"Bind for {LOOPBACK}:0 failed: all ports are allocated"):
        host_ports.allocate([mapping(0), mapping(port)], [])


def test_random_ports_go_round_so_that_a_freed_one_is_not_next(host_ports: HostPorts) -> None:
    (first,) = host_ports.allocate([mapping(0)], [])
    (second,) = host_ports.allocate([mapping(0)], [])
    assert first.host_port != second.host_port


def test_a_random_port_is_not_one_that_is_listened_on(
    host_ports: HostPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(ports, "_ephemeral_range", lambda: (port, port))
        with pytest.raises(ResourceExhausted):
            host_ports.allocate([mapping(0)], [])


def test_a_held_port_is_free_again_when_released(host_ports: HostPorts) -> None:
    place = HostPort("tcp", LOOPBACK, free_port())
    host_ports.hold(place)
    host_ports.hold(place)
    with pytest.raises(OSError, match="in use"):
        socket.create_server((LOOPBACK, place.port)).close()
    host_ports.release(place)
    host_ports.release(place)
    socket.create_server((LOOPBACK, place.port)).close()


def test_a_port_whose_old_connections_linger_can_be_published(host_ports: HostPorts) -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection((LOOPBACK, port)) as client:
            server.accept()[0].close()  # this end closes first: TIME_WAIT is on the server's port
            client.recv(1)
    assert host_ports.allocate([mapping(port)], [])


@pytest.mark.parametrize("address", ["::1", "example.org", "1.2.3", "0.0.0.0/0"])
def test_a_host_address_that_is_not_ipv4_is_refused(host_ports: HostPorts, address: str) -> None:
    wanted = PortMapping(container_port=80, host_ip=address, host_port=8080)
    with pytest.raises(InvalidArgument, match="invalid host address"):
        host_ports.allocate([wanted], [])


def test_every_address_overlaps_each_one_of_the_same_protocol() -> None:
    every, one, other = (HostPort("tcp", address, 80) for address in (ports.ANY, "192.0.2.1", "192.0.2.2"))
    assert every.overlaps(one)
    assert one.overlaps(every)
    assert not one.overlaps(other)
    assert not every.overlaps(HostPort("udp", "192.0.2.1", 80))
