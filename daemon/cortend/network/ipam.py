"""Addresses, purely: which subnet a network gets, and which address an endpoint gets of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError

from corten_shared.errors import InvalidArgument, ResourceExhausted

DEFAULT_POOLS = tuple(
    IPv4Network(text)
    for text in (
        *(f"10.{second}.0.0/16" for second in range(77, 86)),
        *(f"172.{second}.0.0/16" for second in range(24, 32)),
        *(f"192.168.{third}.0/20" for third in range(208, 256, 16)),
    )
)
"""What the default bridge is chosen from: away from docker's (172.17-172.23) and podman's (10.88, 10.89) own."""


def parse_subnet(text: str) -> IPv4Network:
    """The configured subnet; it must have room for a gateway and an endpoint. Raises InvalidArgument."""
    try:
        subnet = IPv4Network(text)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise InvalidArgument(f"invalid subnet {text[:60]!r}: {error}", hint="write it as 10.77.0.0/16") from error
    if subnet.prefixlen > 30 or subnet.prefixlen < 8:
        raise InvalidArgument(f"invalid subnet {subnet}: its prefix must be from /8 to /30", subject=str(subnet))
    if subnet.is_loopback or subnet.is_multicast or subnet.is_link_local:
        raise InvalidArgument(f"invalid subnet {subnet}: reserved for another use", subject=str(subnet))
    return subnet


def choose_subnet(
    in_use: Iterable[IPv4Network], pools: Iterable[IPv4Network] = DEFAULT_POOLS
) -> IPv4Network:
    """The first pool that overlaps nothing `in_use` (the host's routes, addresses and name servers).

    A default route says nothing about what is behind it and is ignored.
    """
    used = [network for network in in_use if network.prefixlen]
    for pool in pools:
        if not any(pool.overlaps(network) for network in used):
            return pool
    raise ResourceExhausted(
        "no default address pool is free: each overlaps a route of this host",
        hint="set `subnet` for the bridge network in the configuration",
    )


def gateway_of(subnet: IPv4Network) -> IPv4Address:
    """The bridge's own address: the subnet's first."""
    return subnet.network_address + 1


def allocate(subnet: IPv4Network, gateway: IPv4Address, taken: Collection[str], after: str = "") -> str:
    """The first address after `after` (wrapping around) that is neither taken, nor the gateway's, nor reserved."""
    first, last = int(subnet.network_address) + 1, int(subnet.broadcast_address) - 1
    used = set(taken) | {str(gateway)}
    for number in _from(first, last, _number(after, subnet) + 1):
        address = str(IPv4Address(number))
        if address not in used:
            return address
    raise ResourceExhausted(
        f"no available IPv4 addresses in subnet {subnet}",
        hint="remove containers that are not needed, or configure a larger subnet",
        subject=str(subnet),
    )


def mac_of(address: str) -> str:
    """The MAC that docker derives from an IPv4 address: 02:42 and the address, so never two alike on a bridge."""
    return ":".join(f"{byte:02x}" for byte in b"\x02\x42" + IPv4Address(address).packed)


def _number(after: str, subnet: IPv4Network) -> int:
    """`after` as a number; the subnet's base when there is none or it is of another subnet."""
    if after and (address := IPv4Address(after)) in subnet:
        return int(address)
    return int(subnet.network_address)


def _from(first: int, last: int, start: int) -> Iterable[int]:
    yield from range(max(first, start), last + 1)
    yield from range(first, min(start, last + 1))
