"""Sockets and locks of the daemon."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten_shared.errors import AlreadyExists
from cortend import listeners
from cortend.config import Api


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, because a socket's path may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="corten-") as name:
        yield Path(name)


def _api(folder: Path, **values: str) -> Api:
    return Api.model_validate({"socket": folder / "s", "group": "no-such-group", **values})


def test_socket_has_its_mode_and_is_removed_at_the_end(folder: Path) -> None:
    with listeners.unix_socket(_api(folder, mode="0600")) as sock:
        mode = (folder / "s").stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(folder / "s"))
            sock.accept()[0].close()
    assert not (folder / "s").exists()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="chown needs root")
def test_socket_belongs_to_the_group(folder: Path) -> None:
    with listeners.unix_socket(_api(folder, group="daemon")):
        found = (folder / "s").stat()
        assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (listeners.group_id("daemon"), 0o660)


def test_socket_of_a_daemon_that_died_is_replaced(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "s"))
    with listeners.unix_socket(_api(folder)):
        pass


def test_live_socket_is_never_stolen(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(folder / "s"))
        other.listen()
        with pytest.raises(AlreadyExists, match="another program listens"), listeners.unix_socket(_api(folder)):
            pass
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(folder / "s"))


def test_file_that_is_no_socket_is_left_alone(folder: Path) -> None:
    (folder / "s").write_text("precious")
    with pytest.raises(AlreadyExists, match="not a socket"), listeners.unix_socket(_api(folder)):
        pass
    assert (folder / "s").read_text() == "precious"


def test_socket_made_by_another_meanwhile_is_not_removed(folder: Path) -> None:
    with listeners.unix_socket(_api(folder)), socket.socket(socket.AF_UNIX) as other:
        (folder / "s").unlink()
        other.bind(str(folder / "s"))
    assert (folder / "s").exists()


def test_second_daemon_is_refused_with_the_firsts_pid(folder: Path) -> None:
    root, state = folder / "root", folder / "state"
    with (
        listeners.locked_roots(root, state, "no-such-group"),
        pytest.raises(AlreadyExists, match=rf"another cortend \(pid {os.getpid()}\) uses {root}"),
        listeners.locked_roots(root, folder / "other", "no-such-group"),
    ):
        pass
    with listeners.locked_roots(root, state, "no-such-group"):
        assert stat.S_IMODE(root.stat().st_mode) == 0o710


def test_lock_ends_with_its_process(folder: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from cortend.listeners import lock\n"
        f"with lock(Path({str(folder / 'lock')!r}), 'x'): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with listeners.lock(folder / "lock", "x"):
        pass


def test_lock_file_that_is_a_link_is_refused(folder: Path) -> None:
    (folder / "lock").symlink_to(folder / "target")
    with pytest.raises(Exception, match="cannot open"), listeners.lock(folder / "lock", "x"):
        pass
    assert not (folder / "target").exists()


PASSED = """
import os, socket, sys
from cortend.listeners import from_systemd
os.environ["LISTEN_PID"] = str(os.getpid())
found = from_systemd()
print([sock.getsockname() for sock in found], [sock.get_inheritable() for sock in found],
      sorted(key for key in os.environ if key.startswith("LISTEN_")))
"""


def _with_descriptor(sock: socket.socket) -> subprocess.CompletedProcess[str]:
    """Run PASSED with `sock` as descriptor 3, as systemd does it."""
    shell = f'exec 3<&{sock.fileno()}; exec "$0" -c "$1"'
    return subprocess.run(
        ["bash", "-c", shell, sys.executable, PASSED], pass_fds=[sock.fileno()], capture_output=True, text=True,
        check=False, env={**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "cortend.socket"},
    )  # fmt: skip


def test_sockets_of_systemd_are_taken_and_not_given_to_children(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "s"))
        sock.listen()
        assert _with_descriptor(sock).stdout.strip() == f"['{folder}/s'] [False] []"


def test_socket_that_does_not_listen_is_refused(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(folder / "s"))
        assert "not a listening stream socket" in _with_descriptor(sock).stderr


def test_descriptors_meant_for_another_process_are_ignored() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "x"}
    assert listeners.from_systemd(environ) == []
    assert environ == {}


def test_bad_number_of_descriptors_is_ignored() -> None:
    assert listeners.from_systemd({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"}) == []


def test_api_mode_is_checked() -> None:
    with pytest.raises(ValueError, match="mode"):
        Api.model_validate({"mode": "rw"})
