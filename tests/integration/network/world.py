"""A host to try the bridge on: a network namespace of the test's own, so that the machine is never touched.

The test's thread is *in* the host's namespace; a second namespace, `outside`, is another machine on the same wire.
Sockets belong to the namespace they were made in, so servers and clients need no processes.

    outside 198.18.0.2 ── 198.18.0.1 host 10.77.0.1 ── containers
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

from corten_shared.models.container import PortMapping
from corten_shared.models.network import Endpoint
from cortend.linux.netns import run_in_netns
from cortend.network import BridgeNetwork
from suites.network_driver import new_endpoint

HOST, OUTSIDE = "198.18.0.1", "198.18.0.2"
NEVER = 0.4
"""How long a packet that must not arrive is waited for, in seconds."""


def sh(*argv: str) -> str:
    """Run a command in the calling thread's namespace."""
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@dataclass
class Server:
    """Answers each connection or datagram with the peer's address as it sees it, and its own name."""

    name: str
    sock: socket.socket

    def loop(self) -> None:
        with contextlib.suppress(OSError):
            if self.sock.type == socket.SOCK_DGRAM:
                while peer := self.sock.recvfrom(64)[1]:
                    self.sock.sendto(f"{self.name} {peer[0]}".encode(), peer)
            while True:
                connection, peer = self.sock.accept()
                with connection:
                    connection.sendall(f"{self.name} {peer[0]}".encode())


@dataclass
class World:
    """The host, its neighbour, and the driver under test."""

    state: Path
    driver: BridgeNetwork
    outside: str
    endpoints: list[Endpoint] = field(default_factory=list)
    servers: list[tuple[Server, threading.Thread]] = field(default_factory=list)

    def container(self, *ports: PortMapping) -> Endpoint:
        endpoint = new_endpoint(self.driver, [each.address for each in self.endpoints], ports)
        endpoint = self.driver.connect(endpoint)
        self.endpoints.append(endpoint)
        return endpoint

    def serve(self, netns: str | None, port: int, name: str, *, address: str = "0.0.0.0", udp: bool = False) -> None:
        def listen() -> socket.socket:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
            if not udp:
                sock.listen()
            return sock

        server = Server(name, run_in_netns(netns, listen) if netns else listen())
        thread = threading.Thread(target=server.loop, daemon=True)
        thread.start()
        self.servers.append((server, thread))

    def stop_servers(self) -> None:
        for server, thread in self.servers:
            with contextlib.suppress(OSError):  # a datagram socket says it is not connected, and wakes up
                server.sock.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            server.sock.close()
        self.servers.clear()

    def close(self) -> None:
        self.stop_servers()
        for endpoint in self.endpoints:
            self.driver.disconnect(endpoint)
            self.driver.delete_namespace(endpoint.netns)
        self.driver.close()


def ask(netns: str | None, address: str, port: int, *, timeout: float = 5.0) -> str:
    """What a TCP server answers: `<name> <the address it saw>`; raises OSError when it cannot be reached."""

    def dial() -> str:
        with socket.create_connection((address, port), timeout) as sock:
            return sock.recv(100).decode()

    return run_in_netns(netns, dial) if netns else dial()


def ask_udp(
    netns: str | None, address: str, port: int, *, source: tuple[str, int] = ("", 0), timeout: float = 5.0
) -> str:
    """The same with one datagram."""

    def dial() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(source)
            sock.settimeout(timeout)
            sock.sendto(b"?", (address, port))
            return sock.recv(100).decode()

    return run_in_netns(netns, dial) if netns else dial()
