"""schemathesis against a daemon: through a door on loopback, into a daemon that has no network to reach anybody by."""

from __future__ import annotations

import contextlib
import ctypes
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from daemon import Cortend

_CLONE_NEWNET = 0x40000000
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def start_alone(daemon: Cortend) -> None:
    """Start a daemon in a network namespace of its own: whatever it is asked to fetch, it cannot."""

    def start() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.unshare(_CLONE_NEWNET) == 0, ctypes.get_errno()
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        daemon.start()

    with ThreadPoolExecutor(1) as pool:  # a thread that ends: no other work gets this namespace
        pool.submit(start).result()


@contextlib.contextmanager
def door(daemon: Cortend) -> Iterator[str]:
    """The native API's address on loopback, for a program that cannot use a unix socket."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        carriers: list[threading.Thread] = []

        def accept() -> None:
            with contextlib.suppress(OSError):  # closed: the end
                while True:
                    carriers.append(threading.Thread(target=_carry, args=(listener.accept()[0], str(daemon.socket))))
                    carriers[-1].start()

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (acceptor, *carriers):
                thread.join(30)


def _carry(outside: socket.socket, path: str) -> None:
    """Bytes both ways until one side ends."""
    with outside, socket.socket(socket.AF_UNIX) as inside, contextlib.suppress(OSError):
        inside.connect(path)
        while True:
            for ready in select.select([outside, inside], [], [])[0]:
                data = ready.recv(65536)
                if not data:
                    return
                (inside if ready is outside else outside).sendall(data)


def fuzz(
    document: Path, base: str, *, seconds: int, seed: int, checks: str = CHECKS, only: str = "", but: str = ""
) -> None:
    """Run schemathesis on the operations of a description whose path matches; fails with what it printed."""
    done = subprocess.run(
        [
            Path(sys.executable).parent / "schemathesis", "run", document, "--url", base,
            "--checks", checks, "--max-time", str(seconds), "--seed", str(seed), "--continue-on-failure",
            "--phases", "examples,coverage,fuzzing", "--request-timeout", "20", "--no-color",
            "--suppress-health-check", "all", "--warnings", "off",
            *(["--include-path-regex", only] if only else []),
            *(["--exclude-path-regex", but] if but else []),
        ],
        capture_output=True, text=True, timeout=seconds * 4 + 120, cwd=document.parent,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-12000:]}\n{done.stderr[-2000:]}"
