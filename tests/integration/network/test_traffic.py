"""Who reaches whom: every path that must work, and every one that must not, with real packets."""

from __future__ import annotations

import pytest

from corten_shared.models.container import PortMapping
from cortend.linux.netns import run_in_netns
from integration.network.world import HOST, NEVER, OUTSIDE, World, ask, ask_udp, sh

pytestmark = pytest.mark.root
GATEWAY = "10.77.0.1"


def unreachable(netns: str | None, address: str, port: int) -> bool:
    """Whether nothing answers at all, or a refusal does."""
    try:
        ask(netns, address, port, timeout=NEVER)
    except (TimeoutError, ConnectionRefusedError, OSError):
        return True
    return False


def test_a_container_reaches_the_outside_with_the_hosts_address(world: World) -> None:
    world.serve(world.outside, 80, "outside")
    assert ask(world.container().netns, OUTSIDE, 80) == f"outside {HOST}"


def test_containers_reach_each_other_with_their_own_addresses(world: World) -> None:
    one, two = world.container(), world.container()
    world.serve(two.netns, 80, "two")
    assert ask(one.netns, two.address, 80) == f"two {one.address}"


def test_a_container_reaches_the_host_at_the_gateway(world: World) -> None:
    container = world.container()
    world.serve(None, 7000, "host")
    assert ask(container.netns, GATEWAY, 7000) == f"host {container.address}"


def test_the_host_reaches_a_container(world: World) -> None:
    container = world.container()
    world.serve(container.netns, 80, "container")
    assert ask(None, container.address, 80) == f"container {GATEWAY}"


def test_a_published_port_is_reached_from_outside_and_sees_who_calls(world: World) -> None:
    container = world.container(PortMapping(container_port=80, host_port=8080))
    world.serve(container.netns, 80, "container")
    assert ask(world.outside, HOST, 8080) == f"container {OUTSIDE}"


def test_a_random_published_port_is_reached(world: World) -> None:
    container = world.container(PortMapping(container_port=80))
    world.serve(container.netns, 80, "container")
    assert ask(world.outside, HOST, container.ports[0].host_port).startswith("container")


@pytest.mark.parametrize("address", ["127.0.0.1", HOST, GATEWAY])
def test_a_published_port_is_reached_from_the_host_at_each_of_its_addresses(world: World, address: str) -> None:
    container = world.container(PortMapping(container_port=80, host_port=8080))
    world.serve(container.netns, 80, "container")
    assert ask(None, address, 8080).startswith("container")


def test_a_published_port_is_reached_by_its_own_container_and_a_neighbour_through_the_host(world: World) -> None:
    container, neighbour = world.container(PortMapping(container_port=80, host_port=8080)), world.container()
    world.serve(container.netns, 80, "container")
    assert ask(container.netns, HOST, 8080).startswith("container")
    assert ask(neighbour.netns, HOST, 8080).startswith("container")
    assert ask(neighbour.netns, GATEWAY, 8080).startswith("container")


def test_a_port_published_on_one_address_is_not_on_another(world: World) -> None:
    container = world.container(PortMapping(container_port=80, host_port=8080, host_ip=HOST))
    world.serve(container.netns, 80, "container")
    assert ask(world.outside, HOST, 8080).startswith("container")
    with pytest.raises(ConnectionRefusedError):
        ask(None, "127.0.0.1", 8080)


def test_one_host_port_leads_to_two_containers_by_address(world: World) -> None:
    one = world.container(PortMapping(container_port=80, host_port=8080, host_ip=HOST))
    two = world.container(PortMapping(container_port=80, host_port=8080, host_ip="127.0.0.1"))
    world.serve(one.netns, 80, "one")
    world.serve(two.netns, 80, "two")
    assert ask(world.outside, HOST, 8080).startswith("one")
    assert ask(None, "127.0.0.1", 8080).startswith("two")


def test_an_unpublished_port_is_refused_at_the_host(world: World) -> None:
    container = world.container(PortMapping(container_port=80, host_port=8080))
    world.serve(container.netns, 81, "container")
    with pytest.raises(ConnectionRefusedError):
        ask(world.outside, HOST, 81)


def test_a_neighbour_of_the_host_cannot_route_to_a_container(world: World) -> None:
    """moby 14041, 45610: not to an unpublished port, and to a published one only through the host's address."""
    container = world.container(PortMapping(container_port=80, host_port=8080))
    world.serve(container.netns, 80, "container")
    world.serve(container.netns, 81, "container")
    assert unreachable(world.outside, container.address, 81)
    assert unreachable(world.outside, container.address, 80)
    sh("nft", "flush", "chain", "inet", "corten", "guard")
    assert unreachable(world.outside, container.address, 81), "the second line: only dnat passes inwards"
    sh("nft", "flush", "chain", "inet", "corten", "forward")
    assert ask(world.outside, container.address, 81).startswith("container"), "the path itself works"


def test_what_is_published_on_loopback_is_for_the_host_alone(world: World) -> None:
    container = world.container(PortMapping(container_port=80, host_port=8080, host_ip="127.0.0.1"))
    other = world.container()
    world.serve(container.netns, 80, "container")
    assert ask(None, "127.0.0.1", 8080) == f"container {GATEWAY}"
    for netns in (other.netns, world.outside):
        for address in (HOST, GATEWAY):
            assert unreachable(netns, address, 8080)


def _route_loopback_to(netns: str, via: str) -> None:
    """Make a machine send 127/8 over the wire, as an attacker would."""

    def rearrange() -> None:
        for interface in ("all", "default"):
            with open(f"/proc/sys/net/ipv4/conf/{interface}/route_localnet", "w") as file:
                file.write("1")
        sh("ip", "addr", "flush", "dev", "lo")
        sh("ip", "route", "add", "127.0.0.0/8", "via", via)

    run_in_netns(netns, rearrange)


def test_a_neighbour_cannot_reach_the_hosts_loopback(world: World) -> None:
    """CVE-2020-8558: neither a port published there nor a service of the host."""
    container = world.container(PortMapping(container_port=80, host_port=8080, host_ip="127.0.0.1"))
    world.serve(container.netns, 80, "container")
    world.serve(None, 7000, "host", address="127.0.0.1")
    with open("/proc/sys/net/ipv4/conf/up0/route_localnet", "w") as file:
        file.write("1")
    _route_loopback_to(world.outside, HOST)
    assert unreachable(world.outside, "127.0.0.1", 8080)
    assert unreachable(world.outside, "127.0.0.1", 7000)
    sh("nft", "flush", "chain", "inet", "corten", "guard")
    assert ask(world.outside, "127.0.0.1", 8080).startswith("container"), "the path itself works"


def test_a_container_cannot_reach_the_hosts_loopback(world: World) -> None:
    """`route_localnet` is on for the bridge; the rules are what keeps this shut."""
    container = world.container()
    world.serve(None, 7000, "host", address="127.0.0.1")
    _route_loopback_to(container.netns, GATEWAY)
    assert unreachable(container.netns, "127.0.0.1", 7000)
    sh("nft", "flush", "chain", "inet", "corten", "guard")
    assert ask(container.netns, "127.0.0.1", 7000).startswith("host"), "the path itself works"


def test_a_udp_port_is_published(world: World) -> None:
    container = world.container(PortMapping(container_port=53, host_port=5353, protocol="udp"))
    world.serve(container.netns, 53, "container", udp=True)
    assert ask_udp(world.outside, HOST, 5353) == f"container {OUTSIDE}"
    assert ask_udp(None, "127.0.0.1", 5353).startswith("container")


def test_a_udp_flow_follows_the_port_to_its_next_container(world: World) -> None:
    """The kernel remembers flows: a client that keeps its port would keep the dead container (moby 8795)."""
    mapping = PortMapping(container_port=53, host_port=5353, protocol="udp")
    before = world.container(mapping)
    world.serve(before.netns, 53, "before", udp=True)
    source = (OUTSIDE, 6000)
    assert ask_udp(world.outside, HOST, 5353, source=source).startswith("before")
    world.driver.disconnect(before)
    after = world.container(mapping)
    world.serve(after.netns, 53, "after", udp=True)
    assert ask_udp(world.outside, HOST, 5353, source=source).startswith("after")


def test_a_udp_flow_that_began_before_the_port_was_published_finds_it(world: World) -> None:
    world.serve(None, 5353, "host", udp=True)
    source = (OUTSIDE, 6000)
    assert ask_udp(world.outside, HOST, 5353, source=source).startswith("host")
    world.stop_servers()
    container = world.container(PortMapping(container_port=53, host_port=5353, protocol="udp"))
    world.serve(container.netns, 53, "container", udp=True)
    assert ask_udp(world.outside, HOST, 5353, source=source).startswith("container")


def test_a_withdrawn_port_is_refused(world: World) -> None:
    container = world.container(PortMapping(container_port=80, host_port=8080))
    world.serve(container.netns, 80, "container")
    assert ask(world.outside, HOST, 8080)
    world.driver.disconnect(container)
    with pytest.raises(ConnectionRefusedError):
        ask(world.outside, HOST, 8080)
