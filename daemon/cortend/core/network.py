"""Networks: how a container's network namespace is made and connected.

Services keep endpoints in the database (so an address is never handed out twice, also across
crashes); a driver makes the kernel agree with an endpoint. All methods are idempotent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

from corten_shared.models.container import PortMapping
from corten_shared.models.network import Endpoint, NetworkRecord


class NetworkDriver(Protocol):
    """The default bridge on this host's kernel, through netlink and nftables."""

    def network(self) -> NetworkRecord:
        """The bridge network as configured: its subnet and gateway."""
        ...

    def ensure(self, endpoints: Iterable[Endpoint]) -> None:
        """Make bridge and rules be there and agree with the endpoints given (all that are live); at start and
        after loss."""
        ...

    def allocate(self, taken: Collection[str], after: str = "") -> str:
        """A free address of the subnet that is not in `taken`, counting up from `after` (so that
        addresses are not reused at once).

        Pure. Raises ResourceExhausted when the subnet is full.
        """
        ...

    def allocate_ports(self, wanted: Iterable[PortMapping], taken: Iterable[PortMapping]) -> list[PortMapping]:
        """The same mappings with real host ports: random ones chosen, given ones checked
        against `taken` and against listening
        sockets of the host. Raises Conflict in docker's words (`Bind for 0.0.0.0:80 failed: port is already
        allocated`)."""
        ...

    def namespace_path(self, name: str) -> str:
        """Where `create_namespace(name)` pins the namespace. Pure."""
        ...

    def create_namespace(self, name: str) -> str:
        """A new network namespace with `lo` up, pinned at the path returned."""
        ...

    def delete_namespace(self, path: str) -> None:
        """Unpin and so free the namespace; missing is fine."""
        ...

    def connect(self, endpoint: Endpoint) -> Endpoint:
        """Give the namespace its veth, address, MAC, default route, and publish its ports; returns the endpoint with
        `host_interface` and `mac` filled in."""
        ...

    def disconnect(self, endpoint: Endpoint) -> None:
        """Undo connect: rules, then the veth; missing parts are fine."""
        ...

    def sweep(self, endpoints: Iterable[Endpoint], netns: Collection[str]) -> list[str]:
        """Remove interfaces, rules and pinned namespaces of ours that belong to none of `endpoints` / paths
        in `netns`; says what."""
        ...
