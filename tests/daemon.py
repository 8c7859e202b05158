"""A cortend of the tests' own: own root, state, socket, bridge, nft table and cgroup parent.

It is the real daemon, started as a user starts it, from the environment that runs the tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from corten.transport import Transport

BIN = Path(sys.executable).parent
READY_WITHIN = 30.0
_count = 0

# What systemd does between fork and exec: the socket becomes descriptor 3, and the variables say for whom.
_ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Cortend:
    """One daemon and its files. `start` returns when it is ready (it says so through NOTIFY_SOCKET, as to systemd)."""

    def __init__(self, base: Path, *, config: str = "") -> None:
        global _count
        _count += 1
        self.tag = f"t{os.getpid() % 10000}{_count}"
        self.base = base
        self.root = base / "root"
        self.state = base / "state"
        self.socket = base / "c.sock"
        self.config = base / "config.toml"
        self.log = base / "cortend.log"
        self.cgroup = f"/corten-{self.tag}"
        self.bridge = f"ct{self.tag}"
        self.table = f"corten_{self.tag}"
        self.process: subprocess.Popen[bytes] | None = None
        self.prefix: list[str] = []  # a program that executes the daemon, in a namespace for instance
        base.mkdir(parents=True, exist_ok=True)
        self.config.write_text(f'{self._config()}[log]\nlevel = "debug"\n{config}')

    def _config(self) -> str:
        # A subnet of this daemon's own: daemons of one run, and runs on one machine, go side by side.
        subnet = f"10.{200 + os.getpid() % 50}.{_count % 250}.0/24"
        return (
            f'root = "{self.root}"\nstate = "{self.state}"\n'
            f'[api]\nsocket = "{self.socket}"\n'
            f'[runtime]\ncgroup_parent = "{self.cgroup}"\n'
            f'[network]\nbridge = "{self.bridge}"\nnft_table = "{self.table}"\nsubnet = "{subnet}"\n'
        )

    @property
    def host(self) -> str:
        """What DOCKER_HOST would say."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        assert self.process is not None
        return self.process.pid

    def start(
        self,
        *flags: str,
        env: Mapping[str, str] | None = None,
        listener: socket.socket | None = None,
    ) -> None:
        """Start it and return once it said READY=1; with a `listener` as systemd's socket activation does."""
        with contextlib.ExitStack() as stack:
            notify = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC))
            address = f"\0corten-test-{self.tag}-{time.monotonic_ns()}"
            notify.bind(address)
            notify.settimeout(READY_WITHIN)
            log = stack.enter_context(self.log.open("ab"))
            argv = [*self.prefix, str(BIN / "cortend"), "--config", str(self.config), "--log-format", "text", *flags]
            pass_fds: list[int] = []
            if listener is not None:
                argv = [sys.executable, "-c", _ACTIVATE, str(listener.fileno()), *argv]
                pass_fds.append(listener.fileno())
            self.process = subprocess.Popen(
                argv,
                pass_fds=pass_fds,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {}), "NOTIFY_SOCKET": "@" + address[1:]},
                start_new_session=True,
            )
            self._await_ready(notify)

    def _await_ready(self, notify: socket.socket) -> None:
        assert self.process is not None
        pidfd = os.pidfd_open(self.process.pid)
        try:
            poll = select.poll()
            poll.register(notify, select.POLLIN)
            poll.register(pidfd, select.POLLIN)
            deadline = time.monotonic() + READY_WITHIN
            while time.monotonic() < deadline:
                for fd, _ in poll.poll(1000):
                    if fd == pidfd:
                        raise AssertionError(f"cortend ended at start:\n{self.log_text()[-4000:]}")
                    if b"READY=1" in notify.recv(65536):
                        return
            raise AssertionError(f"cortend is not ready after {READY_WITHIN} s:\n{self.log_text()[-4000:]}")
        finally:
            os.close(pidfd)

    def spawn(self) -> None:
        """Start it and do not wait: for a test that ends it while it starts."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [BIN / "cortend", "--config", self.config, "--log-format", "text"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """kill -9, and wait for the end."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)
        self.process = None

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self.process = None
        return code

    def restart(self) -> None:
        """SIGTERM and start again."""
        self.stop()
        self.start()

    def api(self) -> Transport:
        """A connection to the Engine API, for what no command line says."""
        return Transport(self.host)

    def wait(self, *names: str, timeout: float = 30) -> list[int]:
        """The exit codes of containers, once they have ended."""
        return [int(code) for code in self.corten("wait", *names, timeout=timeout).stdout.split()]

    def await_event(self, name: str, action: str, *, since: float) -> dict[str, Any]:
        """The first event of `action` on the container `name` that came after `since` (seconds)."""
        filters = json.dumps({"container": {name: True}, "event": {action: True}})
        with self.api() as api:
            reply = api.request("GET", "/events", query={"since": f"{since:.9f}", "filters": filters})
            found: dict[str, Any] = next(iter(reply.json_lines()))
            return found

    def remove_all(self) -> None:
        """Remove every container, and every volume."""
        if left := self.corten("ps", "-aq").stdout.split():
            self.corten("rm", "-fv", *(name.decode() for name in left))
        with self.api() as api:
            for volume in api.request("GET", "/volumes").json()["Volumes"] or ():
                api.request("DELETE", f"/volumes/{volume['Name']}", query={"force": True}).close()

    def await_log(self, *wanted: str) -> None:
        """Return once the daemon's log has all of these texts."""
        eventually(lambda: all(text in self.log_text() for text in wanted), f"{wanted} in the log")

    def log_text(self) -> str:
        """The daemon's log so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def popen(self, *args: str, **given: Any) -> subprocess.Popen[bytes]:
        """Start `corten` with pipes, for a test that talks to it."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([str(BIN / "corten"), "-H", self.host, *args], **{**pipes, **given})

    def corten(
        self,
        *args: str,
        check: bool = True,
        input: bytes | None = None,
        timeout: float = 60,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `corten` against this daemon."""
        return self._run([str(BIN / "corten"), "-H", self.host, *args], check, input, timeout, env)

    def cortenctl(
        self, *args: str, check: bool = True, input: bytes | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `cortenctl` against this daemon."""
        return self._run([str(BIN / "cortenctl"), "--address", str(self.socket), *args], check, input, timeout, None)

    def docker(
        self, *args: str, check: bool = True, input: bytes | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the real docker CLI against this daemon."""
        docker = shutil.which("docker")
        assert docker is not None
        env = {"DOCKER_CONFIG": str(self.base / "docker-config")}
        return self._run([docker, "-H", self.host, *args], check, input, timeout, env)

    def _run(
        self, argv: list[str], check: bool, input: bytes | None, timeout: float, env: Mapping[str, str] | None
    ) -> subprocess.CompletedProcess[bytes]:
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        done = subprocess.run(
            argv, capture_output=True, timeout=timeout, env={**os.environ, **(env or {})}, **given
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"{' '.join(argv)} -> {done.returncode}\n{done.stdout.decode(errors='replace')}"
                f"{done.stderr.decode(errors='replace')}\n--- log ---\n{self.log_text()[-3000:]}"
            )
        return done

    def inspect(self, name: str) -> dict[str, Any]:
        """`corten inspect` of one container."""
        found: list[dict[str, Any]] = json.loads(self.corten("inspect", name).stdout)
        return found[0]

    def destroy(self) -> None:
        """Remove every container, stop the daemon, and take away what it made on this machine."""
        if self.process is not None and self.process.poll() is not None:
            self.process = None
        if self.process is None:
            with contextlib.suppress(AssertionError):
                self.start()
        if self.process is not None:
            ids = self.corten("ps", "-aq", check=False).stdout.decode().split()
            if ids:
                self.corten("rm", "-f", *ids, check=False, timeout=120)
            self.stop()
        subprocess.run(["ip", "link", "del", self.bridge], capture_output=True)
        subprocess.run(["nft", "delete", "table", "inet", self.table], capture_output=True)
        self._unmount()
        _remove_cgroups(self.cgroup)

    def _unmount(self) -> None:
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for mount in sorted((m for m in mounts if m.startswith(f"{self.base}/")), reverse=True):
            subprocess.run(["umount", "-l", mount], capture_output=True)


def eventually(holds: Callable[[], Any], what: str, within: float = 30.0) -> Any:
    """What `holds` returns once it is true; for states of the machine that nothing announces."""
    deadline = time.monotonic() + within
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(0.02)
    return found


def _remove_cgroups(name: str) -> None:
    for top in Path("/sys/fs/cgroup").glob("*"):
        group = top / name[1:]
        if group.is_dir():
            for directory, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    Path(directory).rmdir()


@contextlib.contextmanager
def running(config: str = "") -> Iterator[Cortend]:
    """A daemon in a directory of its own, gone with everything at the end."""
    base = Path(tempfile.mkdtemp(prefix="corten-"))
    daemon = Cortend(base, config=config)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.destroy()
        shutil.rmtree(base, ignore_errors=True)
