"""The power goes: what was acknowledged is whole afterwards, what was not is completed by the next attempt.

The short form runs with the other tests; `make soak` runs the rest of 50 cuts after an acknowledged pull and of 100 at
random moments.
"""

from __future__ import annotations

import hashlib
import os
import random
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crash.power import LoopDisk, PoweredDaemon
from daemon import eventually
from images import Image, busybox_entries, busybox_image, make_layer, make_tar, write_docker_archive
from support_registry import LyingRegistry

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("mkfs.ext4"), reason="needs mkfs.ext4"),
]

SEED = int(os.environ.get("CORTEN_SEED", secrets.randbelow(1 << 30)))
SHORT = {"acknowledged": 3, "random": 4}
LONG = {"acknowledged": 50, "random": 100}


def rounds(kind: str) -> list[object]:
    """The short form's numbers, and the long form's under `soak`."""
    long = [pytest.param(n, marks=pytest.mark.soak) for n in range(SHORT[kind], LONG[kind])]
    return [*range(SHORT[kind]), *long]


@pytest.fixture(scope="module")
def powered() -> Iterator[PoweredDaemon]:
    base = Path(tempfile.mkdtemp(prefix="corten-"))
    with LoopDisk(base) as disk:
        daemon = PoweredDaemon(base / "d", disk)
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.destroy()
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def liar() -> Iterator[LyingRegistry]:
    with LyingRegistry() as registry:
        yield registry


def files(seed: int, layer: int) -> list[tuple[str, bytes]]:
    """Files that no other round has: small ones, which a careless store loses, and one of some size."""
    rng = random.Random(f"{seed} {layer}")
    small = [(f"files/{layer}/{number}", rng.randbytes(rng.randrange(1, 6000))) for number in range(200)]
    return [*small, (f"files/{layer}/large", rng.randbytes(1 << 20))]


def image_of(seed: int) -> Image:
    return busybox_image(*(make_layer(files(seed, layer)) for layer in range(3)))


def expected(seed: int, layers: int = 3) -> list[str]:
    return sorted(
        f"{hashlib.sha256(data).hexdigest()}  /{name}" for layer in range(layers) for name, data in files(seed, layer)
    )


def check_whole(daemon: PoweredDaemon, name: str, seed: int, layers: int = 3) -> None:
    """The image is there, runs, and every byte of its files is what it was."""
    show = "find /files -type f -exec sha256sum {} +"
    said = daemon.corten("run", "--rm", "--pull", "never", name, "sh", "-c", show).stdout.decode()
    assert sorted(said.splitlines()) == expected(seed, layers)


def check_store(daemon: PoweredDaemon) -> None:
    """After one collection nothing is left over, and nothing in the store contradicts anything else, to the byte."""
    daemon.cortenctl("gc")
    done = daemon.cortenctl("system", "check", "--deep", check=False)
    assert done.returncode == 0, done.stdout.decode()


def empty(daemon: PoweredDaemon) -> None:
    """Remove every image, and wait until nothing of any is left."""
    if names := daemon.corten("images", "-q").stdout.decode().split():
        daemon.corten("rmi", "-f", *set(names))
    for lease in daemon.cortenctl("leases", "ls", "-q").stdout.decode().split():
        daemon.cortenctl("leases", "rm", lease)
    blobs = daemon.disk.inside(daemon.disk.path / "content/blobs/sha256")
    eventually(lambda: not os.listdir(blobs), "the blobs of removed images are collected")


@pytest.mark.parametrize("round_", rounds("acknowledged"))
def test_an_acknowledged_pull_is_whole(powered: PoweredDaemon, liar: LyingRegistry, round_: int) -> None:
    seed = SEED + round_
    name = f"{liar.host}/app:{round_}"
    liar.serve_image(image_of(seed), "app", str(round_))
    powered.corten("pull", name)
    powered.lose_power()
    powered.boot()
    check_store(powered)
    check_whole(powered, name, seed)
    empty(powered)


@pytest.mark.parametrize("round_", rounds("random"))
def test_a_cut_at_a_random_moment(powered: PoweredDaemon, liar: LyingRegistry, round_: int) -> None:
    seed = SEED - 1 - round_
    rng = random.Random(seed)
    print("seed", SEED)
    name = f"{liar.host}/app:{round_}"
    liar.serve_image(image_of(seed), "app", str(round_))
    client = powered.popen("pull", name)
    eventually(lambda: liar.requests, "the registry is asked")
    time.sleep(rng.uniform(0.0, 1.2))  # the moment is what is random
    acknowledged = client.poll() == 0
    powered.lose_power()
    client.communicate(timeout=60)
    powered.boot()
    check_store(powered)
    if acknowledged:
        check_whole(powered, name, seed)
    powered.corten("pull", name)
    check_whole(powered, name, seed)
    empty(powered)


def test_what_was_loaded_imported_and_created_is_whole(powered: PoweredDaemon, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    write_docker_archive(image_of(SEED), archive, ["loaded:1"])
    powered.corten("load", "-i", str(archive))
    powered.lose_power()
    powered.boot()
    check_whole(powered, "loaded:1", SEED)
    powered.corten("import", "-", "imported:1", input=make_tar([*busybox_entries(), *files(SEED, 0)]))
    powered.lose_power()
    powered.boot()
    check_whole(powered, "imported:1", SEED, layers=1)
    with powered.api() as api:
        assert api.request("POST", "/volumes/create", body={"Name": "kept"}).json()["Name"] == "kept"
    powered.corten("create", "--name", "made", "-v", "kept:/data", "loaded:1", "sh", "-c", "cat /files/0/7 >/data/7")
    powered.lose_power()
    powered.boot()
    check_store(powered)
    powered.corten("start", "-a", "made")
    copied = powered.disk.inside(powered.disk.path / "volumes/default/kept/_data/7")
    assert copied.read_bytes() == dict(files(SEED, 0))["files/0/7"]
    powered.corten("rm", "made")
    with powered.api() as api:
        api.request("DELETE", "/volumes/kept").read()
    powered.lose_power()
    powered.boot()
    assert powered.corten("ps", "-aq").stdout == b""
    with powered.api() as api:
        assert not api.request("GET", "/volumes").json()["Volumes"]
    empty(powered)
