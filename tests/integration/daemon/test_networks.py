"""Networks of containers through the daemon: reachability, published ports, and what is left of them."""

from __future__ import annotations

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from daemon import Cortend, eventually
from holdings import Holdings

pytestmark = pytest.mark.root

ANSWER = ("nc", "-ll", "-p", "80", "-e", "echo", "pong")


def serve(engine: Cortend, name: str, *flags: str) -> None:
    """A container that answers `pong` on its port 80, listening when this returns."""
    engine.corten("run", "-d", "--name", name, *flags, "busybox", *ANSWER)
    listening = "grep -q ':0050 .* 0A ' /proc/net/tcp /proc/net/tcp6"
    eventually(lambda: engine.corten("exec", name, "sh", "-c", listening, check=False).returncode == 0, "it listens")


def ask(host: str, port: int) -> bytes:
    """What is answered; nothing when nobody does."""
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            return connection.recv(100)
    except OSError:
        return b""


def port_of(engine: Cortend, name: str, inside: str = "80") -> tuple[str, int]:
    host, _, port = engine.corten("port", name, inside).stdout.decode().splitlines()[0].rpartition(":")
    return host, int(port)


def other_address() -> str:
    """An address of this machine that is not on loopback; nothing is sent."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def test_containers_reach_each_other_and_know_their_address(engine: Cortend) -> None:
    serve(engine, "server")
    address = engine.inspect("server")["NetworkSettings"]["IPAddress"]
    assert engine.corten("run", "--rm", "busybox", "nc", "-w", "5", address, "80").stdout == b"pong\n"
    hosts = engine.corten("exec", "server", "cat", "/etc/hosts").stdout.decode()
    assert f"{address}\t{engine.inspect('server')['Id'][:12]}" in hosts
    links = engine.corten("exec", "server", "ip", "-o", "link").stdout.decode().splitlines()
    assert len([line for line in links if ": lo:" in line or ": eth0@" in line]) == len(links) == 2


def test_none_has_loopback_alone(engine: Cortend) -> None:
    said = engine.corten("run", "--rm", "--network", "none", "busybox", "ip", "-o", "link").stdout.decode()
    assert len(said.splitlines()) == 1 and ": lo:" in said and "UP" in said


def test_host_shares_the_machines(engine: Cortend) -> None:
    script = "readlink /proc/self/ns/net; hostname"
    said = engine.corten("run", "--rm", "--network", "host", "busybox", "sh", "-c", script)
    assert said.stdout.decode().split() == [str(Path("/proc/self/ns/net").readlink()), socket.gethostname()]


def test_container_mode_shares_one_of_a_running_container(engine: Cortend) -> None:
    serve(engine, "first")
    joined = ["run", "--rm", "--network", "container:first", "busybox", "nc", "-w", "5", "127.0.0.1", "80"]
    assert engine.corten(*joined).stdout == b"pong\n"
    engine.corten("stop", "-t", "0", "first")
    done = engine.corten(*joined, check=False)
    assert done.returncode == 125 and b"cannot join network of a non running container" in done.stderr


def test_a_published_port_answers_on_every_address(engine: Cortend) -> None:
    serve(engine, "server", "-p", "80")
    host, port = port_of(engine, "server")
    assert host == "0.0.0.0" and port > 1023
    assert ask("127.0.0.1", port) == ask(other_address(), port) == b"pong\n"
    engine.corten("rm", "-f", "server")
    eventually(lambda: ask("127.0.0.1", port) == b"", "the port is closed")


def test_a_port_on_loopback_answers_there_alone(engine: Cortend) -> None:
    serve(engine, "server", "-p", "127.0.0.1::80")
    host, port = port_of(engine, "server")
    assert host == "127.0.0.1"
    assert ask("127.0.0.1", port) == b"pong\n"
    assert ask(other_address(), port) == b""


UDP_SERVER = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.bind(("0.0.0.0", 53))
    print("bound", flush=True)
    data, client = sock.recvfrom(100)
    sock.sendto(b"pong to " + data, client)
"""


def test_udp_is_published(engine: Cortend) -> None:
    engine.corten("run", "-d", "--name", "udp", "-p", "127.0.0.1::53/udp", "busybox", "sleep", "1000")
    host, port = port_of(engine, "udp", "53/udp")
    namespace = f"--net=/proc/{engine.inspect('udp')['State']['Pid']}/ns/net"
    # Debian's busybox knows no UDP: the server is ours, in the container's network.
    server = subprocess.Popen(["nsenter", namespace, sys.executable, "-c", UDP_SERVER], stdout=subprocess.PIPE)
    with server, closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        assert server.stdout is not None and server.stdout.readline() == b"bound\n"
        sock.settimeout(10)
        sock.sendto(b"ping", (host, port))
        assert sock.recv(100) == b"pong to ping"


def test_a_port_in_use_is_refused_in_dockers_words_and_nothing_stays(engine: Cortend) -> None:
    engine.corten("run", "-d", "--name", "holder", "-p", "127.0.0.1::80", "busybox", "sleep", "1000")
    _, port = port_of(engine, "holder")
    before = Holdings.of(engine)
    done = engine.corten("run", "--rm", "--name", "late", "-p", f"127.0.0.1:{port}:80", "busybox", "true", check=False)
    line = done.stderr.decode().splitlines()[0]
    assert done.returncode == 125
    assert "driver failed programming external connectivity on endpoint late" in line
    assert f"Bind for 127.0.0.1:{port} failed: port is already allocated" in line
    Holdings.settle(engine, before)
    # The same port of another program on this machine.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = engine.corten("run", "--rm", "-p", f"127.0.0.1:{port}:80", "busybox", "true", check=False)
        assert done.returncode == 125 and str(port) in done.stderr.decode()
    Holdings.settle(engine, before)


def test_many_containers_at_once_have_addresses_and_ports_of_their_own(engine: Cortend) -> None:
    before = Holdings.of(engine)

    def run(number: int) -> None:
        engine.corten("run", "-d", "--name", f"many{number}", "-p", "127.0.0.1::80", "busybox", "sleep", "1000")

    names = [f"many{number}" for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(run, range(12)))
    found = [engine.inspect(name)["NetworkSettings"] for name in names]
    assert len({settings["IPAddress"] for settings in found}) == 12
    assert len({settings["Ports"]["80/tcp"][0]["HostPort"] for settings in found}) == 12
    engine.corten("rm", "-f", *names)
    Holdings.settle(engine, before)
