"""`cortenctl snapshots` and `images mount`, against the real daemon, on each snapshotter."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import corten
from corten_shared.models.snapshot import Mount
from cortend.linux.mount import mount_all, unmount_all
from daemon import Cortend

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("client")]

Ctl = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture(params=["overlayfs", "native", "erofs"])
def ctl(request: pytest.FixtureRequest, cortend: Cortend) -> Iterator[Ctl]:
    """`cortenctl snapshots VERB -s SNAPSHOTTER ...`; whatever a test makes by a name with `t-` is removed."""

    def call(verb: str, *words: str, **given: object) -> subprocess.CompletedProcess[bytes]:
        return cortend.cortenctl("snapshots", verb, "-s", request.param, *words, **given)  # type: ignore[arg-type]

    yield call
    for key in reversed(call("tree", "-q").stdout.decode().split()):
        if key.startswith("t-"):
            call("rm", key)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    """A directory to mount on; nothing is mounted there afterwards, whatever becomes of the test."""
    path = tmp_path / "mnt"
    path.mkdir()
    yield path
    unmount_all(path)


def test_a_layer_is_made_by_hand_as_with_ctr(ctl: Ctl, target: Path) -> None:
    command = ctl("prepare", "-t", str(target), "t-one").stdout.decode()
    subprocess.run(["sh", "-ec", command], check=True)
    (target / "file").write_text("text")
    done = ctl("rm", "t-one", check=False)
    assert done.returncode == 1
    assert f"snapshot t-one is mounted on {target}" in done.stderr.decode()
    unmount_all(target)
    assert ctl("commit", "t-base", "t-one").stdout == b"t-base\n"
    assert ctl("view", "t-look", "t-base").stdout == b"t-look\n"
    subprocess.run(["sh", "-ec", ctl("mounts", str(target), "t-look").stdout.decode()], check=True)
    try:
        assert (target / "file").read_text() == "text"
        with pytest.raises(OSError, match="Read-only"):
            (target / "new").touch()
    finally:
        unmount_all(target)
    done = ctl("rm", "t-base", check=False)
    assert "snapshot t-base is the parent of t-look" in done.stderr.decode()
    assert "remove the snapshots made on it first" in done.stderr.decode()


def test_labels_usage_and_the_tree(ctl: Ctl) -> None:
    ctl("prepare", "--label", "a=b", "t-key")
    info = json.loads(ctl("info", "t-key").stdout)
    assert (info["kind"], info["labels"]) == ("active", {"a": "b", "gc.root": "cortenctl"})
    assert json.loads(ctl("label", "t-key", "a=", "c=d").stdout)["labels"] == {"c": "d", "gc.root": "cortenctl"}
    ctl("commit", "t-name", "t-key")
    mounts = json.loads(ctl("prepare", "--mounts", "t-top", "t-name").stdout)
    assert mounts[0]["type"] in ("overlay", "bind")
    key, size, inodes = ctl("usage", "-b", "t-name").stdout.decode().splitlines()[1].split()
    assert (key, int(size) >= 4096, int(inodes)) == ("t-name", True, 1)
    lines = ctl("tree").stdout.decode().splitlines()
    assert lines[lines.index("t-name") + 1] == " \\_ t-top (active)"
    depths = {found["name"]: found["depth"] for found in json.loads(ctl("tree", "-o", "json").stdout)}
    assert (depths["t-name"], depths["t-top"]) == (0, 1)
    assert ctl("cleanup").returncode == 0


def test_a_diff_is_a_layer(ctl: Ctl, cortend: Cortend, tmp_path: Path) -> None:
    """From a parent, between two, and back into content."""

    def fill(key: str, parent: str = "") -> Path:
        mounts = json.loads(ctl("prepare", "--mounts", key, *([parent] if parent else [])).stdout)
        mount_all([Mount(**mount) for mount in mounts], tmp_path)
        return tmp_path

    try:
        (fill("t-a") / "old").write_text("1")
        unmount_all(tmp_path)
        ctl("commit", "t-base", "t-a")
        fill("t-b", "t-base")
        (tmp_path / "old").unlink()
        (tmp_path / "new").write_text("2")
    finally:
        unmount_all(tmp_path)
    plain = "application/vnd.oci.image.layer.v1.tar"
    for words in ("t-b",), ("t-base", "t-b"):
        made = ctl("diff", "--media-type", plain, *words).stdout
        with tarfile.open(fileobj=io.BytesIO(made)) as tar:
            assert {"new", ".wh.old"} <= set(tar.getnames())
    done = ctl("diff", "--keep", "--label", "a=b", "t-b")
    digest = done.stderr.decode().strip()
    assert cortend.cortenctl("content", "get", digest).stdout == done.stdout
    assert json.loads(cortend.cortenctl("content", "info", digest).stdout)["labels"]["a"] == "b"
    assert gzip.decompress(done.stdout) == made
    cortend.cortenctl("content", "rm", digest)
    assert "not a layer's media type" in ctl("diff", "--media-type", "x", "t-b", check=False).stderr.decode()


def test_a_containers_snapshot_is_not_taken_away(cortend: Cortend) -> None:
    cortend.corten("create", "--name", "keeper", "busybox", "true")
    (key,) = (
        found["name"]
        for found in json.loads(cortend.cortenctl("snapshots", "ls", "-o", "json").stdout)
        if found["kind"] == "active"
    )
    done = cortend.cortenctl("snapshots", "rm", key, check=False)
    assert "is the root file system of container keeper" in done.stderr.decode()


def test_an_image_in_content_is_unpacked(ctl: Ctl, cortend: Cortend, client: corten.Client) -> None:
    (record,) = (found for found in client.images.list() if found.name.endswith("/busybox:latest"))
    top = ctl("unpack", "-q", record.target.digest).stdout.decode().strip()
    assert top in ctl("ls", "-q").stdout.decode().split()
    assert ctl("unpack", record.target.digest).stdout.decode().splitlines()[-1] == top
    done = ctl("unpack", "sha256:" + "0" * 64, check=False)
    assert done.returncode == 1


@pytest.mark.parametrize("driver", ["overlayfs", "erofs"])
def test_an_image_is_mounted_and_outlives_the_daemon(
    target: Path, make_cortend: Callable[..., Cortend], driver: str
) -> None:
    daemon = make_cortend(f'[snapshots]\ndriver = "{driver}"\n')
    ctl = daemon.cortenctl
    assert ctl("images", "mount", "busybox", str(target)).stdout.decode() == f"{target}\n"
    assert (target / "bin" / "busybox").exists()
    with pytest.raises(OSError, match="Read-only"):
        (target / "new").touch()
    done = ctl("images", "mount", "busybox", str(target), check=False)
    assert "something is mounted on" in done.stderr.decode()
    assert f"mounted on {target}" in ctl("snapshots", "rm", str(target), check=False).stderr.decode()
    daemon.corten("rmi", "-f", "busybox")
    daemon.kill()
    daemon.start()
    ctl("gc")
    assert (target / "bin" / "busybox").exists()
    ctl("images", "unmount", str(target))
    assert os.listdir(target) == []
    ctl("gc")
    assert ctl("snapshots", "ls", "-q").stdout == b""
    assert ctl("leases", "ls", "-q").stdout == b""
    done = ctl("images", "unmount", str(target), check=False)
    assert f"no image is mounted on {target}" in done.stderr.decode()


def test_an_image_is_mounted_by_every_snapshotter(target: Path, cortend: Cortend) -> None:
    for driver in ("overlayfs", "native", "erofs"):
        cortend.cortenctl("images", "mount", "--snapshotter", driver, "busybox", str(target))
        assert (target / "bin" / "busybox").exists()
        cortend.cortenctl("images", "unmount", str(target))
        assert os.listdir(target) == []


def test_a_writable_mount_keeps_what_was_written_only_when_asked_to(target: Path, cortend: Cortend) -> None:
    ctl = cortend.cortenctl
    for flags, kept in (["--keep"], True), ([], False):
        ctl("images", "mount", "--rw", "busybox", str(target))
        try:
            (target / "new").write_text("x")
        finally:
            ctl("images", "unmount", *flags, str(target))
        ctl("images", "mount", "--rw", "busybox", str(target))
        assert (target / "new").exists() is kept
        ctl("images", "unmount", str(target))


def test_many_threads_make_and_remove_one_anothers_parents(cortend: Cortend, client: corten.Client) -> None:
    """Whatever the order, each call succeeds or is refused with a reason, and what is left is whole."""
    bad: list[str] = []

    def work(number: int) -> None:
        def ctl(*words: str) -> None:
            done = cortend.cortenctl("snapshots", *words, check=False)
            text = done.stderr.decode()
            known = ("already exists", "No such snapshot", "is the parent of", "removed meanwhile", "can be a parent")
            if done.returncode and not any(word in text for word in known):
                bad.append(text)

        for turn in range(3):
            ctl("prepare", f"t-a{turn}")
            ctl("commit", f"t-b{turn}", f"t-a{turn}")
            ctl("view", f"t-c{turn}-{number}", f"t-b{turn}")
            ctl("rm", f"t-b{turn}")
            ctl("rm", f"t-c{turn}-{number}")
            ctl("rm", f"t-b{turn}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bad == []
    left = [found.name for found in client.snapshots.list() if found.name.startswith("t-")]
    for key in reversed(left):
        cortend.cortenctl("snapshots", "rm", key)
