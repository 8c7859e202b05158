"""kill -9 of the daemon at any moment: what was acknowledged is there, nothing half-made stays, a retry succeeds.

`CORTEN_SOAK=n` runs n rounds of the random part instead of a few; a failure names the seed, and `CORTEN_SEED` repeats
it as far as the kernel's scheduling allows.
"""

from __future__ import annotations

import os
import random
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import import_busybox
from corten.transport import Transport
from corten_shared.errors import CortenError
from daemon import Cortend, eventually, running
from holdings import Holdings
from images import Image, busybox_image, make_layer
from support_registry import Answer, LyingRegistry, ranged

pytestmark = pytest.mark.root

ROUNDS = int(os.environ.get("CORTEN_SOAK", "8"))
SEED = int(os.environ.get("CORTEN_SEED", secrets.randbelow(1 << 30)))
WORKERS = 3


@pytest.fixture(scope="module")
def mortal(busybox_tar: bytes) -> Iterator[Cortend]:
    with running("[gc]\ndelay = 0.05\n") as daemon:
        import_busybox(daemon, busybox_tar)
        yield daemon


@pytest.fixture
def before(mortal: Cortend) -> Holdings:
    """What the daemon holds without containers; its descriptors are another process's after each kill."""
    mortal.remove_all()
    drop_leases(mortal)
    return replace(Holdings.when_idle(mortal), descriptors=1 << 20)


def drop_leases(daemon: Cortend) -> None:
    """End what keeps the parts of a broken pull for its next attempt; it would end by itself, in a day."""
    for lease in Holdings.of(daemon).leases:
        daemon.cortenctl("leases", "rm", lease)


# -- containers -------------------------------------------------------------------------------------------------------


class Worker(threading.Thread):
    """Takes containers through their lives until the daemon is gone, and writes down how far each certainly came."""

    def __init__(self, daemon: Cortend, prefix: str) -> None:
        super().__init__()
        self.came: dict[str, str] = {}
        self.refused = ""
        self._daemon = daemon
        self._prefix = prefix

    def run(self) -> None:
        try:
            with self._daemon.api() as self._api:
                for number in range(1000):
                    if not self.refused:
                        self._live(f"{self._prefix}-{number}")
        except CortenError:
            return  # killed

    def _live(self, name: str) -> None:
        steps: list[tuple[str, str, str, object]] = [
            ("create", "POST", f"/containers/create?name={name}", {
                "Image": "busybox", "Cmd": ["sleep", "1000"], "Volumes": {"/data": {}},
                "HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1"}]}},
            }),
            ("start", "POST", f"/containers/{name}/start", None),
            ("exec", "POST", f"/containers/{name}/exec", {"Cmd": ["sleep", "1000"]}),
            ("remove", "DELETE", f"/containers/{name}?force=1&v=1", None),
        ]  # fmt: skip
        for step, method, path, body in steps:
            self.came[name] = f"{step} asked"
            answer = self._api.request(method, path, body=body)
            data = answer.json() if answer.status == 201 else answer.read()
            if answer.status not in (201, 204):
                self.refused = f"{step} of {name}: {answer.status} {data!r}"
                return
            if step == "exec":
                assert status(self._api, "POST", f"/exec/{data['Id']}/start", {"Detach": True}) == 200
            self.came[name] = f"{step} done"


def status(api: Transport, method: str, path: str, body: object = None) -> int:
    """The status of an answer that is read to its end."""
    answer = api.request(method, path, body=body)
    answer.read()
    return answer.status


def harvest(workers: list[Worker]) -> dict[str, str]:
    """How far each container certainly came, once the workers have seen the daemon's end."""
    for worker in workers:
        worker.join(60)
        assert not worker.refused
    return {name: step for worker in workers for name, step in worker.came.items()}


def check_acknowledged(daemon: Cortend, came: dict[str, str]) -> dict[str, bool]:
    """Every container is there that was said to be, and runs if it was said to; returns who is there and runs."""
    with daemon.api() as api:
        listed = api.request("GET", "/containers/json", query={"all": True}).json()
    there = {entry["Names"][0][1:]: entry["State"] == "running" for entry in listed}
    for name, step in came.items():
        if step in ("create done", "start asked", "start done", "exec asked", "exec done"):
            assert name in there, (name, step)
        if step in ("start done", "exec asked", "exec done"):
            assert there[name], (name, step)
        if step == "remove done":
            assert name not in there, (name, step)
    assert there.keys() <= came.keys()
    return there


def check_owned(daemon: Cortend, before: Holdings) -> None:
    """Whatever is on the machine belongs to a container that is on record."""
    with daemon.api() as api:
        listed = api.request("GET", "/containers/json", query={"all": True}).json()
    ids = [entry["Id"] for entry in listed]
    live = [entry["Id"] for entry in listed if entry["State"] == "running"]
    volumes = {mount["Name"] for entry in listed for mount in entry["Mounts"]}

    def strangers() -> list[str]:
        now = Holdings.of(daemon)
        found = [name for name in now.directories if not any(i in name for i in ids)]
        for names in (now.namespaces, now.cgroups, now.bundles, now.runtime_state, now.mounts, now.endpoints):
            found += [name for name in names if not any(i[:32] in name for i in live)]
        found += [name for name in now.volumes if Path(name).name not in volumes]
        found += [f"{len(now.links)} links"] * (len(now.links) != len(live))
        found += [f"{len(now.published)} ports"] * (len(now.published) != len(live))
        made = {Path(name).parent for name in now.snapshots - before.snapshots}
        found += [f"{len(made)} snapshots"] * (len(made) != len(ids))
        return found

    last: list[str] = []

    def owned() -> bool:
        last[:] = strangers()
        return not last

    try:
        eventually(owned, "nothing is without an owner")
    except AssertionError:
        raise AssertionError(f"without an owner: {last}\n{daemon.log_text()[-4000:]}") from None


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_containers_at_a_random_moment(mortal: Cortend, before: Holdings, round_: int) -> None:
    rng = random.Random(SEED + round_)
    print("seed", SEED + round_)
    workers = [Worker(mortal, f"r{round_}w{number}") for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    time.sleep(rng.uniform(0.0, 0.8))  # the moment is what is random
    mortal.kill()
    came = harvest(workers)
    mortal.start()
    there = check_acknowledged(mortal, came)
    check_owned(mortal, before)
    with mortal.api() as api:
        for name, runs in there.items():
            if not runs:
                assert status(api, "POST", f"/containers/{name}/start") == 204
        for name, step in came.items():
            if name not in there and step == "create asked":
                body = {"Image": "busybox", "Cmd": ["true"]}
                assert status(api, "POST", f"/containers/create?name={name}", body) == 201
    mortal.remove_all()
    Holdings.settle(mortal, before)


def test_kill_during_recovery(mortal: Cortend, before: Holdings) -> None:
    """A start that is killed while it cleans up leaves what the next one can clean up."""
    rng = random.Random(SEED)
    workers = [Worker(mortal, f"twice{number}") for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    eventually(lambda: all("exec asked" in list(worker.came.values()) for worker in workers), "all were started")
    mortal.kill()
    came = harvest(workers)
    for _ in range(3):
        mortal.spawn()
        time.sleep(rng.uniform(0.3, 1.0))  # the moment is what is random
        mortal.kill()
    mortal.start()
    check_acknowledged(mortal, came)
    check_owned(mortal, before)
    mortal.remove_all()
    Holdings.settle(mortal, before)


# -- images -----------------------------------------------------------------------------------------------------------


def many_files(seed: int) -> list[tuple[str, bytes]]:
    return [(f"files/{seed}/{number}", random.Random(number).randbytes(2000)) for number in range(1500)]


@pytest.fixture(scope="module")
def image() -> Image:
    """An image that takes a while to download and to unpack."""
    return busybox_image(*(make_layer(many_files(seed)) for seed in range(3)))


@pytest.fixture
def liar(image: Image) -> Iterator[LyingRegistry]:
    with LyingRegistry() as registry:
        registry.serve_image(image, "app")
        yield registry


def check_pulled(daemon: Cortend, name: str, before: Holdings, image: Image) -> None:
    """A retried pull succeeds, the image runs, and without it nothing is left."""
    daemon.corten("pull", name)
    said = daemon.corten("run", "--rm", name, "sh", "-c", "find /files -type f | wc -l").stdout
    assert said == b"4500\n"
    daemon.corten("rmi", name)
    drop_leases(daemon)
    Holdings.settle(daemon, before)
    blobs = [blob_of(daemon, layer.digest) for layer in image.layers]
    eventually(lambda: not any(map(Path.exists, blobs)), "the layers' blobs are collected")


def blob_of(daemon: Cortend, digest: str) -> Path:
    return daemon.root / "content/blobs" / digest.replace(":", "/")


def sizes(folder: Path) -> set[int]:
    found = set()
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            found.add(path.stat().st_size)
    return found


def test_while_a_layer_is_downloaded_what_came_is_not_fetched_again(
    mortal: Cortend, before: Holdings, image: Image, liar: LyingRegistry
) -> None:
    layer = image.layers[-1]
    path = f"/v2/app/blobs/{layer.digest}"
    half = layer.blob[: len(layer.blob) // 2 + 1]
    liar.on("GET", path, Answer(200, half, promise=len(layer.blob), stall=True), ranged(layer.blob))
    client = mortal.popen("pull", f"{liar.host}/app")
    others = {other.digest for other in image.layers[:-1]}

    def arrived() -> bool:
        # a blob's file comes before its row, and only the row says that it was taken in
        listed = mortal.cortenctl("-n", "default", "content", "ls", "-q").stdout.decode().split()
        return others <= set(listed) and max(sizes(mortal.root / "content/ingest"), default=0) > 100_000

    eventually(
        arrived,
        "a part of the layer and the whole of all others have arrived",
    )
    mortal.kill()
    _, err = client.communicate(timeout=60)
    assert client.returncode != 0 and err.strip().count(b"\n") == 0, err
    mortal.start()
    assert b"app" not in mortal.corten("images").stdout
    check_pulled(mortal, f"{liar.host}/app", before, image)
    (again,) = [request for request in liar.requests if request.path == path][1:]
    start = int(again.headers["Range"].removeprefix("bytes=").rstrip("-"))
    assert 100_000 < start <= len(half)
    for other in image.layers[:-1]:
        assert liar.count("GET", f"/v2/app/blobs/{other.digest}") == 1


@pytest.mark.parametrize("round_", range(max(3, ROUNDS // 2)))
def test_a_pull_at_a_random_moment(
    mortal: Cortend, before: Holdings, image: Image, liar: LyingRegistry, round_: int
) -> None:
    rng = random.Random(SEED + round_)
    print("seed", SEED + round_)
    client = mortal.popen("pull", f"{liar.host}/app")
    eventually(lambda: liar.requests, "the registry is asked")
    time.sleep(rng.uniform(0.0, 0.9))  # the moment is what is random: downloading, unpacking, committing, done
    mortal.kill()
    client.communicate(timeout=60)
    mortal.start()
    if client.returncode == 0:
        said = mortal.corten("run", "--rm", "--pull", "never", f"{liar.host}/app", "ls", "/files").stdout
        assert said == b"0\n1\n2\n"
    check_pulled(mortal, f"{liar.host}/app", before, image)
