"""kill -9 of the daemon at every named point of a push: nothing of it stays here, and the next push completes."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from cortend.core import trace
from daemon import Cortend
from holdings import Holdings
from images import make_image, make_layer, push_to_registry
from support_registry import Registry, run_registry

pytestmark = pytest.mark.root

POINTS = [name for name in trace.POINTS if name.startswith("push.")]
"""In the order in which a push comes to them."""
IMAGE = make_image([make_layer([("a", b"a" * 300_000)], "none"), make_layer([("b", b"b" * 5000)])])
CHUNKS = "[push]\nchunk_size = 100000\n[gc]\ndelay = 0.05\n"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with run_registry(tmp_path_factory.mktemp("registry")) as registry:
        push_to_registry(IMAGE, registry.host, "from", "1")
        yield registry


@pytest.fixture
def daemon(make_cortend: Callable[..., Cortend], registry: Registry) -> Cortend:
    """With the image, and no word of where it came from."""
    daemon = make_cortend(CHUNKS, image=False)
    daemon.corten("pull", f"{registry.host}/from:1")
    for digest in IMAGE.blobs:
        daemon.cortenctl("content", "label", digest, f"containerd.io/distribution.source.{registry.host}=")
    return daemon


def _state(daemon: Cortend) -> tuple[object, ...]:
    """Everything here that a push must leave as it is."""
    daemon.cortenctl("gc")
    blobs = json.loads(daemon.cortenctl("-o", "json", "content", "ls").stdout)
    holdings = Holdings.of(daemon)
    return sorted(blob["digest"] for blob in blobs), holdings.leases, holdings.ingests, holdings.snapshots


def test_a_push_killed_at_every_point_leaves_nothing_and_completes_at_last(daemon: Cortend, registry: Registry) -> None:
    """Each attempt comes one point further than the one before: the registry keeps what it got."""
    name = f"{registry.host}/to:1"
    daemon.corten("tag", f"{registry.host}/from:1", name)
    before = _state(daemon)
    assert before[1] == frozenset()
    daemon.stop()
    for point in POINTS:
        daemon.start(env={trace.VARIABLE: f"{point}=kill"})
        assert _state(daemon) == before, point
        assert daemon.corten("push", name, check=False).returncode == 1, point
        assert daemon.process is not None and daemon.process.wait(30) == -9, point
        daemon.process = None
    daemon.start()
    assert _state(daemon) == before
    daemon.corten("push", name)
    request = urllib.request.Request(f"http://{registry.host}/v2/to/manifests/1", headers={"Accept": IMAGE.media_type})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        assert answer.read() == IMAGE.manifest
