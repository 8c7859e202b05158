"""`why`, in both clients: chains from what is kept for itself to the object, and when what nothing keeps goes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from threading import Thread
from typing import Any

import pytest

from corten.transport import Transport, quote
from daemon import BIN, Cortend

pytestmark = pytest.mark.root


@pytest.fixture
def web(engine: Cortend) -> Iterator[str]:
    """A container of busybox with a named and an anonymous volume."""
    engine.corten("create", "--name", "web", "-v", "named:/named", "-v", "/anonymous", "busybox")
    yield "web"
    engine.corten("rm", "-fv", "web", check=False)
    engine.corten("volume", "prune", "-af")


def why(engine: Cortend, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(engine.cortenctl("why", *words, "-o", "json").stdout)
    assert json.loads(engine.corten("why", *words, "-o", "json").stdout) == found or found[0].get("goes_at")
    return found


def chains(answer: dict[str, Any]) -> list[list[tuple[str, str]]]:
    """Kinds and roles."""
    return [[(link["kind"], link["role"]) for link in chain["links"]] for chain in answer["chains"]]


def documents(engine: Cortend) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(engine.cortenctl("images", "info", "busybox").stdout)
    return found


def test_a_layer_is_kept_by_its_image_and_the_container(engine: Cortend, web: str) -> None:
    detail = documents(engine)
    manifest = json.loads(engine.cortenctl("content", "get", detail["manifest_digest"]).stdout)
    layer = manifest["layers"][0]["digest"]
    [answer] = why(engine, layer, "--type", "content")
    assert answer["kept"] and "goes_at" not in {key for key, value in answer.items() if value is not None}
    assert chains(answer) == [
        [("containers", ""), ("content", "manifest"), ("content", "layer 0")],
        [("images", ""), ("content", "manifest"), ("content", "layer 0")],
    ]
    assert [chain["links"][0]["name"] for chain in answer["chains"]] == ["web", "busybox:latest"]
    lines = engine.corten("why", layer, "--type", "content").stdout.decode().splitlines()
    assert lines == [
        f"content {layer} is kept by",
        f"  container web -> manifest (content {detail['manifest_digest']}) -> layer 0 (content {layer})",
        f"  image busybox:latest -> manifest (content {detail['manifest_digest']}) -> layer 0 (content {layer})",
    ]


def test_a_snapshot_is_kept_by_the_one_above_it(engine: Cortend, web: str) -> None:
    [base] = engine.cortenctl("snapshots", "ls", "-q").stdout.decode().split()[:1]
    [answer] = why(engine, base, "--type", "snapshots")
    found = chains(answer)
    top = ("snapshots/overlayfs", "root file system")
    assert [("containers", ""), top, ("snapshots/overlayfs", "parent")] in found
    assert [
        ("images", ""), ("content", "manifest"), ("content", "config"), ("snapshots/overlayfs", "unpacked"),
    ] in found  # fmt: skip


def test_names_ids_and_first_digits_mean_the_same(engine: Cortend, web: str) -> None:
    detail = documents(engine)
    identifier = engine.inspect("web")["Id"]
    for words in (["web"], [identifier], [identifier[:12]], ["/web"]):
        found = why(engine, *words, "--type", "containers")
        assert [answer["object"]["id"] for answer in found] == [identifier]
    assert {answer["object"]["kind"] for answer in why(engine, identifier)} == {"containers", "snapshots/overlayfs"}
    for words in ([detail["id"]], [detail["id"][7:]], [detail["id"][7:19]], [detail["id"][:19]]):
        assert [answer["object"]["id"] for answer in why(engine, *words, "--type", "content")] == [detail["id"]]
    for words in (["busybox"], ["docker.io/library/busybox:latest"]):
        [answer] = why(engine, *words)
        assert answer["object"] == {
            "kind": "images", "id": "docker.io/library/busybox:latest", "name": "busybox:latest", "role": "",
        }  # fmt: skip
        assert [user["name"] for user in answer["users"]] == ["web"]


def test_volumes_are_kept_by_what_mounts_them(engine: Cortend, web: str) -> None:
    assert engine.corten("why", "named").stdout == (
        b"volume named is kept by\n  container web -> volume named (mounted on /named)\n"
    )
    mounts = engine.inspect("web")["Mounts"]
    anonymous = next(mount["Name"] for mount in mounts if mount["Destination"] == "/anonymous")
    assert chains(why(engine, anonymous)[0]) == [[("containers", ""), ("volumes", "mounted on /anonymous")]]
    engine.corten("rm", "web")
    assert b"no container uses it" in engine.corten("why", "named").stdout
    assert b"`volume prune` removes it" in engine.corten("why", anonymous).stdout


def test_a_lease_says_when_it_ends_and_what_it_keeps_goes_then(engine: Cortend) -> None:
    engine.cortenctl("leases", "create", "--id", "hold", "-x", "3h10m")
    with Transport(engine.host) as api:
        made = api.request(
            "POST", "/api/v1/snapshots/default/prepare", query={"lease": "hold"}, body={"key": "held"}
        )
        assert made.json()["items"]
    text = engine.cortenctl("why", "held").stdout.decode()
    assert re.fullmatch(
        r"snapshot held is kept by\n  lease hold -> snapshot held \(expires in 3 hours\)\n"
        r"  The collector takes it in 3 hours\.\n",
        text,
    )
    [lease] = why(engine, "hold")
    assert lease["object"]["kind"] == "leases"
    assert lease["goes_at"] == lease["chains"][0]["expires"]
    engine.cortenctl("leases", "rm", "--sync", "hold")
    assert b"nothing is called held" in engine.cortenctl("why", "held", check=False).stderr


def test_what_nothing_keeps_goes_with_the_next_collection(make_cortend: Callable[..., Cortend]) -> None:
    engine = make_cortend("[gc]\nschedule_delay = 7200\nmutation_threshold = 0\n")
    engine.cortenctl("gc")
    digest = documents(engine)["manifest_digest"]
    engine.corten("rmi", "busybox")
    [answer] = why(engine, digest)
    assert not answer["kept"] and answer["goes_at"]
    text = engine.corten("why", digest).stdout.decode()
    assert text == f"content {digest}: nothing keeps it. The collector takes it in 2 hours.\n"
    plan = json.loads(engine.cortenctl("gc", "--plan", "-o", "json").stdout)
    assert digest in {item["id"] for item in plan["items"]}


def test_what_is_not_there_is_said_in_one_line(engine: Cortend) -> None:
    for client in (engine.corten, engine.cortenctl):
        done = client("why", "nope", check=False)
        assert done.returncode == 1
        [line] = done.stderr.decode().splitlines()
        assert "nothing is called nope in namespace default" in line
    assert b"nothing is called busybox among the volumes" in engine.corten(
        "why", "busybox", "--type", "volumes", check=False
    ).stderr


@pytest.mark.parametrize("words", [["why", "x"], ["rmi", "--plan", "x"], ["volume", "prune", "--plan"]])
def test_another_engine_is_told_from_corten(engine: Cortend, tmp_path: Path, words: list[str]) -> None:
    """dockerd answers what it does not know with a page that is not found, in plain text or JSON of its own."""

    class Dockerd(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = b'{"message":"page not found"}\n'
            self.send_response(404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingUnixStreamServer(str(tmp_path / "d.sock"), Dockerd)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        done = engine._run([str(BIN / "corten"), "-H", f"unix://{tmp_path}/d.sock", *words], False, None, 60, None)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert done.returncode == 1
    assert b"is not corten: it cannot say what keeps an object" in done.stderr


@pytest.mark.parametrize("namespace", ["nowhere", "../../etc", "a\0b"])
def test_a_namespace_that_is_none_becomes_no_path(engine: Cortend, namespace: str) -> None:
    with Transport(engine.host) as api:
        for method, path, body in (
            ("GET", "/api/v1/why", None),
            ("POST", "/api/v1/plan", {"action": "volumes.prune"}),
            ("DELETE", f"/api/v1/namespaces/{quote(namespace)}", None),
        ):
            reply = api.request(method, path, query={"namespace": namespace, "object": "x"}, body=body)
            assert reply.status == 404, (path, reply.json())
            reply.read()
