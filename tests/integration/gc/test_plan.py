"""`--plan` is true: what it says is what goes, and what is free afterwards is what it said."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import import_busybox
from corten import keeping
from corten.docker import main as corten_main
from corten.docker import native
from corten.transport import Transport
from daemon import Cortend, eventually, running
from images import busybox_image, make_layer, push_to_registry
from support_registry import Registry

pytestmark = pytest.mark.root

SLACK = 3 * 4096
"""Bytes that a snapshot's own directories take beside its files; and a container's or volume's parent, growing."""


@pytest.fixture(scope="module")
def engine(busybox_tar: bytes) -> Iterator[Cortend]:
    """A daemon of these tests' own: some remove every image."""
    with running("[gc]\nschedule_delay = 0.05\n") as daemon:
        import_busybox(daemon, busybox_tar)
        yield daemon


@pytest.fixture(scope="module")
def pushed(registry: Registry) -> str:
    """A repository with two images that share a layer."""
    for tag in ("1", "2"):
        own = make_layer([(f"file{tag}", os.urandom(300_000))])
        push_to_registry(busybox_image(own), registry.host, "planned", tag)
    return f"{registry.host}/planned"


@pytest.fixture
def store(engine: Cortend, pushed: str) -> Iterator[Cortend]:
    """Both images, the first under two names."""
    for tag, names in (("1", ("one:a", "one:b")), ("2", ("two",))):
        engine.cortenctl("images", "pull", "-q", f"{pushed}:{tag}")
        for name in names:
            engine.corten("tag", f"{pushed}:{tag}", name)
        engine.corten("rmi", f"{pushed}:{tag}")
    engine.cortenctl("gc")
    yield engine
    if left := engine.corten("ps", "-aq").stdout.decode().split():
        engine.corten("rm", "-f", *left)
    engine.corten("volume", "prune", "-af")
    for name in engine.cortenctl("images", "ls", "-q").stdout.decode().split():
        if not name.endswith("busybox:latest"):
            engine.cortenctl("images", "rm", "-f", name.removeprefix("dangling@"))
    engine.cortenctl("gc")


Objects = set[tuple[str, str, str]]


def objects(engine: Cortend) -> Objects:
    """Namespace, kind and id of everything there is."""
    found: Objects = set()
    for noun, kind, key in (
        ("images", "images", lambda o: o["name"]),
        ("content", "content", lambda o: o["digest"]),
        ("snapshots", "snapshots/overlayfs", lambda o: o["name"]),
        ("leases", "leases", lambda o: o["id"]),
        ("containers", "containers", lambda o: o["container"]["id"]),
    ):
        listed = json.loads(engine.cortenctl(noun, "ls", "-A", "-o", "json").stdout)
        found |= {(entry["namespace"], kind, key(entry)) for entry in listed}
    volumes = {("default", "volumes", path.name) for path in engine.root.glob("volumes/default/[!.]*")}
    return found | volumes


def used(engine: Cortend) -> int:
    """Bytes below the root, without the database and what is on its way out."""
    seen: dict[int, int] = {}
    for top, _directories, files in os.walk(engine.root):
        for name in (".", *files):
            if not name.startswith("meta.db"):
                found = Path(top, name).lstat()
                seen[found.st_ino] = found.st_blocks * 512
    return sum(seen.values())


CASES: dict[str, tuple[list[list[str]], list[str]]] = {
    "one of two names": ([], ["rmi", "one:a"]),
    "an image with all its names": ([], ["rmi", "one:a", "one:b"]),
    "both images": ([], ["rmi", "one:a", "one:b", "two"]),
    "an image that a stopped container uses": (
        [["create", "--name", "cee", "two"]], ["rmi", "-f", "two"],
    ),
    "an image that a running container uses": (
        [["run", "-d", "--name", "cee", "two", "sleep", "1000"]], ["rmi", "-f", "two"],
    ),
    "a container that was the last to keep its image": (
        [["create", "--name", "cee", "two"], ["rmi", "-f", "two"]], ["rm", "cee"],
    ),
    "a running container with volumes": (
        [["run", "-d", "--name", "cee", "-v", "named:/n", "-v", "/a", "two", "sh", "-c",
          "dd if=/dev/zero of=/a/f bs=1k count=300; dd if=/dev/zero of=/f bs=1k count=200; echo ready; sleep 1000"]],
        ["rm", "-fv", "cee"],
    ),
    "stopped containers": (
        [["create", "--name", "cee", "two"], ["create", "--name", "dee", "--label", "keep", "one:a"]],
        ["container", "prune", "-f", "--filter", "label!=keep"],
    ),
    "images that nothing uses": (
        [["create", "--name", "cee", "two"]], ["image", "prune", "-a", "-f"],
    ),
    "dangling images": (
        [["create", "--name", "cee", "one:a"], ["rmi", "-f", "one:a", "one:b"]], ["image", "prune", "-f"],
    ),
    "volumes": (
        [["create", "--name", "cee", "-v", "used:/u", "two"],
         ["create", "--name", "dee", "-v", "free:/f", "-v", "/a", "two"], ["rm", "dee"]],
        ["volume", "prune", "-f", "--all"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_plan_of_corten_is_what_happens(store: Cortend, case: str) -> None:
    preparation, command = CASES[case]
    for words in preparation:
        store.corten(*words)
    if case == "a running container with volumes":
        store.corten("logs", "cee")
        eventually(lambda: b"ready" in store.corten("logs", "cee").stdout, "the container's files")
    noun = command[0] if command[0] in ("container", "image", "volume") else ""
    at = 2 if noun else 1
    check(store, store.corten, [*command[:at], "--plan", *command[at:]], command)


@pytest.mark.parametrize(
    ("words", "lease"),
    [
        (["images", "rm", "one:a", "one:b"], False),
        (["leases", "rm", "held"], True),
        (["gc"], True),
    ],
)
def test_a_plan_of_cortenctl_is_what_happens(store: Cortend, words: list[str], lease: bool) -> None:
    if lease:
        detail = json.loads(store.cortenctl("images", "info", "two").stdout)
        store.cortenctl("leases", "create", "--id", "held")
        store.cortenctl("leases", "add", "held", "content", detail["manifest_digest"])
        store.cortenctl("images", "rm", "two")
        store.cortenctl("gc")
    if words == ["gc"]:
        store.cortenctl("snapshots", "prepare", "loose")
        store.cortenctl("snapshots", "label", "loose", "gc.root=")
    check(store, store.cortenctl, [*words, "--plan"], words)


def test_content_and_snapshots_are_planned_too(store: Cortend) -> None:
    detail = json.loads(store.cortenctl("images", "info", "two").stdout)
    check(
        store, store.cortenctl, ["content", "rm", "--plan", detail["manifest_digest"]],
        ["content", "rm", detail["manifest_digest"]],
    )  # fmt: skip
    store.cortenctl("snapshots", "prepare", "mine")
    check(store, store.cortenctl, ["snapshots", "rm", "--plan", "mine"], ["snapshots", "rm", "mine"])


def check(store: Cortend, client: Callable[..., Any], plan: list[str], command: list[str]) -> None:
    """Plan, see that nothing went, do it, collect, and compare."""
    kept, before = objects(store), used(store)
    text = client(*plan).stdout.decode()
    said = planned(store, client, plan)
    assert objects(store) == kept, "a plan removed something"
    assert f"{len(said['items'])} object" in text or not said["items"]
    client(*command)
    store.cortenctl("gc")
    gone = kept - objects(store)
    assert {(item["namespace"], item["kind"], item["id"]) for item in said["items"]} == gone
    snapshots = sum(kind.startswith("snapshots/") for _, kind, _ in gone)
    slack = (snapshots + 2) * SLACK

    def freed() -> bool:  # directories are emptied in the background
        return abs(before - used(store) - said["bytes_freed"]) <= slack

    eventually(freed, f"{said['bytes_freed']} bytes freed, +- {slack}; it is {before - used(store)}", 10)


def planned(store: Cortend, client: Callable[..., Any], plan: list[str]) -> dict[str, Any]:
    """The plan as data: cortenctl prints it, corten's is taken where it would be printed."""
    if client == store.cortenctl:
        found: dict[str, Any] = json.loads(client(*plan, "-o", "json").stdout)
        return found
    shown: list[dict[str, Any]] = []

    def call(session: object, method: str, path: str, body: object) -> object:
        with Transport(store.host) as api:
            return api.request(method, f"/api/v1{path}", body=body).json()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "call", call)
        patch.setattr(keeping, "show_plan", shown.append)
        assert corten_main.run(["-H", store.host, *plan]) == 0
    return shown[0]
