"""Leases as clients use them: as with ctr, and given along with what makes something."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from corten.transport import Transport
from daemon import Cortend, eventually
from images import busybox_image, push_to_registry
from support_registry import Registry

pytestmark = pytest.mark.root


def read(engine: Cortend, *words: str) -> Any:
    return json.loads(engine.cortenctl(*words, "-o", "json").stdout)


def digests(engine: Cortend, ns: str) -> set[str]:
    return set(engine.cortenctl("-n", ns, "content", "ls", "-q").stdout.decode().split())


@pytest.fixture(scope="module")
def image(registry: Registry) -> str:
    push_to_registry(busybox_image(), registry.host, "leased", "1")
    return f"{registry.host}/leased:1"


def test_create_as_with_ctr(engine: Cortend) -> None:
    made = engine.cortenctl("leases", "create").stdout.decode().strip()
    named = engine.cortenctl("leases", "create", "--id", "mine", "-x", "90m", "purpose=test", "bare").stdout
    assert named == b"mine\n"
    engine.cortenctl("leases", "create", "--id", "forever", "--expires", "0")
    listed = engine.cortenctl("leases", "ls").stdout.decode()
    rows = {line.split()[0]: line for line in listed.splitlines()}
    assert set(rows) == {"ID", made, "mine", "forever"}
    assert "in 24 hours" in rows[made]
    assert "in about an hour" in rows["mine"] or "in 2 hours" in rows["mine"]
    assert "never" in rows["forever"]
    labels = read(engine, "leases", "info", "mine")["labels"]
    assert labels == {"purpose": "test", "bare": "", "containerd.io/gc.expire": labels["containerd.io/gc.expire"]}
    engine.cortenctl("leases", "rm", made, "mine", "forever")
    assert engine.cortenctl("leases", "ls", "-q").stdout == b""


def test_resources_are_added_listed_and_dropped(engine: Cortend) -> None:
    engine.cortenctl("leases", "create", "--id", "r")
    engine.cortenctl("leases", "add", "r", "content", "sha256:" + "0" * 64)
    engine.cortenctl("leases", "add", "r", "snapshots/overlayfs", "a/b")
    engine.cortenctl("leases", "add", "r", "ingests", "up")
    rows = engine.cortenctl("leases", "resources", "r").stdout.decode().split()
    assert rows == ["ID", "TYPE", "sha256:" + "0" * 64, "content", "up", "ingest", "a/b", "snapshots/overlayfs"]
    engine.cortenctl("leases", "drop", "r", "snapshots/overlayfs", "a/b")
    assert b"a/b" not in engine.cortenctl("leases", "resources", "r", "-q").stdout
    wrong = engine.cortenctl("leases", "add", "r", "tasks", "x", check=False)
    assert b"a lease cannot hold a 'tasks'. a type is content, ingest, images or" in wrong.stderr
    engine.cortenctl("leases", "rm", "r")
    assert b"No such lease: r" in engine.cortenctl("leases", "add", "r", "content", "x", check=False).stderr


@pytest.mark.parametrize("how", ["header", "query"])
def test_a_clients_lease_holds_what_its_pull_makes(engine: Cortend, image: str, how: str) -> None:
    engine.cortenctl("-n", "leased", "leases", "create", "--id", "c")
    headers, query = ({"X-Corten-Lease": "c"}, {}) if how == "header" else ({}, {"lease": "c"})
    with Transport(engine.host, headers=headers) as api:
        reply = api.request(
            "POST", "/api/v1/images/pull", query={"namespace": "leased", **query}, body={"reference": image}
        )
        assert list(reply.json_lines())[-1]["image"]["name"] == image
    engine.cortenctl("-n", "leased", "images", "rm", image)
    held = digests(engine, "leased")
    engine.cortenctl("gc")
    assert digests(engine, "leased") == held != set()
    assert engine.cortenctl("-n", "leased", "snapshots", "ls", "-q").stdout != b""
    kinds = {found["type"] for found in read(engine, "-n", "leased", "leases", "resources", "c")}
    assert kinds == {"content", "snapshots/overlayfs"}
    engine.cortenctl("-n", "leased", "leases", "rm", "--sync", "c")
    assert digests(engine, "leased") == set()
    assert engine.cortenctl("-n", "leased", "snapshots", "ls", "-q").stdout == b""


def test_several_requests_go_on_under_one_lease(engine: Cortend, image: str) -> None:
    engine.cortenctl("-n", "parallel", "leases", "create", "--id", "p")

    def pull(number: int) -> str:
        with Transport(engine.host, headers={"X-Corten-Lease": "p"}) as api:
            reply = api.request(
                "POST", "/api/v1/images/pull", query={"namespace": "parallel"}, body={"reference": image}
            )
            return str(list(reply.json_lines())[-1])

    with ThreadPoolExecutor(4) as pool:
        assert all("error" not in last for last in pool.map(pull, range(4)))
    held = {found["id"] for found in read(engine, "-n", "parallel", "leases", "resources", "p")}
    assert held >= digests(engine, "parallel")
    assert engine.cortenctl("-n", "parallel", "leases", "ls", "-q").stdout == b"p\n"
    engine.cortenctl("-n", "parallel", "images", "rm", image)
    engine.cortenctl("-n", "parallel", "leases", "rm", "p")
    engine.cortenctl("namespaces", "rm", "parallel")


def test_a_lease_that_is_not_there_makes_nothing(engine: Cortend, image: str) -> None:
    with Transport(engine.host) as api:
        reply = api.request("POST", "/api/v1/images/pull", query={"lease": "nope"}, body={"reference": image})
        assert (reply.status, reply.json()["error"]["message"]) == (404, "No such lease: nope")
    assert image.encode() not in engine.cortenctl("images", "ls", "-q").stdout


def test_a_lease_ends_by_itself_and_the_collector_comes_for_it(engine: Cortend) -> None:
    engine.cortenctl("-n", "brief", "leases", "create", "--id", "b", "-x", "1200ms")
    with Transport(engine.host) as api:
        query = {"namespace": "brief", "lease": "b"}
        made = api.request("POST", "/api/v1/snapshots/default/prepare", query=query, body={"key": "kept"})
        assert made.json()["items"]
    eventually(lambda: engine.cortenctl("-n", "brief", "snapshots", "ls", "-q").stdout == b"", "the lease's end")
    assert engine.cortenctl("-n", "brief", "leases", "ls", "-q").stdout == b""
