"""Kernel parameters below /proc/sys/net, of the calling thread's network namespace."""

from __future__ import annotations

import logging
from collections.abc import Mapping

log = logging.getLogger(__name__)

CONTAINER = {
    # What docker gives every container that has a network of its own.
    "ipv4/ip_unprivileged_port_start": "0",
    "ipv4/ping_group_range": "0 2147483647",
    # The bridge has no IPv6 yet: nothing may configure itself by a neighbour's advertisements (CVE-2020-10749).
    "ipv6/conf/all/accept_ra": "0",
    "ipv6/conf/default/accept_ra": "0",
    "ipv6/conf/default/disable_ipv6": "1",
    # An address that is used again with another MAC is told to the neighbours, who may remember the old one.
    "ipv4/conf/default/arp_notify": "1",
}
"""Set in a fresh namespace before any interface is in it."""


def read(key: str) -> str:
    """The value of `key` (`ipv4/ip_forward`); empty when this kernel has no such key."""
    try:
        with open(f"/proc/sys/net/{key}", encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def write(values: Mapping[str, str]) -> None:
    """Set every key that this kernel has (one without IPv6 lacks those)."""
    for key, value in values.items():
        try:
            with open(f"/proc/sys/net/{key}", "w", encoding="ascii") as file:
                file.write(value)
        except FileNotFoundError:
            log.debug("no such kernel parameter", extra={"fields": {"sysctl": f"net/{key}"}})


def bridge(interface: str) -> dict[str, str]:
    """Parameters of the bridge itself.

    `route_localnet` lets the host reach ports published on its loopback; the rules drop whatever
    comes from elsewhere for 127/8, without which this would open the host's loopback (CVE-2020-8558).
    """
    return {
        f"ipv6/conf/{interface}/accept_ra": "0",
        f"ipv6/conf/{interface}/disable_ipv6": "1",
        f"ipv4/conf/{interface}/route_localnet": "1",
    }
