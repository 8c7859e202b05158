"""The bridge network: `core.network.NetworkDriver` on Linux bridges, veth pairs and one nftables table.

What is in the kernel for a network and an endpoint, and by what it is known as ours:

    corten0                       the bridge (name configurable)
      └ cv<11 hex digits>         an endpoint's veth, named by container and network, with the alias
                                  `corten <bridge> <container>`
    table inet corten             every rule (name configurable)
    <state_root>/netns/<name>     namespaces
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import re
import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

from corten_shared.errors import Conflict, InvalidArgument
from corten_shared.models.container import PortMapping
from corten_shared.models.network import Endpoint, NetworkRecord
from cortend.linux.netns import run_apart
from cortend.network import conntrack, ipam, links, rules, sysctls
from cortend.network.nft import Nftables, RulesRefused
from cortend.network.pins import NamespacePins
from cortend.network.ports import HostPort, HostPorts, host_port

log = logging.getLogger(__name__)

_INTERFACE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,14}\Z")
_OURS = re.compile(r"cv[0-9a-f]{11}\Z")


@dataclass(frozen=True)
class BridgeSettings:
    """How the bridge network is made.

    `state_root` holds the namespaces; `interface` and `table` must differ between daemons on one
    host; `subnet` empty means the bridge's present one, else one that collides with no route.
    """

    state_root: Path
    name: str = "bridge"
    interface: str = "corten0"
    subnet: str = ""
    mtu: int = 1500
    table: str = "corten"


class BridgeNetwork:
    """The default bridge. Thread-safe; starting it costs nothing until the first call that needs the kernel."""

    def __init__(self, settings: BridgeSettings) -> None:
        if not _INTERFACE.match(settings.interface):
            raise InvalidArgument(f"invalid bridge interface name {settings.interface[:60]!r}")
        if not 1280 <= settings.mtu <= 65535:
            raise InvalidArgument(f"invalid MTU {settings.mtu} for the bridge network", hint="1280 to 65535")
        self._settings = settings
        self._table = rules.check_table(settings.table)
        self._subnet = ipam.parse_subnet(settings.subnet) if settings.subnet else None
        self._created_at = time.time_ns()
        self._pins = NamespacePins(settings.state_root / "netns")
        self._ports = HostPorts()
        self._nft = Nftables()
        self._lock = threading.RLock()
        self._published: dict[HostPort, rules.Target] = {}
        self._ready = False

    # --- the network -----------------------------------------------------------------------------------------

    def network(self) -> NetworkRecord:
        """See `NetworkDriver.network`; its id is derived from the interface, so that it is always the same."""
        subnet = self._choose()
        return NetworkRecord(
            id=hashlib.sha256(f"corten bridge {self._settings.interface}".encode()).hexdigest(),
            name=self._settings.name,
            driver="bridge",
            interface=self._settings.interface,
            subnet=str(subnet),
            gateway=str(ipam.gateway_of(subnet)),
            mtu=self._settings.mtu,
            created_at=self._created_at,
        )

    def ensure(self, endpoints: Iterable[Endpoint]) -> None:
        """See `NetworkDriver.ensure`. Raises Conflict when an endpoint's address is not of the configured subnet."""
        live = self._own(endpoints)
        subnet = self._choose()
        for endpoint in live:
            _address_in(endpoint, subnet)
        with self._lock:
            self._make_bridge(subnet)
            self._reattach(live)
            self._replace_published(live)
            self._ready = True
        self._warn_of_foreign_drop()

    def allocate(self, taken: Collection[str], after: str = "") -> str:
        """See `NetworkDriver.allocate`."""
        subnet = self._choose()
        return ipam.allocate(subnet, ipam.gateway_of(subnet), taken, after)

    def allocate_ports(self, wanted: Iterable[PortMapping], taken: Iterable[PortMapping]) -> list[PortMapping]:
        """See `NetworkDriver.allocate_ports`."""
        return self._ports.allocate(wanted, taken)

    def close(self) -> None:
        """Free this process's sockets; networks and containers stay as they are."""
        self._ports.close()
        self._nft.close()

    def remove(self) -> None:
        """Take the network away altogether: bridge, rules. For a daemon's uninstallation, and tests."""
        with self._lock, links.netlink() as socket:
            self._nft.run(rules.remove(self._table))
            link = links.find(socket, self._settings.interface)
            if link is not None and link.kind == "bridge":
                socket.link("del", index=link.ifindex)
            self._ready = False

    # --- namespaces ------------------------------------------------------------------------------------------

    def namespace_path(self, name: str) -> str:
        """See `NetworkDriver.namespace_path`."""
        return self._pins.path(name)

    def create_namespace(self, name: str) -> str:
        """See `NetworkDriver.create_namespace`."""
        return self._pins.create(name)

    def delete_namespace(self, path: str) -> None:
        """See `NetworkDriver.delete_namespace`."""
        self._pins.delete(path)

    # --- endpoints -------------------------------------------------------------------------------------------

    def connect(self, endpoint: Endpoint) -> Endpoint:
        """See `NetworkDriver.connect`. Connecting again replaces the interface; on failure nothing is left."""
        subnet = self._choose()
        address = IPv4Interface((_address_in(endpoint, subnet), subnet.prefixlen))
        if not self._ready:
            self.ensure(())
        connected = endpoint.model_copy(
            update={
                "host_interface": _veth_name(endpoint),
                "mac": endpoint.mac or ipam.mac_of(endpoint.address),
                "prefix": subnet.prefixlen,
                "gateway": endpoint.gateway or str(ipam.gateway_of(subnet)),
            }
        )
        spec = self._veth(connected, address)
        with contextlib.ExitStack() as undo:
            self._make_veth(spec)
            undo.callback(self._delete_veth, spec.host_name)
            self._publish(connected)
            undo.pop_all()
        return connected

    def disconnect(self, endpoint: Endpoint) -> None:
        """See `NetworkDriver.disconnect`."""
        self._withdraw(endpoint)
        self._delete_veth(endpoint.host_interface or _veth_name(endpoint))

    def sweep(self, endpoints: Iterable[Endpoint], netns: Collection[str]) -> list[str]:
        """See `NetworkDriver.sweep`."""
        live = self._own(endpoints)
        removed = [f"interface {name}" for name in self._sweep_links({_veth_name(each) for each in live})]
        with self._lock:
            stale = self._published.keys() - _targets(live).keys()
            if stale:
                self._apply({place: to for place, to in self._published.items() if place not in stale})
                removed += [f"port {place}" for place in sorted(stale)]
        return removed + [f"network namespace {path}" for path in self._pins.sweep(netns)]

    def _own(self, endpoints: Iterable[Endpoint]) -> list[Endpoint]:
        """Those of this network: an endpoint of `none` has a namespace and nothing else."""
        return [each for each in endpoints if each.network == self._settings.name and each.address]

    # --- the bridge ------------------------------------------------------------------------------------------

    def _choose(self) -> IPv4Network:
        """The subnet: configured, else the bridge's as it is, else a free one; settled for this process's life."""
        with self._lock:
            if self._subnet is None:
                # The caller may be inside an event loop, which pyroute2's own cannot nest in.
                self._subnet = run_apart(self._find_subnet)
            return self._subnet

    def _find_subnet(self) -> IPv4Network:
        with links.netlink() as socket:
            link = links.find(socket, self._settings.interface)
            present = links.addresses_of(socket, link.ifindex) if link else []
            return present[0].network if present else ipam.choose_subnet(links.networks_in_use(socket))

    def _make_bridge(self, subnet: IPv4Network) -> None:
        interface, gateway = self._settings.interface, ipam.gateway_of(subnet)
        with links.netlink() as socket:
            links.make_bridge(
                socket,
                interface,
                IPv4Interface((gateway, subnet.prefixlen)),
                ipam.mac_of(str(gateway)),
                self._settings.mtu,
            )
        sysctls.write(sysctls.bridge(interface))
        if sysctls.read("ipv4/ip_forward") == "0":
            sysctls.write({"ipv4/ip_forward": "1"})
            log.warning(
                "enabled net.ipv4.ip_forward: this host now forwards between all its interfaces; "
                "set a forward policy in its firewall if it is on several networks"
            )

    def _warn_of_foreign_drop(self) -> None:
        """A drop in another table (docker's FORWARD policy) is final whatever our rules say, and not ours to change."""
        try:
            foreign = self._nft.run("list chain ip filter FORWARD\n")
        except RulesRefused:
            return
        if "policy drop" in foreign:
            name = self._settings.interface
            log.warning(
                "the host's firewall drops forwarded packets by default, so containers may not reach the outside; "
                f"allow the bridge: iptables -I FORWARD -i {name} -j ACCEPT; iptables -I FORWARD -o {name} -j ACCEPT "
                "(with docker: in DOCKER-USER)"
            )

    def _reattach(self, live: Iterable[Endpoint]) -> None:
        """Interfaces of live endpoints that fell off (the bridge was deleted and made again) go back on."""
        with links.netlink() as socket:
            present = {link.name: link for link in links.links(socket)}
            bridge = present[self._settings.interface]
            for endpoint in live:
                link = present.get(endpoint.host_interface or _veth_name(endpoint))
                if link is not None and link.kind == "veth" and link.master != bridge.ifindex:
                    links.enslave(socket, link, bridge)

    def _sweep_links(self, keep: Collection[str]) -> list[str]:
        with links.netlink() as socket:
            every = links.links(socket)
            bridge = next((link.ifindex for link in every if link.name == self._settings.interface), -1)
            stale = [
                link.name
                for link in every
                if link.kind == "veth" and _OURS.match(link.name) and link.name not in keep
                if link.master == bridge or link.alias.startswith(self._alias(""))
            ]
            return [name for name in stale if links.delete(socket, name)]

    # --- veth pairs ------------------------------------------------------------------------------------------

    def _veth(self, endpoint: Endpoint, address: IPv4Interface) -> links.VethSpec:
        return links.VethSpec(
            host_name=endpoint.host_interface,
            alias=self._alias(endpoint.container_id),
            bridge=self._settings.interface,
            netns=endpoint.netns,
            inner_name=endpoint.interface,
            address=address,
            gateway=endpoint.gateway,
            mac=endpoint.mac,
            mtu=self._settings.mtu,
        )

    def _make_veth(self, spec: links.VethSpec) -> None:
        """Make the pair; one left by a crash goes first, and if the bridge has vanished under us, it is made again."""
        try:
            with links.netlink() as socket:
                links.make_veth(socket, spec)
            return
        except links.LinkError as error:
            if error.errno not in (errno.EEXIST, errno.ENODEV):
                raise
        self._make_bridge(self._choose())
        with links.netlink() as socket:
            links.delete(socket, spec.host_name)
            links.make_veth(socket, spec)

    def _delete_veth(self, name: str) -> None:
        with links.netlink() as socket:
            links.delete(socket, name)

    def _alias(self, container_id: str) -> str:
        return f"corten {self._settings.interface} {container_id[:64]}"

    # --- published ports -------------------------------------------------------------------------------------

    def _publish(self, endpoint: Endpoint) -> None:
        wanted = _targets([endpoint])
        if not wanted:
            return
        with self._lock, contextlib.ExitStack() as undo:
            for place, to in wanted.items():
                self._check_free(place, to)
                if place not in self._published:
                    undo.callback(self._ports.release, place)
                self._ports.hold(place)
            self._apply({**self._published, **wanted}, add=wanted)
            undo.pop_all()
        for place in wanted:
            if place.protocol == "udp":
                conntrack.forget_flows_to_port(place.port)

    def _check_free(self, place: HostPort, to: rules.Target) -> None:
        for other, owner in self._published.items():
            if other.overlaps(place) and (other, owner.address) != (place, to.address):
                raise Conflict(
                    f"Bind for {place.address}:{place.port} failed: port is already allocated",
                    hint="another container publishes it; choose another host port or stop that container",
                    subject=str(place),
                )

    def _withdraw(self, endpoint: Endpoint) -> None:
        with self._lock:
            gone = {place for place, to in _targets([endpoint]).items() if self._published.get(place) == to}
            if gone:
                rest = {place: to for place, to in self._published.items() if place not in gone}
                self._apply(rest, withdraw=gone)
        if any(place.protocol == "udp" for place in gone):
            conntrack.forget_flows_of(endpoint.address)

    def _replace_published(self, live: Iterable[Endpoint]) -> None:
        """Make the table and the held ports those of `live`. A port that another program took while we were away stays
        published (the container still expects it), which is said."""
        published = _targets(live)
        self._apply(published)
        for place in published:
            try:
                self._ports.hold(place)
            except Conflict as error:
                log.warning("published port is also bound elsewhere", extra={"fields": {"error": error.message}})

    def _apply(
        self,
        published: dict[HostPort, rules.Target],
        add: rules.Published | None = None,
        withdraw: Iterable[HostPort] = (),
    ) -> None:
        """Make the kernel's rules those of `published`: by the change alone where given and possible, else the whole
        table in one transaction (at start, and after somebody flushed the rules)."""
        try:
            if add is None and not withdraw:
                raise RulesRefused("no change given")
            self._nft.run(rules.change(self._table, add or {}, withdraw))
        except RulesRefused:
            bridge = rules.Bridge(self._settings.interface, self._choose())
            self._nft.run(rules.replace(self._table, [bridge], published))
        for place in self._published.keys() - published.keys():
            self._ports.release(place)
        self._published = published


def _targets(endpoints: Iterable[Endpoint]) -> dict[HostPort, rules.Target]:
    return {
        host_port(mapping): rules.Target(endpoint.address, mapping.container_port)
        for endpoint in endpoints
        for mapping in endpoint.ports
    }


def _address_in(endpoint: Endpoint, subnet: IPv4Network) -> str:
    if IPv4Interface(endpoint.address).ip not in subnet:
        raise Conflict(
            f"address {endpoint.address} of container {endpoint.container_id[:12]} is not in the bridge's {subnet}",
            hint="restart the container, or set `subnet` of the bridge network back",
            subject=endpoint.container_id,
        )
    return endpoint.address


def _veth_name(endpoint: Endpoint) -> str:
    """Known before it is made, so that a crash in between leaves something that can be found."""
    return "cv" + hashlib.sha256(f"{endpoint.container_id}/{endpoint.network}".encode()).hexdigest()[:11]
