"""Fixtures: the host's namespace, the driver in it, and the world around it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cortend.linux.namespaces import CLONE_NEWNET, setns, unshare
from cortend.linux.netns import THREAD_NETNS, run_in_netns, set_interface_up, unpin_netns
from cortend.network import BridgeNetwork, BridgeSettings
from cortend.network.pins import NamespacePins
from integration.network.world import HOST, OUTSIDE, World, sh


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Path]:
    """The test's thread in a namespace of its own; yields a state directory. Checks that no pin is left."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make network namespaces")
    before = os.open(THREAD_NETNS, os.O_RDONLY | os.O_CLOEXEC)
    unshare(CLONE_NEWNET)
    try:
        set_interface_up("lo")
        yield tmp_path
        pins = tmp_path / "netns"
        left = list(pins.iterdir()) if pins.exists() else []
        for path in left:
            unpin_netns(str(path))
        assert left == []
    finally:
        setns(before, CLONE_NEWNET)
        os.close(before)


@pytest.fixture
def driver(host: Path) -> Iterator[BridgeNetwork]:
    """The bridge on the host, with a subnet small enough to be filled."""
    bridge = BridgeNetwork(BridgeSettings(state_root=host, subnet="10.77.0.0/24"))
    yield bridge
    bridge.close()


@pytest.fixture
def world(host: Path) -> Iterator[World]:
    """The host with a neighbour on its uplink and the bridge ready."""
    outside = NamespacePins(host / "machines").create("outside")
    sh("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1", "netns", outside)
    sh("ip", "addr", "add", f"{HOST}/24", "dev", "up0")
    sh("ip", "link", "set", "up0", "up")
    for line in (f"addr add {OUTSIDE}/24 dev up1", "link set up1 up", f"route add 10.77.0.0/24 via {HOST}"):
        run_in_netns(outside, lambda line=line: sh("ip", *line.split()))
    made = World(host, BridgeNetwork(BridgeSettings(state_root=host, subnet="10.77.0.0/24")), outside)
    made.driver.ensure([])
    try:
        yield made
    finally:
        made.close()
        unpin_netns(outside)
