"""What is there before, between and after: namespaces, restarts, lost rules, failures half-way, nothing left behind."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path

import pytest

from corten_shared.errors import Conflict, CortenError, InvalidArgument, NotFound, Unavailable
from corten_shared.models.container import PortMapping
from cortend.linux.netns import run_in_netns
from cortend.network import BridgeNetwork, BridgeSettings
from integration.network.world import HOST, World, ask, sh
from suites.network_driver import new_endpoint

pytestmark = pytest.mark.root


def kernel_state() -> tuple[object, ...]:
    """Interfaces, addresses, routes and rules of the host, without a carrier's state: the kernel updates it late."""
    lines = [line.split() for line in sh("ip", "-4", "-br", "addr").splitlines()]
    routes = sh("ip", "route").replace("linkdown", "").split()
    return interfaces(), [line[:1] + line[2:] for line in lines], routes, sh("nft", "list", "ruleset")


def interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def sysctl(key: str) -> str:
    with open(f"/proc/sys/net/{key}") as file:
        return file.read().strip()


def test_nothing_is_left_after_containers_came_and_went(world: World) -> None:
    def once() -> None:
        ports = [PortMapping(container_port=80, host_port=8080), PortMapping(container_port=53, protocol="udp")]
        endpoint = world.driver.connect(new_endpoint(world.driver, ports=ports))
        world.driver.disconnect(endpoint)
        world.driver.delete_namespace(endpoint.netns)

    once()
    before = (kernel_state(), open_files(), threading.active_count())
    for _ in range(5):
        once()
    assert (kernel_state(), open_files(), threading.active_count()) == before


def test_a_namespace_is_set_up_as_dockers(driver: BridgeNetwork) -> None:
    path = driver.create_namespace("one")

    def look() -> list[str]:
        keys = ("ipv4/ip_unprivileged_port_start", "ipv4/ping_group_range", "ipv6/conf/default/accept_ra")
        return [*map(sysctl, keys), sh("ip", "-br", "link")]

    start, groups, router_advertisements, interfaces = run_in_netns(path, look)
    assert (start, groups.split(), router_advertisements) == ("0", ["0", "2147483647"], "0")
    assert "LOOPBACK,UP" in interfaces
    driver.delete_namespace(path)


def test_a_namespace_left_by_a_crash_is_replaced(driver: BridgeNetwork, host: Path) -> None:
    path = driver.create_namespace("one")
    first = Path(path).stat().st_ino
    assert driver.create_namespace("one") == path == driver.namespace_path("one")
    assert Path(path).stat().st_ino != first
    driver.delete_namespace(path)
    (host / "netns" / "half").touch()
    driver.delete_namespace(str(host / "netns" / "half"))


def test_an_interface_is_configured_whole(world: World) -> None:
    container = world.container()
    shown = run_in_netns(container.netns, lambda: sh("ip", "addr", "show", "eth0") + sh("ip", "route"))
    assert f"inet {container.address}/24 brd 10.77.0.255" in shown
    assert f"link/ether {container.mac}" in shown
    assert "default via 10.77.0.1 dev eth0" in shown
    assert "inet6" not in shown
    outer = sh("ip", "-d", "link", "show", container.host_interface)
    assert "hairpin on" in outer
    assert f"alias corten corten0 {container.container_id}" in outer


def test_a_restarted_daemon_keeps_subnet_and_rules(host: Path) -> None:
    sh("ip", "route", "add", "blackhole", "10.77.0.0/16")
    first = BridgeNetwork(BridgeSettings(state_root=host))
    assert first.network().subnet == "10.78.0.0/16"
    first.ensure([])
    endpoint = first.connect(new_endpoint(first, ports=[PortMapping(container_port=80, host_port=8080)]))
    first.close()
    sh("ip", "route", "del", "blackhole", "10.77.0.0/16")
    before = kernel_state()
    second = BridgeNetwork(BridgeSettings(state_root=host))
    assert second.network().subnet == "10.78.0.0/16"
    second.ensure([endpoint])
    assert kernel_state() == before
    second.disconnect(endpoint)
    second.delete_namespace(endpoint.netns)
    second.close()


def test_the_subnet_can_be_asked_for_inside_an_event_loop(host: Path) -> None:
    async def ask_it() -> str:
        return BridgeNetwork(BridgeSettings(state_root=host)).network().subnet

    assert asyncio.run(ask_it()) == "10.77.0.0/16"


def test_ensure_brings_back_flushed_rules(world: World) -> None:
    container = world.container(PortMapping(container_port=80, host_port=8080))
    world.serve(container.netns, 80, "container")
    sh("nft", "flush", "ruleset")
    with pytest.raises(OSError):
        ask(world.outside, HOST, 8080)
    world.driver.ensure(world.endpoints)
    assert ask(world.outside, HOST, 8080).startswith("container")


def test_connect_brings_back_flushed_rules_of_every_container(world: World) -> None:
    one = world.container(PortMapping(container_port=80, host_port=8080))
    world.serve(one.netns, 80, "one")
    sh("nft", "flush", "ruleset")
    world.container(PortMapping(container_port=80, host_port=8081))
    assert ask(world.outside, HOST, 8080).startswith("one")


def test_a_deleted_bridge_comes_back_with_its_containers(world: World) -> None:
    container = world.container(PortMapping(container_port=80, host_port=8080))
    world.serve(container.netns, 80, "container")
    sh("ip", "link", "del", "corten0")
    world.driver.ensure(world.endpoints)
    assert ask(world.outside, HOST, 8080).startswith("container")
    sh("ip", "link", "del", "corten0")
    other = world.container()
    world.serve(None, 7000, "host")
    assert ask(other.netns, "10.77.0.1", 7000).startswith("host")


def test_other_tables_are_never_touched(world: World) -> None:
    sh("nft", "add table ip theirs; add chain ip theirs c { type filter hook forward priority 0; policy accept; }")
    before = sh("nft", "list", "table", "ip", "theirs")
    world.container(PortMapping(container_port=80, host_port=8080))
    world.driver.ensure(world.endpoints)
    world.driver.sweep([], [])
    world.driver.remove()
    assert sh("nft", "list", "ruleset").strip() == before.strip()


def test_two_daemons_live_side_by_side(world: World, host: Path) -> None:
    settings = BridgeSettings(host / "second", interface="corten1", table="corten-second")
    second = BridgeNetwork(settings)
    assert second.network().subnet == "10.78.0.0/16"
    second.ensure([])
    container = world.container(PortMapping(container_port=80, host_port=8080))
    world.serve(container.netns, 80, "first")
    assert second.sweep([], []) == []
    with pytest.raises(Conflict, match="port is already allocated"):
        second.allocate_ports([PortMapping(container_port=80, host_port=8080)], [])
    second.remove()
    second.close()
    assert ask(world.outside, HOST, 8080).startswith("first")


def test_networks_of_two_daemons_are_isolated_from_each_other(world: World, host: Path) -> None:
    second = BridgeNetwork(BridgeSettings(host / "second", interface="corten1", table="corten-second"))
    second.ensure([])
    theirs = second.connect(new_endpoint(second))
    ours = world.container()
    world.serve(ours.netns, 80, "ours")
    with pytest.raises(TimeoutError):
        ask(theirs.netns, ours.address, 80, timeout=0.4)
    second.disconnect(theirs)
    second.delete_namespace(theirs.netns)
    second.close()


def test_a_program_on_the_host_cannot_take_a_published_port(world: World) -> None:
    container = world.container(PortMapping(container_port=80, host_port=8080))
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("0.0.0.0", 8080)).close()
    world.driver.disconnect(container)
    socket.create_server(("0.0.0.0", 8080)).close()


def test_a_port_that_a_program_listens_on_cannot_be_published(world: World) -> None:
    with (
        socket.create_server(("127.0.0.1", 8080)),
        pytest.raises(Conflict, match=r"^Bind for 0\.0\.0\.0:8080 failed: port is already allocated$") as failure,
    ):
        world.driver.allocate_ports([PortMapping(container_port=80, host_port=8080)], [])
    assert "ss -lnp" in str(failure.value.hint)


def test_an_address_that_is_not_the_hosts_cannot_be_published_on(world: World) -> None:
    with pytest.raises(Conflict, match=r"^Bind for 203\.0\.113\.9:80 failed: cannot assign requested address$"):
        world.driver.allocate_ports([PortMapping(container_port=80, host_port=80, host_ip="203.0.113.9")], [])


def test_a_port_taken_in_between_leaves_nothing_of_the_connection(world: World) -> None:
    ports = [PortMapping(container_port=1, host_port=8080), PortMapping(container_port=2, host_port=8081)]
    endpoint = new_endpoint(world.driver, ports=ports)
    before = kernel_state()
    with socket.create_server(("0.0.0.0", 8081)), pytest.raises(Conflict, match="already allocated"):
        world.driver.connect(endpoint)
    assert kernel_state() == before
    socket.create_server(("0.0.0.0", 8080)).close()
    world.driver.delete_namespace(endpoint.netns)


def test_connecting_a_namespace_that_is_gone_leaves_nothing(world: World) -> None:
    endpoint = new_endpoint(world.driver)
    world.driver.delete_namespace(endpoint.netns)
    before = kernel_state()
    with pytest.raises(NotFound, match="network namespace"):
        world.driver.connect(endpoint)
    assert kernel_state() == before


def test_an_interface_of_another_kind_is_not_taken_over(host: Path) -> None:
    sh("ip", "link", "add", "corten0", "type", "veth", "peer", "name", "peer0")
    with pytest.raises(Unavailable, match="corten0 exists and is not a bridge"):
        BridgeNetwork(BridgeSettings(host)).ensure([])


def test_an_endpoint_of_another_subnet_is_refused(world: World) -> None:
    endpoint = new_endpoint(world.driver).model_copy(update={"address": "10.99.0.2"})
    for call in (lambda: world.driver.connect(endpoint), lambda: world.driver.ensure([endpoint])):
        with pytest.raises(Conflict, match=r"10\.99\.0\.2 .* is not in the bridge's 10\.77\.0\.0/24"):
            call()
    world.driver.delete_namespace(endpoint.netns)


def test_sweep_leaves_interfaces_of_others_alone(world: World) -> None:
    sh("ip", "link", "add", "cv0123456789a", "type", "veth", "peer", "name", "peer0")
    sh("ip", "link", "add", "tap7", "type", "veth", "peer", "name", "peer1")
    sh("ip", "link", "set", "tap7", "master", "corten0")
    assert world.driver.sweep([], []) == []
    assert "cv0123456789a" in sh("ip", "link")


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "a\0b", ".hidden", "x" * 200])
def test_a_name_that_is_no_plain_file_name_is_refused(driver: BridgeNetwork, name: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid network namespace name"):
        driver.create_namespace(name)


def test_only_own_namespaces_are_deleted(driver: BridgeNetwork, host: Path) -> None:
    for path in ("/etc/hostname", str(host / "netns" / ".." / "x"), str(host)):
        with pytest.raises(InvalidArgument, match="not a network namespace of this daemon"):
            driver.delete_namespace(path)


def test_many_threads_connect_at_once(world: World) -> None:
    taken: list[str] = []
    endpoints = []
    for index in range(8):
        ports = [PortMapping(container_port=80, host_port=9000 + index)]
        endpoints.append(new_endpoint(world.driver, taken, ports))
        taken.append(endpoints[-1].address)
    failures: list[CortenError] = []

    def connect(index: int) -> None:
        try:
            world.endpoints.append(world.driver.connect(endpoints[index]))
        except CortenError as error:
            failures.append(error)

    threads = [threading.Thread(target=connect, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for index, endpoint in enumerate(endpoints):
        world.serve(endpoint.netns, 80, f"c{index}")
        assert ask(world.outside, HOST, 9000 + index).startswith(f"c{index} ")
