"""What systemd is told."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator

import pytest

from cortend.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, str]]:
    """A datagram socket and its address as in the environment."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        name = f"{folder}/n"
        sock.bind(name if request.param == "path" else "\0" + name)
        yield sock, name if request.param == "path" else "@" + name


def test_states_are_sent_as_systemd_reads_them(listener: tuple[socket.socket, str]) -> None:
    sock, address = listener
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.ready("serving")
    assert sock.recv(4096) == b"READY=1\nSTATUS=serving"
    notifier.reloading()
    assert sock.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    notifier.stopping()
    assert sock.recv(4096) == b"STOPPING=1\nSTATUS=stopping"
    notifier.alive()
    assert sock.recv(4096) == b"WATCHDOG=1"


def test_variables_are_taken_out_so_that_no_child_speaks_for_the_daemon() -> None:
    environ = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid()), "A": "b"}
    assert Notifier(environ).watchdog_seconds == 3.0
    assert environ == {"A": "b"}


@pytest.mark.parametrize("environ", [{}, {"WATCHDOG_USEC": "1"}, {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "x"},
                                     {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}])  # fmt: skip
def test_watchdog_is_for_this_process_only(environ: dict[str, str]) -> None:
    assert Notifier(environ).watchdog_seconds == 0


def test_nobody_listening_is_no_failure() -> None:
    Notifier({}).ready("x")
    Notifier({"NOTIFY_SOCKET": "/nonexistent/socket"}).ready("x")
