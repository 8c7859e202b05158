"""Addresses: pure rules, no kernel."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten_shared.errors import InvalidArgument, ResourceExhausted
from cortend.network import ipam

SMALL = IPv4Network("10.77.0.0/29")
GATEWAY = IPv4Address("10.77.0.1")


@pytest.mark.parametrize(
    ("taken", "after", "expected"),
    [
        ([], "", "10.77.0.2"),
        (["10.77.0.2"], "", "10.77.0.3"),
        ([], "10.77.0.2", "10.77.0.3"),
        (["10.77.0.3"], "10.77.0.2", "10.77.0.4"),
        ([], "10.77.0.6", "10.77.0.2"),
        (["10.77.0.2", "10.77.0.6"], "10.77.0.5", "10.77.0.3"),
        ([], "192.0.2.7", "10.77.0.2"),
        ([], "10.77.0.7", "10.77.0.2"),
    ],
)
def test_counts_up_from_after_and_wraps_around(taken: list[str], after: str, expected: str) -> None:
    assert ipam.allocate(SMALL, GATEWAY, taken, after) == expected


@given(st.sets(st.integers(2, 6)), st.integers(0, 7))
def test_an_address_is_given_exactly_when_one_is_free(taken: set[int], after: int) -> None:
    used = [f"10.77.0.{number}" for number in taken]
    if len(taken) == 5:
        with pytest.raises(ResourceExhausted, match=r"no available IPv4 addresses in subnet 10\.77\.0\.0/29"):
            ipam.allocate(SMALL, GATEWAY, used, f"10.77.0.{after}")
        return
    address = ipam.allocate(SMALL, GATEWAY, used, f"10.77.0.{after}")
    assert address not in used
    assert 2 <= int(address.rpartition(".")[2]) <= 6


def test_a_pool_that_overlaps_a_route_is_passed_over() -> None:
    pools = [IPv4Network("10.77.0.0/16"), IPv4Network("10.78.0.0/16")]
    assert ipam.choose_subnet([IPv4Network("10.77.3.0/24")], pools) == pools[1]
    assert ipam.choose_subnet([IPv4Network("10.0.0.0/8")]) == IPv4Network("172.24.0.0/16")


def test_a_default_route_says_nothing_about_a_pool() -> None:
    assert ipam.choose_subnet([IPv4Network("0.0.0.0/0")]) == ipam.DEFAULT_POOLS[0]


def test_no_free_pool_is_said_with_the_way_out() -> None:
    with pytest.raises(ResourceExhausted) as failure:
        ipam.choose_subnet([IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")])
    assert "subnet" in str(failure.value.hint)


def test_default_pools_keep_clear_of_dockers_and_podmans() -> None:
    theirs = [IPv4Network("172.16.0.0/13"), IPv4Network("10.88.0.0/16"), IPv4Network("10.89.0.0/16")]
    assert not [pool for pool in ipam.DEFAULT_POOLS if any(pool.overlaps(other) for other in theirs)]


@pytest.mark.parametrize(
    "text", ["", "x", "10.0.0.1/16", "10.0.0.0/31", "10.0.0.0/4", "::/64", "127.0.0.0/8", "224.0.0.0/16"]
)
def test_a_subnet_of_no_use_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid subnet"):
        ipam.parse_subnet(text)


def test_a_mac_is_derived_as_docker_does() -> None:
    assert ipam.mac_of("172.17.0.2") == "02:42:ac:11:00:02"
