"""What every `core.network.NetworkDriver` does, whatever it is made of.

A test class inherits `NetworkDriverSuite` and gives the fixture `driver`: a fresh one, nothing connected.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from corten_shared.errors import Conflict, ResourceExhausted
from corten_shared.models.container import PortMapping
from corten_shared.models.network import Endpoint
from cortend.core.network import NetworkDriver


def new_endpoint(driver: NetworkDriver, taken: Sequence[str] = (), ports: Sequence[PortMapping] = ()) -> Endpoint:
    """An endpoint for a new container with a namespace, a free address and real ports; not connected yet."""
    container_id = secrets.token_hex(32)
    return Endpoint(
        container_id=container_id,
        network=driver.network().name,
        netns=driver.create_namespace(container_id[:12]),
        address=driver.allocate(taken),
        ports=driver.allocate_ports(ports, []),
    )


class NetworkDriverSuite:
    """The conformance suite."""

    def test_the_network_says_its_subnet_and_a_gateway_in_it(self, driver: NetworkDriver) -> None:
        network = driver.network()
        assert ip_address(network.gateway) in ip_network(network.subnet)
        assert driver.network() == network

    def test_addresses_are_of_the_subnet_and_never_taken_or_the_gateways(self, driver: NetworkDriver) -> None:
        network, taken = driver.network(), []
        for _ in range(20):
            taken.append(driver.allocate(taken))
        assert len(set(taken)) == 20
        assert network.gateway not in taken
        assert all(ip_address(address) in ip_network(network.subnet) for address in taken)

    def test_an_address_given_up_is_not_the_next_one_given_out(self, driver: NetworkDriver) -> None:
        first = driver.allocate([])
        assert driver.allocate([], after=first) != first

    def test_a_full_subnet_is_said(self, driver: NetworkDriver) -> None:
        every = [str(address) for address in ip_network(driver.network().subnet).hosts()]
        with pytest.raises(ResourceExhausted, match="no available IPv4 addresses"):
            driver.allocate(every)

    def test_random_host_ports_are_real_and_different(self, driver: NetworkDriver) -> None:
        wanted = [PortMapping(container_port=80), PortMapping(container_port=81)]
        first, second = driver.allocate_ports(wanted, [])
        assert (first.container_port, second.container_port) == (80, 81)
        assert 0 < first.host_port != second.host_port > 0

    def test_a_given_host_port_is_kept(self, driver: NetworkDriver) -> None:
        (mapping,) = driver.allocate_ports([PortMapping(container_port=80, host_port=18080)], [])
        assert mapping.host_port == 18080

    @pytest.mark.parametrize("other", ["", "0.0.0.0", "127.0.0.1"])
    def test_a_taken_host_port_is_a_conflict_in_dockers_words(self, driver: NetworkDriver, other: str) -> None:
        taken = [PortMapping(container_port=1, host_port=18080, host_ip=other)]
        with pytest.raises(Conflict, match=r"^Bind for 0\.0\.0\.0:18080 failed: port is already allocated$"):
            driver.allocate_ports([PortMapping(container_port=80, host_port=18080)], taken)

    def test_another_protocol_or_another_address_is_no_conflict(self, driver: NetworkDriver) -> None:
        taken = [
            PortMapping(container_port=1, host_port=18080, protocol="udp"),
            PortMapping(container_port=1, host_port=18080, host_ip="127.0.0.2"),
        ]
        assert driver.allocate_ports([PortMapping(container_port=80, host_port=18080, host_ip="127.0.0.1")], taken)

    def test_a_namespace_is_pinned_until_deleted_and_deleting_again_is_fine(self, driver: NetworkDriver) -> None:
        path = driver.create_namespace("one")
        assert Path(path).exists()
        driver.delete_namespace(path)
        assert not Path(path).exists()
        driver.delete_namespace(path)

    def test_connecting_tells_interface_and_mac(self, driver: NetworkDriver) -> None:
        driver.ensure([])
        endpoint = new_endpoint(driver)
        connected = driver.connect(endpoint)
        assert connected.host_interface
        assert connected.mac.count(":") == 5
        assert connected.gateway == driver.network().gateway
        driver.disconnect(connected)
        driver.delete_namespace(endpoint.netns)

    def test_connecting_and_disconnecting_twice_is_as_once(self, driver: NetworkDriver) -> None:
        driver.ensure([])
        endpoint = new_endpoint(driver, ports=[PortMapping(container_port=80)])
        assert driver.connect(endpoint) == driver.connect(endpoint)
        driver.disconnect(endpoint)
        driver.disconnect(endpoint)
        driver.delete_namespace(endpoint.netns)

    def test_a_given_mac_is_used(self, driver: NetworkDriver) -> None:
        driver.ensure([])
        endpoint = new_endpoint(driver).model_copy(update={"mac": "02:42:aa:bb:cc:dd"})
        assert driver.connect(endpoint).mac == "02:42:aa:bb:cc:dd"
        driver.disconnect(endpoint)
        driver.delete_namespace(endpoint.netns)

    def test_sweep_removes_what_belongs_to_nobody_and_keeps_the_rest(self, driver: NetworkDriver) -> None:
        driver.ensure([])
        kept = driver.connect(new_endpoint(driver))
        lost = driver.connect(new_endpoint(driver, [kept.address], [PortMapping(container_port=80)]))
        removed = "\n".join(driver.sweep([kept], [kept.netns]))
        assert lost.host_interface in removed
        assert lost.netns in removed
        assert kept.host_interface not in removed
        assert Path(kept.netns).exists()
        assert not Path(lost.netns).exists()
        assert driver.sweep([kept], [kept.netns]) == []
        driver.disconnect(kept)
        driver.delete_namespace(kept.netns)
