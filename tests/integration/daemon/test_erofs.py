"""A daemon whose snapshots are EROFS images: pull to removal, through kills and what a reboot leaves."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cortend.linux.mount import unmount_all
from cortend.linux.mountinfo import mounts_below
from daemon import Cortend
from images import busybox_image, directory, make_layer, push_to_registry, write_docker_archive
from support_registry import Registry, registry_fixture

pytestmark = pytest.mark.root

__all__ = ["Registry", "registry_fixture"]

CONFIG = '[snapshots]\ndriver = "erofs"\n'


def test_a_container_from_pull_to_removal(make_cortend: Callable[..., Cortend], registry: Registry) -> None:
    daemon = make_cortend(CONFIG, image=False)
    marks = [("home/.wh..wh..opq", b""), ("etc/.wh.group", b"")]
    extra = make_layer([directory("opt"), *marks, ("opt/tool", b"x", 0o755)])
    push_to_registry(busybox_image(extra), registry.host, "erofs", "1")
    name = f"{registry.host}/erofs:1"
    daemon.corten("pull", name)
    images = list((daemon.root / "snapshots" / "erofs").glob("*/layer.erofs"))
    assert images and not list((daemon.root / "snapshots" / "overlayfs").glob("[0-9]*"))
    script = "echo new >/file && rm -r /opt && mkdir /opt && echo x >/opt/y && cat /file"
    shown = daemon.corten("run", "--rm", name, "sh", "-c", "ls /etc /opt").stdout.split()
    assert shown == [b"/etc:", b"hostname", b"hosts", b"passwd", b"resolv.conf", b"/opt:", b"tool"]
    assert daemon.corten("run", "--name", "one", name, "sh", "-c", script).stdout == b"new\n"
    changed = daemon.corten("diff", "one").stdout.decode().split("\n")
    assert {"A /file", "A /opt/y"} <= set(changed)
    daemon.corten("run", "-d", "--name", "lives", name, "sleep", "600")
    daemon.kill()
    daemon.start()
    assert daemon.corten("exec", "lives", "sh", "-c", "echo in").stdout == b"in\n"
    _reboot(daemon)
    assert daemon.corten("start", "-a", "one").stdout == b"new\n"
    daemon.corten("rm", "-f", "one", "lives")
    daemon.corten("rmi", name)
    daemon.cortenctl("gc")
    assert daemon.cortenctl("snapshots", "ls", "-q").stdout == b""
    assert list(mounts_below(daemon.root / "snapshots")) == []
    assert subprocess.run(["losetup", "-a"], capture_output=True).stdout.count(os.fsencode(daemon.root)) == 0


def _reboot(daemon: Cortend) -> None:
    """No mount and no process is left; the containers' end is what recovery finds out."""
    daemon.corten("kill", "lives")
    daemon.wait("lives")
    daemon.kill()
    for entry in list(mounts_below(daemon.base)):
        unmount_all(entry.target)
    daemon.start()


def test_layers_made_by_hand(make_cortend: Callable[..., Cortend], tmp_path: Path) -> None:
    """Every snapshotter is there beside the configured one; one that is committed shows on a mount."""
    daemon = make_cortend(CONFIG, image=False)
    ctl = daemon.cortenctl
    info = json.loads(ctl("info", "-o", "json").stdout)
    assert info["snapshotter"] == "erofs"
    ctl("snapshots", "prepare", "t-a")
    (mount,) = json.loads(ctl("snapshots", "mounts", "-o", "json", "/x", "t-a").stdout)
    (Path(mount["source"]) / "file").write_text("text")
    ctl("snapshots", "commit", "t-b", "t-a")
    ctl("snapshots", "view", "t-c", "t-b")
    subprocess.run(["sh", "-ec", ctl("snapshots", "mounts", str(tmp_path), "t-c").stdout.decode()], check=True)
    try:
        assert (tmp_path / "file").read_text() == "text"
        assert f"t-b is mounted on {tmp_path}" in _refused(ctl, "t-c", "t-b")
    finally:
        unmount_all(tmp_path)
    ctl("snapshots", "rm", "t-b")
    assert list(mounts_below(daemon.root / "snapshots")) == []


def _refused(ctl: Callable[..., subprocess.CompletedProcess[bytes]], view: str, key: str) -> str:
    """Why `key` cannot be removed when the view on it has gone, but is mounted still."""
    ctl("snapshots", "rm", view)
    return ctl("snapshots", "rm", key, check=False).stderr.decode()


@pytest.mark.soak
@pytest.mark.parametrize("driver", ["overlayfs", "erofs"])
def test_an_image_of_hundreds_of_layers(make_cortend: Callable[..., Cortend], tmp_path: Path, driver: str) -> None:
    """More than mount(2) has room to name."""
    daemon = make_cortend(f'[snapshots]\ndriver = "{driver}"\n', image=False)
    layers = [make_layer([(f"layer/{number}", b"x")], "none") for number in range(300)]
    write_docker_archive(busybox_image(*layers), tmp_path / "image.tar", ["many:1"])
    daemon.corten("load", "-i", str(tmp_path / "image.tar"), timeout=300)
    counted = daemon.corten("run", "--rm", "many:1", "sh", "-c", "ls /layer | wc -l").stdout
    assert counted == b"300\n"
    daemon.corten("rmi", "many:1")
    daemon.cortenctl("gc")
    assert list(mounts_below(daemon.root / "snapshots")) == []
