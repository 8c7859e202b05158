"""The nftables rules, as text: one table of our own, nothing outside it is read or written.

    table inet <name>
      map publish_any    protocol . port            : container address . port     -p 80:80
      map publish_addr   address . protocol . port  : container address . port     -p 127.0.0.1:80:80
      chain guard        raw prerouting: what must never arrive from another interface
      chain prerouting   dnat of published ports, for packets from outside and from containers
      chain output       the same for the host's own, its loopback included
      chain forward      what may reach a container; a verdict here cannot override a drop in another table
      chain postrouting  masquerading

A port published or withdrawn is one map element. Everything rendered is made of validated names,
addresses and numbers, never of a client's text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network
from typing import NamedTuple

from corten_shared.errors import InvalidArgument
from cortend.network.ports import ANY, HostPort

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,30}\Z")


class Target(NamedTuple):
    """Where a published port leads: a container's address and port."""

    address: str
    port: int


class Bridge(NamedTuple):
    """What the rules need to know of a bridge network."""

    interface: str
    subnet: IPv4Network


Published = Mapping[HostPort, Target]
"""Every published port of the table."""


def check_table(name: str) -> str:
    """`name`, if nftables takes it unquoted; raises InvalidArgument."""
    if not _NAME.match(name):
        raise InvalidArgument(f"invalid nftables table name {name[:60]!r}", hint="use letters, digits, _ and -")
    return name


def replace(table: str, bridges: Sequence[Bridge], published: Published) -> str:
    """One transaction that makes the table exactly this, whatever it was before."""
    return f"table inet {table}\ndelete table inet {table}\n{_table(table, bridges, published)}"


def remove(table: str) -> str:
    """One transaction after which the table is gone; it need not have been there."""
    return f"table inet {table}\ndelete table inet {table}\n"


def change(table: str, add: Published, withdraw: Iterable[HostPort] = ()) -> str:
    """One transaction that publishes and withdraws ports in a table that is there."""
    lines = [f"delete element inet {table} {_map_of(place)} {{ {_key(place)} }}" for place in withdraw]
    lines += [f"add element inet {table} {_map_of(p)} {{ {_key(p)} : {_value(t)} }}" for p, t in add.items()]
    return "\n".join(lines) + "\n"


def _map_of(place: HostPort) -> str:
    return "publish_any" if place.address == ANY else "publish_addr"


def _key(place: HostPort) -> str:
    key = f"{place.protocol} . {place.port}"
    return key if place.address == ANY else f"{place.address} . {key}"


def _value(target: Target) -> str:
    return f"{target.address} . {target.port}"


def _elements(name: str, published: Published) -> str:
    entries = [f"{_key(place)} : {_value(to)}" for place, to in published.items() if _map_of(place) == name]
    return f"\n    elements = {{ {', '.join(entries)} }}" if entries else ""


def _table(table: str, bridges: Sequence[Bridge], published: Published) -> str:
    return f"""table inet {table} {{
  map publish_any {{
    type inet_proto . inet_service : ipv4_addr . inet_service{_elements("publish_any", published)}
  }}
  map publish_addr {{
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service{_elements("publish_addr", published)}
  }}
  chain guard {{
    type filter hook prerouting priority raw; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 drop
{_lines(_guard(bridge) for bridge in bridges)}
  }}
  chain publish {{
    dnat ip to ip daddr . meta l4proto . th dport map @publish_addr
    dnat ip to meta l4proto . th dport map @publish_any
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump publish
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    fib daddr type local jump publish
  }}
  chain inbound {{
    ct state established,related accept
    ct status dnat accept
    drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
{_lines(_forward(bridge) for bridge in bridges)}
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
{_lines(_masquerade(bridge) for bridge in bridges)}
  }}
}}
"""


def _guard(bridge: Bridge) -> list[str]:
    """Nobody but the host and its neighbours on the bridge addresses a container directly (moby 14041, 45610,
    CVE-2020-13401), and a container cannot pass for the host's loopback (CVE-2020-8558)."""
    return [
        f'iifname "{bridge.interface}" ip saddr 127.0.0.0/8 drop',
        f'iifname != {{ "{bridge.interface}", "lo" }} ip daddr {bridge.subnet} drop',
    ]


def _forward(bridge: Bridge) -> list[str]:
    """Containers reach out and each other; inwards only answers and published ports pass."""
    return [
        f'iifname "{bridge.interface}" oifname "{bridge.interface}" accept',
        f'oifname "{bridge.interface}" jump inbound',
    ]


def _masquerade(bridge: Bridge) -> list[str]:
    """Out: the host's address. To a published port of a neighbour or from the host's loopback: the bridge's, or the
    answer would not come back this way. From outside the client's own address stays (CVE-2021-20199)."""
    return [
        f'ip saddr {bridge.subnet} oifname != "{bridge.interface}" masquerade',
        f'ip saddr {bridge.subnet} oifname "{bridge.interface}" ct status dnat masquerade',
        f'ip saddr 127.0.0.0/8 oifname "{bridge.interface}" ct status dnat masquerade',
    ]


def _lines(groups: Iterable[list[str]]) -> str:
    return "\n".join(f"    {line}" for group in groups for line in group)
