"""The rules' text. What it does to packets is in tests/integration/network."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from corten_shared.errors import InvalidArgument
from cortend.network import rules
from cortend.network.bridge import BridgeNetwork, BridgeSettings
from cortend.network.ports import HostPort

EVERY, ONE = HostPort("tcp", "0.0.0.0", 8080), HostPort("udp", "192.0.2.1", 53)
TARGET = rules.Target("10.77.0.2", 80)


def test_a_port_on_every_address_and_on_one_are_elements_of_two_maps() -> None:
    text = rules.change("corten", {EVERY: TARGET}, [ONE])
    assert text.splitlines() == [
        "delete element inet corten publish_addr { 192.0.2.1 . udp . 53 }",
        "add element inet corten publish_any { tcp . 8080 : 10.77.0.2 . 80 }",
    ]


def test_a_whole_table_is_replaced_in_one_transaction_with_each_network_and_port() -> None:
    bridges = [rules.Bridge(f"corten{n}", IPv4Network(f"10.{77 + n}.0.0/16")) for n in range(2)]
    text = rules.replace("mine", bridges, {EVERY: TARGET, ONE: TARGET})
    assert text.startswith("table inet mine\ndelete table inet mine\ntable inet mine {")
    assert "elements = { tcp . 8080 : 10.77.0.2 . 80 }" in text
    assert "elements = { 192.0.2.1 . udp . 53 : 10.77.0.2 . 80 }" in text
    for bridge in bridges:
        assert f'ip saddr {bridge.subnet} oifname != "{bridge.interface}" masquerade' in text


@pytest.mark.parametrize("name", ["", "a b", "x;flush ruleset", "0day", "x" * 40, "a\nb", 'a"', "ä"])
def test_a_name_that_could_be_read_as_a_rule_is_refused(name: str, tmp_path: object) -> None:
    with pytest.raises(InvalidArgument):
        rules.check_table(name)
    with pytest.raises(InvalidArgument, match="invalid bridge interface name"):
        BridgeNetwork(BridgeSettings(state_root=tmp_path, interface=name))  # type: ignore[arg-type]


def test_a_bridge_is_refused_an_mtu_or_subnet_of_no_use(tmp_path: object) -> None:
    for bad in ({"mtu": 100}, {"subnet": "10.0.0.0/31"}):
        with pytest.raises(InvalidArgument):
            BridgeNetwork(BridgeSettings(state_root=tmp_path, **bad))  # type: ignore[arg-type]
