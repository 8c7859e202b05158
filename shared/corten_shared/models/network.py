"""Networks and the endpoints by which containers are on them."""

from __future__ import annotations

from corten_shared.models.base import Record
from corten_shared.models.container import PortMapping
from corten_shared.times import Timestamp


class NetworkRecord(Record):
    """A network: its driver, interface on the host, IPv4 subnet and gateway."""

    id: str
    name: str
    driver: str
    interface: str = ""
    subnet: str = ""
    gateway: str = ""
    mtu: int = 1500
    created_at: Timestamp


class Endpoint(Record):
    """A container's place on a network.

    `netns` is the path that pins the network namespace, `host_interface` the veth's end on the
    host, `address` the IPv4 address without and `prefix` the length of its network; `ports` have
    their real host ports filled in.
    """

    container_id: str
    network: str
    netns: str
    interface: str = "eth0"
    host_interface: str = ""
    address: str = ""
    prefix: int = 0
    gateway: str = ""
    mac: str = ""
    ports: list[PortMapping] = []
