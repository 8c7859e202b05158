"""Interfaces through netlink (rtnetlink(7)): the bridge, veth pairs, and what is inside a namespace.

pyroute2 is imported on first use: 9 MB that a daemon without bridged containers does not pay. A socket
lives for one operation (0.4 ms) in the namespace of the calling thread, so that threads share nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv4Network
from socket import if_nametoindex
from typing import Any, NamedTuple

from corten_shared.errors import CortenError, NotFound, Unavailable
from cortend.linux.netns import run_in_netns
from cortend.network import sysctls

Netlink = Any
"""An open pyroute2 IPRoute, which ships no types."""

_HAIRPIN = 1


class Link(NamedTuple):
    """An interface as the kernel reports it; `kind` is bridge, veth, … and empty for hardware."""

    ifindex: int
    name: str
    kind: str
    alias: str
    master: int
    mtu: int


class VethSpec(NamedTuple):
    """A veth pair to make: its host end, enslaved to `bridge`, and its other end inside `netns`."""

    host_name: str
    alias: str
    bridge: str
    netns: str
    inner_name: str
    address: IPv4Interface
    gateway: str
    mac: str
    mtu: int


@contextlib.contextmanager
def netlink() -> Iterator[Netlink]:
    """A netlink socket in the calling thread's namespace; what the kernel refuses becomes Unavailable."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as socket:
            yield socket
    except NetlinkError as error:
        raise LinkError(error.code, str(error.args[-1])) from error
    except OSError as error:
        raise LinkError(error.errno or 0, str(error)) from error


class LinkError(Unavailable):
    """The kernel refused a change of an interface; `errno` says why."""

    def __init__(self, number: int, detail: str) -> None:
        reason = os.strerror(number).lower() if number else detail[:200]
        super().__init__(f"the kernel refused a network change: {reason}", hint="cortend needs CAP_NET_ADMIN")
        self.errno = number


def find(socket: Netlink, name: str) -> Link | None:
    """The interface of that name."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        found = socket.link("get", ifname=name)
    except NetlinkError as error:
        if error.code == errno.ENODEV:
            return None
        raise
    return _link(found[0]) if found else None


def links(socket: Netlink) -> list[Link]:
    """Every interface of the namespace."""
    return [_link(message) for message in socket.get_links()]


def networks_in_use(socket: Netlink) -> list[IPv4Network]:
    """What the host already routes or has addresses in, in whatever routing table."""
    found = [
        IPv4Network((destination, message["dst_len"]), strict=False)
        for message in socket.get_routes(family=2)
        if (destination := message.get_attr("RTA_DST"))
    ]
    return found + [address.network for _, address in _addresses(socket)]


def addresses_of(socket: Netlink, index: int) -> list[IPv4Interface]:
    """The IPv4 addresses of an interface."""
    return [address for owner, address in _addresses(socket) if owner == index]


def make_bridge(socket: Netlink, name: str, gateway: IPv4Interface, mac: str, mtu: int) -> Link:
    """The bridge, up, with this address and no other; made when missing. It must not be another kind of interface."""
    link = find(socket, name)
    if link is None:
        # A MAC of its own: otherwise it is that of the lowest port, and changes as containers come and go.
        socket.link("add", ifname=name, kind="bridge", address=mac, mtu=mtu)
        link = find(socket, name)
        assert link is not None
    if link.kind != "bridge":
        raise Unavailable(
            f"interface {name} exists and is not a bridge",
            hint="set another `interface` for the bridge network in the configuration",
            subject=name,
        )
    present = addresses_of(socket, link.ifindex)
    for address in present:
        if address != gateway:
            socket.addr("del", index=link.ifindex, address=str(address.ip), prefixlen=address.network.prefixlen)
    if gateway not in present:
        prefix, broadcast = gateway.network.prefixlen, str(gateway.network.broadcast_address)
        socket.addr("add", index=link.ifindex, address=str(gateway.ip), prefixlen=prefix, broadcast=broadcast)
    socket.link("set", index=link.ifindex, mtu=mtu, state="up")
    return link


def make_veth(socket: Netlink, spec: VethSpec) -> None:
    """The pair, its inner end made directly in the namespace with address and default route; all or nothing.

    Indices come from ioctl(2), not from netlink: a tenth of the cost, and this is in every container's start.
    """
    fd = _open_netns(spec.netns)
    try:
        socket.link(
            "add", ifname=spec.host_name, kind="veth", mtu=spec.mtu, master=_index_of(spec.bridge), state="up",
            peer={"ifname": spec.inner_name, "address": spec.mac, "mtu": spec.mtu, "net_ns_fd": fd},
        )  # fmt: skip
    finally:
        os.close(fd)
    try:
        sysctls.write({f"ipv6/conf/{spec.host_name}/disable_ipv6": "1"})
        # Hairpin: where br_netfilter is on, a container reaches its own published port through the same bridge port.
        made = _index_of(spec.host_name)
        socket.link("set", index=made, ifalias=spec.alias, kind="bridge_slave", mode=_HAIRPIN)
        run_in_netns(spec.netns, lambda: _configure(spec))
    except BaseException:
        with contextlib.suppress(CortenError):
            delete(socket, spec.host_name)
        raise


def enslave(socket: Netlink, link: Link, bridge: Link) -> None:
    """Put an interface (back) on the bridge."""
    socket.link("set", index=link.ifindex, master=bridge.ifindex, state="up")
    socket.link("set", index=link.ifindex, kind="bridge_slave", mode=_HAIRPIN)


def delete(socket: Netlink, name: str) -> bool:
    """Delete a veth by its host end, the other end going with it; False when there is none."""
    from pyroute2.netlink.exceptions import NetlinkError

    link = find(socket, name)
    if link is None or link.kind != "veth":
        return False
    try:
        socket.link("del", index=link.ifindex)
    except NetlinkError as error:
        if error.code == errno.ENODEV:
            return False
        raise
    return True


def _configure(spec: VethSpec) -> None:
    """The inner end: address, up, default route. Runs in the namespace."""
    network, index = spec.address.network, _index_of(spec.inner_name)
    with netlink() as socket:
        socket.addr(
            "add", index=index, address=str(spec.address.ip), prefixlen=network.prefixlen,
            broadcast=str(network.broadcast_address),
        )  # fmt: skip
        socket.link("set", index=index, state="up")
        socket.route("add", dst="default", gateway=spec.gateway)


def _open_netns(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise NotFound(f"cannot open network namespace {path}: {reason}", subject=path) from error


def _index_of(name: str) -> int:
    """The index of an interface in the calling thread's namespace; raises LinkError."""
    try:
        return if_nametoindex(name)
    except OSError as error:
        raise LinkError(errno.ENODEV, name) from error


def _addresses(socket: Netlink) -> list[tuple[int, IPv4Interface]]:
    return [
        (message["index"], IPv4Interface((message.get_attr("IFA_LOCAL"), message["prefixlen"])))
        for message in socket.get_addr(family=2)
    ]


def _link(message: Any) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    return Link(
        message["index"],
        message.get_attr("IFLA_IFNAME") or "",
        (info and info.get_attr("IFLA_INFO_KIND")) or "",
        message.get_attr("IFLA_IFALIAS") or "",
        message.get_attr("IFLA_MASTER") or 0,
        message.get_attr("IFLA_MTU") or 0,
    )
