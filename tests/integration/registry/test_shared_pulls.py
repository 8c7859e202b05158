"""Pulls beside each other, and after a daemon's death: each part is fetched once, and nothing is kept too long."""

from __future__ import annotations

import json
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from daemon import Cortend, eventually, running
from images import Image, make_image, make_layer, write_docker_archive
from support_images import NS, ImageStack, close, collect
from support_registry import Answer, LyingRegistry, Request, ranged

pytestmark = pytest.mark.root

LAYERS = [make_layer([(f"file{number}", os.urandom(200_000))], "none") for number in range(6)]
IMAGE = make_image(LAYERS)
PULLS = 50


@pytest.fixture
def liar() -> Iterator[LyingRegistry]:
    with LyingRegistry() as registry:
        yield registry


@pytest.fixture
def cortend() -> Iterator[Cortend]:
    with running() as daemon:
        yield daemon


def _gets(liar: LyingRegistry) -> Counter[str]:
    return Counter(request.path.rpartition("/")[2] for request in liar.requests if request.method == "GET")


class _Gauge:
    """Serves blobs and knows how many answers were under way at once, at most."""

    def __init__(self) -> None:
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self._met = threading.Barrier(2)

    def serve(self, data: bytes) -> object:
        def answer(request: Request) -> Answer:
            with self._lock:
                self._now += 1
                self.most = max(self.most, self._now)
            try:
                self._met.wait(0.3)  # so that those who may go side by side are seen to
            except threading.BrokenBarrierError:
                self._met.reset()
            with self._lock:
                self._now -= 1
            return ranged(data)(request)

        return answer


def test_fifty_pulls_of_one_image_fetch_each_part_once(liar: LyingRegistry, cortend: Cortend) -> None:
    liar.serve_image(IMAGE, "app")
    with ThreadPoolExecutor(PULLS) as pool:
        done = list(
            pool.map(lambda _: cortend.corten("pull", "-q", f"{liar.host}/app", timeout=120), range(PULLS))
        )
    assert len(done) == PULLS
    parts = {IMAGE.digest, *IMAGE.blobs}
    assert _gets(liar) == Counter(parts)
    assert json.loads(cortend.cortenctl("leases", "ls", "-o", "json").stdout) in ([], {"items": []})


def test_no_more_connections_than_configured(liar: LyingRegistry) -> None:
    liar.serve_image(IMAGE, "app")
    gauge = _Gauge()
    for layer in LAYERS:
        liar.on("GET", f"/v2/app/blobs/{layer.digest}", gauge.serve(layer.blob))  # type: ignore[arg-type]
    with running("[pull]\nmax_concurrent_downloads = 2\n") as cortend:
        cortend.corten("pull", "-q", f"{liar.host}/app")
    assert gauge.most == 2


def test_one_pull_can_be_bounded_further(liar: LyingRegistry, cortend: Cortend) -> None:
    liar.serve_image(IMAGE, "app")
    gauge = _Gauge()
    for layer in LAYERS:
        liar.on("GET", f"/v2/app/blobs/{layer.digest}", gauge.serve(layer.blob))  # type: ignore[arg-type]
    cortend.cortenctl("images", "pull", "-q", "--max-concurrent-downloads", "1", f"{liar.host}/app")
    assert gauge.most == 1


def test_a_waiting_pull_goes_on_when_the_first_is_cancelled(liar: LyingRegistry, tmp_path) -> None:
    layer = LAYERS[0]
    path = f"/v2/app/blobs/{layer.digest}"
    liar.serve_image(make_image([layer]), "app")
    liar.on("GET", path, Answer(200, layer.blob[:100_000], promise=len(layer.blob), stall=True), ranged(layer.blob))

    async def both(stack: ImageStack) -> None:
        first, second = (stack.pulls.pull(NS, f"{liar.host}/app") for _ in range(2))
        async for line in first:
            if line.status == "Downloading" and line.current:
                break
        while "Downloading" not in (await anext(second)).status:
            pass  # the first one's progress is the second one's too
        await close(first)
        assert (await collect(second))[-1].image is not None

    with ImageStack(tmp_path) as stack:
        stack.run(both(stack))
        assert stack.leases() == 0
    ranges = [request.headers.get("Range") for request in liar.requests if request.path == path]
    assert ranges[0] is None
    assert len(ranges) == 2 and re.fullmatch(r"bytes=[1-9]\d*-", ranges[1] or "")


def _big_image() -> Image:
    return make_image([make_layer([(f"big{number}", os.urandom(4 << 20))], "none") for number in range(2)])


def _leases(cortend: Cortend) -> list[str]:
    return cortend.cortenctl("leases", "ls", "-q").stdout.decode().split()


def test_a_killed_pull_is_continued_and_its_lease_goes(liar: LyingRegistry, cortend: Cortend) -> None:
    """The first layer is whole, the second one half there: nothing of it is fetched again, and nothing stays behind."""
    image = _big_image()
    first, second = (f"/v2/app/blobs/{layer.digest}" for layer in image.layers)
    blob = image.layers[1].blob
    liar.serve_image(image, "app")
    liar.on("GET", second, Answer(200, blob[: len(blob) // 2], promise=len(blob), stall=True))
    pull = cortend.popen("pull", f"{liar.host}/app")
    assert pull.stdout is not None
    _await_half(cortend, image, len(blob) // 2 - (2 << 20))
    cortend.kill()
    pull.communicate()
    liar.on("GET", second, ranged(blob))
    cortend.start()
    cortend.cortenctl("gc")
    assert len(_leases(cortend)) == 1  # what is whole is kept for the next pull
    before = len(liar.requests)
    cortend.corten("pull", "-q", f"{liar.host}/app")
    again = [request for request in liar.requests[before:] if request.path in (first, second)]
    [resumed] = again
    start = int(re.fullmatch(r"bytes=(\d+)-", resumed.headers["Range"])[1])  # type: ignore[index]
    assert len(blob) - start <= 0.55 * (len(blob) + len(image.layers[0].blob))
    assert _leases(cortend) == []
    cortend.corten("rmi", f"{liar.host}/app")
    cortend.cortenctl("gc")
    assert cortend.cortenctl("content", "ls", "-q").stdout == b""


def _await_half(cortend: Cortend, image: Image, least: int) -> None:
    """Until the first layer's blob is there, and the second one's ingest has that many bytes."""

    def there() -> bool:
        whole = image.layers[0].digest.encode() in cortend.cortenctl("content", "ls", "-q").stdout
        return whole and any(path.stat().st_size >= least for path in cortend.root.glob("content/ingest/*/data"))

    eventually(there, "one layer and a half")


def test_leases_of_other_unfinished_work_end_with_the_next_start(cortend: Cortend, tmp_path) -> None:
    archive = tmp_path / "image.tar"
    cortend.kill()
    cortend.start(env={"CORTEN_TRACE": "load.archive.read=kill"})
    write_docker_archive(IMAGE, archive, ["app:1"])
    cortend.corten("load", "-i", str(archive), check=False)
    assert cortend.process is not None
    cortend.process.wait(30)
    cortend.start()
    assert _leases(cortend) == []
