"""The limits of images are settings: what is within them loads, one more is refused by a line that names the limit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from daemon import Cortend
from images import Image, make_image, make_index, make_layer
from support_registry import LyingRegistry

pytestmark = pytest.mark.root

CONFIG = """
[pull.limits]
document_size = 65536
index_depth = 1
layers = 3
layer_size = 1048576
layer_entries = 1000
"""
SMALL = make_layer([("f", b"x")])


def _layers(count: int) -> Image:
    return make_image([make_layer([(f"f{n}", b"x")]) for n in range(count)])


def _sized(size: int) -> Image:
    return make_image([SMALL], document={"author": "x" * size})


def _entries(count: int) -> Image:
    return make_image([make_layer([(f"f{n}", b"") for n in range(count)])])


WITHIN = {
    "layers": _layers(3),
    "document": _sized(60_000),
    "layer size": make_image([make_layer([("f", bytes(1_000_000))])]),
    "entries": _entries(1000),
}
BEYOND = {
    "layers": (_layers(4), "more than 3"),
    "document": (_sized(70_000), "65536"),
    "layer size": (make_image([make_layer([("f", bytes(1_100_000))])]), "1048576"),
    "entries": (_entries(1001), "1000"),
}


def test_each_limit_holds_at_its_edge(make_cortend: Callable[..., Cortend]) -> None:
    engine = make_cortend(CONFIG, image=False)
    with LyingRegistry() as registry:
        for name, image in WITHIN.items():
            registry.serve_image(image, "within")
            engine.corten("pull", f"{registry.host}/within")
            engine.corten("rmi", f"{registry.host}/within")
            assert name
        for name, (image, words) in BEYOND.items():
            registry.serve_image(image, "beyond")
            done = engine.corten("pull", f"{registry.host}/beyond", check=False)
            assert done.returncode == 1 and words in done.stderr.decode(), (name, done.stderr)
            assert done.stderr.strip().count(b"\n") == 0
        assert engine.corten("images", "-q").stdout == b""


def test_indexes_nest_as_deep_as_is_allowed(make_cortend: Callable[..., Cortend]) -> None:
    engine = make_cortend(CONFIG, image=False)
    image = _layers(1)
    inner = make_index({"linux/amd64": image})
    outer = Image((), b"", inner, "application/vnd.oci.image.index.v1+json")
    nested = make_index({"linux/amd64": outer})
    with LyingRegistry() as registry:
        registry.serve_image(image, "app", image.digest)
        registry.serve_manifest("app", "one", inner, "application/vnd.oci.image.index.v1+json")
        engine.corten("pull", f"{registry.host}/app:one")
        registry.serve_manifest("app", "two", nested, "application/vnd.oci.image.index.v1+json")
        done = engine.corten("pull", f"{registry.host}/app:two", check=False)
        assert done.returncode == 1 and b"more than 1 indexes" in done.stderr, done.stderr
