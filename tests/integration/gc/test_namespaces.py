"""Namespaces: names apart, content shared, and removal of empty ones only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon import BIN, Cortend
from images import busybox_image, push_to_registry
from support_registry import LyingRegistry, Registry

pytestmark = pytest.mark.root


@pytest.fixture
def two(engine: Cortend, registry: Registry) -> Iterator[str]:
    """An image that was pulled into the namespaces `one` and `two`."""
    push_to_registry(busybox_image(), registry.host, "spaces", "1")
    name = f"{registry.host}/spaces:1"
    for ns in ("one", "two"):
        engine.cortenctl("-n", ns, "images", "pull", "-q", name)
    yield name
    for ns in ("one", "two"):
        for noun in ("containers", "images", "leases"):
            for left in listed(engine, ns, noun):
                engine.cortenctl("-n", ns, noun, "rm", left)
    engine.cortenctl("gc")


def listed(engine: Cortend, ns: str, noun: str) -> set[str]:
    return set(engine.cortenctl("-n", ns, noun, "ls", "-q").stdout.decode().split())


def everything(engine: Cortend, ns: str) -> dict[str, set[str]]:
    return {noun: listed(engine, ns, noun) for noun in ("images", "content", "snapshots", "containers", "leases")}


def test_names_are_apart_and_removal_in_one_leaves_the_other_whole(engine: Cortend, two: str) -> None:
    for ns in ("one", "two"):
        engine.cortenctl("-n", ns, "containers", "create", two, "same")
        engine.cortenctl("-n", ns, "leases", "create", "--id", "same", f"in={ns}")
    before = everything(engine, "two")
    engine.cortenctl("-n", "one", "leases", "rm", "same")
    engine.cortenctl("-n", "one", "containers", "rm", "same")
    engine.cortenctl("-n", "one", "images", "rm", two)
    engine.cortenctl("gc")
    assert everything(engine, "one") == {noun: set() for noun in before}
    assert everything(engine, "two") == before
    assert engine.cortenctl("-n", "two", "run", "--rm", two, "other", "echo", "whole").stdout == b"whole\n"
    assert engine.cortenctl("images", "ls", "-q").stdout == b"docker.io/library/busybox:latest\n"


def test_bytes_are_shared_and_fetched_once(engine: Cortend) -> None:
    with LyingRegistry() as registry:
        image = busybox_image()
        registry.serve_image(image, "shared")
        name = f"{registry.host}/shared:latest"
        path = f"/v2/shared/blobs/{image.layers[0].digest}"
        engine.cortenctl("-n", "first", "images", "pull", "-q", name)
        assert image.layers[0].digest not in listed(engine, "second", "content")
        stored = blobs(engine)
        engine.cortenctl("-n", "second", "images", "pull", "-q", name)
        assert registry.count("GET", path) == 1
        assert blobs(engine) == stored
        assert image.layers[0].digest in listed(engine, "second", "content")
        for ns, left in (("first", True), ("second", False)):
            engine.cortenctl("-n", ns, "images", "rm", name)
            engine.cortenctl("gc")
            assert (image.layers[0].digest in blobs(engine)) is left
            engine.cortenctl("namespaces", "rm", ns)


def blobs(engine: Cortend) -> set[str]:
    return {f"sha256:{path.name}" for path in (engine.root / "content/blobs/sha256").iterdir()}


def test_one_that_holds_something_is_not_removed_and_says_what(engine: Cortend) -> None:
    engine.cortenctl("namespaces", "create", "full", "owner=me")
    engine.cortenctl("-n", "full", "leases", "create", "--id", "l")
    volume = Path(engine.root, "volumes/full/v/_data")
    volume.mkdir(parents=True)
    record = {"name": "v", "mountpoint": str(volume), "created_at": "2024-01-01T00:00:00Z"}
    Path(volume.parent, "volume.json").write_text(json.dumps(record))
    done = engine.cortenctl("namespaces", "rm", "full", check=False)
    assert done.returncode == 1
    assert b"namespace full is not empty: it has 1 leases, 1 volumes. remove them first" in done.stderr
    Path(volume.parent, "volume.json").unlink()
    engine.cortenctl("-n", "full", "leases", "rm", "l")
    labelled = engine.cortenctl("namespaces", "label", "full", "owner=", "kind=x").stdout
    assert json.loads(labelled)["labels"] == {"kind": "x"}
    engine.cortenctl("namespaces", "rm", "full")
    assert b"default cannot be removed" in engine.cortenctl("namespaces", "rm", "default", check=False).stderr


def test_garbage_does_not_keep_a_namespace(engine: Cortend) -> None:
    engine.cortenctl("-n", "littered", "leases", "create", "--id", "l")
    engine.cortenctl("-n", "littered", "snapshots", "prepare", "--label", "gc.root=", "loose")
    engine.cortenctl("-n", "littered", "snapshots", "label", "loose", "gc.root=")
    engine.cortenctl("-n", "littered", "leases", "rm", "l")
    engine.cortenctl("namespaces", "rm", "littered")
    assert b"littered" not in engine.cortenctl("namespaces", "ls", "-q").stdout


@pytest.mark.parametrize(
    "words", ["images ls", "content ls", "content active", "containers ls", "tasks ls", "leases ls", "snapshots ls"]
)
def test_lists_span_all_namespaces(engine: Cortend, two: str, words: str) -> None:
    for ns in ("one", "two"):
        engine.cortenctl("-n", ns, "leases", "create", "--id", "spanned")
        engine.cortenctl("-n", ns, "run", "-d", two, "spanned", "sleep", "100")
    table = engine.cortenctl(*words.split(), "-A").stdout.decode().splitlines()
    rows = json.loads(engine.cortenctl(*words.split(), "-A", "-o", "json").stdout)
    names = engine.cortenctl(*words.split(), "-A", "-q").stdout.decode().splitlines()
    assert table[0].startswith("NAMESPACE")
    assert [line.split()[0] for line in table[1:]] == [row["namespace"] for row in rows]
    assert len(names) == len(rows)
    if words != "content active":
        assert {"one", "two"} <= {row["namespace"] for row in rows}
    for ns in ("one", "two"):
        engine.cortenctl("-n", ns, "containers", "rm", "-f", "spanned")


def test_the_environment_names_the_namespace(engine: Cortend, two: str) -> None:
    def ls(ns: str, *words: str) -> bytes:
        command = [str(BIN / "cortenctl"), "-a", str(engine.socket), *words, "images", "ls", "-q"]
        return engine._run(command, True, None, 60, {"CORTEN_NAMESPACE": ns}).stdout

    assert ls("one").decode().split() == [two]
    assert ls("one", "-n", "default") == b"docker.io/library/busybox:latest\n"


def test_events_are_a_namespaces_own(engine: Cortend) -> None:
    engine.cortenctl("namespaces", "create", "noisy")
    engine.cortenctl("namespaces", "rm", "noisy")

    def events(*words: str) -> list[Any]:
        text = engine.cortenctl(*words, "events", "--no-follow", "-o", "json").stdout.decode()
        return [json.loads(line) for line in text.splitlines()]

    assert {event["namespace"] for event in events("-n", "noisy")} == {"noisy"}
    assert {event["namespace"] for event in events()} == {"default"}
    text = engine.cortenctl("events", "--no-follow", "-A", "-o", "json").stdout.decode()
    assert {"default", "noisy"} <= {json.loads(line)["namespace"] for line in text.splitlines()}
