"""The daemon as a program: configuration, sockets, signals, two of them side by side."""

from __future__ import annotations

import grp
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon import BIN, Cortend, eventually

pytestmark = pytest.mark.root

MakeCortend = Callable[..., Cortend]


def cortend_says(*args: str | Path) -> tuple[int, str, str]:
    done = subprocess.run([BIN / "cortend", *args], capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


# -- configuration ----------------------------------------------------------------------------------------------------


def test_an_unknown_key_is_refused_with_its_line_and_nothing_is_made(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'root = "{tmp_path}/root"\nstate = "{tmp_path}/state"\n\n[api]\nsocked = "/x"\n')
    code, out, err = cortend_says("--config", config)
    assert (code, out) == (1, "")
    assert err.startswith(f"cortend: {config}:5: unknown key 'api.socked' (did you mean 'socket'?)")
    assert err.count("\n") == 1
    assert os.listdir(tmp_path) == ["config.toml"]


def test_the_printed_defaults_are_a_configuration(tmp_path: Path) -> None:
    code, text, _ = cortend_says("config", "default")
    assert code == 0
    config = tmp_path / "config.toml"
    config.write_text(text)
    assert cortend_says("config", "check", "--config", config) == (0, f"{config}: ok\n", "")
    config.write_text(text + "\n[gc]\n")
    code, _, err = cortend_says("config", "check", "--config", config)
    assert code == 1 and str(config) in err and err.count("\n") == 1


# -- sockets and roots ------------------------------------------------------------------------------------------------


def test_the_socket_is_for_root_and_the_group(cortend: Cortend) -> None:
    found = cortend.socket.stat()
    assert stat.filemode(found.st_mode) == "srw-rw----"
    try:
        group = grp.getgrnam("corten").gr_gid
    except KeyError:
        group = 0
    assert (found.st_uid, found.st_gid) == (0, group)


def test_nobody_else_gets_through_the_socket(cortend: Cortend) -> None:
    base = cortend.base.stat().st_mode
    cortend.base.chmod(0o755)
    try:
        script = f"import socket; socket.socket(socket.AF_UNIX).connect({str(cortend.socket)!r})"
        done = subprocess.run(["python3", "-c", script], capture_output=True, user=65534, group=65534)
    finally:
        cortend.base.chmod(stat.S_IMODE(base))
    assert done.returncode == 1
    assert b"PermissionError" in done.stderr


def test_data_and_state_are_closed_to_others(cortend: Cortend) -> None:
    for path in (cortend.root, cortend.state):
        assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0, path


def test_a_second_daemon_on_the_same_root_is_refused_in_one_line(cortend: Cortend, tmp_path: Path) -> None:
    for key, value in (("root", cortend.root), ("state", cortend.state)):
        config = tmp_path / f"{key}.toml"
        paths = {"root": tmp_path / "root", "state": tmp_path / "state", key: value}
        config.write_text(
            f'root = "{paths["root"]}"\nstate = "{paths["state"]}"\n[api]\nsocket = "{tmp_path}/c.sock"\n'
        )
        code, _, err = cortend_says("--config", config)
        assert code == 1
        assert err.startswith(f"cortend: another cortend (pid {cortend.pid}) uses {value} (")
        assert err.count("\n") == 1
    cortend.corten("version")


def test_two_daemons_side_by_side_know_nothing_of_each_other(
    cortend: Cortend, make_cortend: MakeCortend, busybox_tar: bytes
) -> None:
    other = make_cortend()
    for daemon in (cortend, other):
        daemon.corten("run", "-d", "--name", "same-name", "-p", "127.0.0.1::80", "busybox", "sleep", "1000")
    addresses = {daemon.inspect("same-name")["NetworkSettings"]["IPAddress"] for daemon in (cortend, other)}
    ports = {daemon.corten("port", "same-name", "80").stdout for daemon in (cortend, other)}
    assert len(addresses) == len(ports) == 2
    other.restart()  # its sweep must not take what belongs to the first
    assert cortend.corten("exec", "same-name", "echo", "alive").stdout == b"alive\n"
    assert other.corten("exec", "same-name", "echo", "alive").stdout == b"alive\n"
    cortend.corten("rm", "-f", "same-name")
    assert other.inspect("same-name")["State"]["Running"]


def test_a_socket_passed_by_systemd_is_served_and_left_where_it_is(make_cortend: MakeCortend, tmp_path: Path) -> None:
    daemon = make_cortend()
    daemon.stop()
    assert not daemon.socket.exists()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(daemon.socket))
        listener.listen(16)
        # A client may come before the daemon is there: it waits in the queue.
        early = daemon.popen("run", "--rm", "busybox", "echo", "queued")
        daemon.start(listener=listener)
        out, err = early.communicate(timeout=60)
        assert (early.returncode, out) == (0, b"queued\n"), err
        daemon.stop()
        assert daemon.socket.exists()
        daemon.start(listener=listener)
        daemon.corten("version")
        daemon.stop()
        daemon.socket.unlink()


def test_clients_say_in_one_line_that_the_daemon_is_down(tmp_path: Path) -> None:
    for argv in ([BIN / "corten", "-H", f"unix://{tmp_path}/c.sock", "ps"],
                 [BIN / "cortenctl", "--address", tmp_path / "c.sock", "tasks", "ls"]):  # fmt: skip
        done = subprocess.run(argv, capture_output=True, timeout=60)
        assert done.returncode != 0
        said = done.stderr.decode()
        assert said.count("\n") == 1 and f"{tmp_path}/c.sock" in said and "cortend" in said, said


# -- signals ----------------------------------------------------------------------------------------------------------


def test_sigterm_stops_serving_and_leaves_containers_running(make_cortend: MakeCortend) -> None:
    daemon = make_cortend()
    daemon.corten("run", "-d", "--name", "keeps-on", "busybox", "sleep", "1000")
    pid = daemon.inspect("keeps-on")["State"]["Pid"]
    follower = daemon.popen("logs", "-f", "keeps-on")
    assert daemon.stop() == 0
    follower.communicate(timeout=30)  # its stream is cut
    assert not daemon.socket.exists()
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x001000\x00"
    daemon.start()
    assert daemon.inspect("keeps-on")["State"]["Pid"] == pid


def test_hup_applies_what_can_change_and_names_what_cannot(make_cortend: MakeCortend) -> None:
    daemon = make_cortend("[containers]\nstop_timeout = 10\n", image=False)
    text = daemon.config.read_text()
    changed = text.replace('level = "debug"', 'level = "info"').replace("stop_timeout = 10", "stop_timeout = 3")
    daemon.config.write_text(changed + "[snapshots]\ndriver = 'native'\n")
    daemon.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
    daemon.await_log("configuration read again", "restart the daemon to change snapshots.driver")
    assert "containers.stop_timeout, log.level" in daemon.log_text()
    assert b"overlayfs" in daemon.corten("info", "--format", "{{.Driver}}").stdout


def test_hup_with_a_broken_file_is_refused_and_the_daemon_goes_on(make_cortend: MakeCortend) -> None:
    daemon = make_cortend(image=False)
    text = daemon.config.read_text()
    daemon.config.write_text(text + "nonsense = 1\n")
    daemon.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
    line = len(text.splitlines()) + 1
    daemon.await_log(f"reload refused, the configuration stays as it was: {daemon.config}:{line}: unknown key")
    daemon.corten("version")
    assert daemon.process is not None and daemon.process.poll() is None


def test_a_daemon_that_stops_during_a_pull_ends_in_time(make_cortend: MakeCortend) -> None:
    from images import busybox_image
    from support_registry import Answer, LyingRegistry

    daemon = make_cortend("", image=False)
    image = busybox_image()
    with LyingRegistry() as registry:
        registry.serve_image(image, "app")
        path = f"/v2/app/blobs/{image.layers[0].digest}"
        registry.on("GET", path, Answer(200, b"x", promise=len(image.layers[0].blob), stall=True))
        client = daemon.popen("pull", f"{registry.host}/app")
        eventually(lambda: registry.count("GET", path), "the layer was asked for")
        assert daemon.stop() == 0
        assert client.wait(30) != 0
        client.communicate()
