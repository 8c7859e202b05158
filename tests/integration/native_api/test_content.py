"""Content through `cortenctl` and HTTP: ingest and its resumption, editing, objects of registries."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

import corten
from daemon import BIN, Cortend, eventually
from images import busybox_image, push_to_registry
from support_registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("client")]
KEEP = "containerd.io/gc.root=now"


@pytest.fixture
def http(cortend: Cortend) -> Iterator[httpx.Client]:
    transport = httpx.HTTPTransport(uds=str(cortend.socket))
    with httpx.Client(transport=transport, base_url="http://d/api/v1", timeout=60) as client:
        yield client


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_file_becomes_a_blob_and_comes_back(cortend: Cortend, tmp_path: Path) -> None:
    ctl = cortend.cortenctl
    data = os.urandom(3 << 20)
    (tmp_path / "blob").write_bytes(data)
    digest = ctl("content", "ingest", "--label", KEEP, "file", str(tmp_path / "blob")).stdout.decode().strip()
    assert digest == _digest(data)
    assert ctl("content", "get", digest).stdout == data
    assert ctl("content", "get", "--offset", "10", "--length", "20", digest).stdout == data[10:30]
    ctl("gc")
    assert json.loads(ctl("content", "info", digest).stdout)["labels"] == {"containerd.io/gc.root": "now"}
    assert digest in ctl("content", "ls", "-q", f"digest=={digest}").stdout.decode().splitlines()
    ctl("content", "rm", digest)
    assert ctl("content", "info", digest, check=False).returncode == 1


def test_standard_input_is_checked(cortend: Cortend) -> None:
    ctl = cortend.cortenctl
    wrong = ctl("content", "ingest", "--expected-size", "4", "in", input=b"abc", check=False)
    assert wrong.returncode == 1
    wrong = ctl("content", "ingest", "--expected-digest", _digest(b"abd"), "in", input=b"abc", check=False)
    assert wrong.returncode == 1
    assert _digest(b"abd") in wrong.stderr.decode()
    right = ctl("content", "ingest", "--expected-digest", _digest(b"abc"), "--expected-size", "3", "in", input=b"abc")
    assert right.stdout.decode().strip() == _digest(b"abc")
    assert b"next collection takes it" in right.stderr
    again = ctl("content", "ingest", "-q", "--expected-digest", _digest(b"abc"), "in", input=b"abc")
    assert (again.stdout, again.stderr) == (right.stdout, b"")
    ctl("gc")
    assert ctl("content", "info", _digest(b"abc"), check=False).returncode == 1


def test_ingest_is_resumed_where_it_broke_off(cortend: Cortend, http: httpx.Client, client: corten.Client) -> None:
    """A sender that dies leaves its bytes; the next one with the same digest sends the rest."""
    data = os.urandom(2 << 20)
    digest, half = _digest(data), 1 << 20
    path = "/api/v1/content/ingests/broken"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(cortend.socket))
        head = f"PUT {path}?expected={digest} HTTP/1.1\r\nHost: d\r\nContent-Length: {len(data)}\r\n\r\n"
        sock.sendall(head.encode() + data[:half])
        eventually(lambda: _offset(http) == half, "half of it is written")
    status = eventually(lambda: http.get("/content/ingests/broken"), "").json()
    assert (status["offset"], status["expected"]) == (half, digest)
    assert b"broken" in cortend.cortenctl("content", "active", "^bro").stdout
    assert b"broken" not in cortend.cortenctl("content", "active", "^x").stdout

    def patched() -> httpx.Response:  # the first connection's end may still be under way
        answer = http.patch("/content/ingests/broken", params={"offset": 5, "expected": digest}, content=b"x")
        return answer if answer.status_code != 503 else None  # type: ignore[return-value]

    conflict = eventually(patched, "the writer lets go")
    assert (conflict.status_code, conflict.json()["error"]["details"]) == (409, {"offset": half})
    sent = subprocess.run(
        [BIN / "cortenctl", "-a", str(cortend.socket), "--debug", "content", "ingest", "--label", KEEP,
         "--expected-digest", digest, "broken"],
        input=data, capture_output=True, timeout=60,
    )  # fmt: skip
    assert sent.stdout.decode().strip() == digest, sent.stderr
    assert b"PATCH" in sent.stderr
    assert client.content.read(digest) == data
    client.content.remove(digest)


def _offset(http: httpx.Client) -> int:
    answer = http.get("/content/ingests/broken")
    return int(answer.json()["offset"]) if answer.status_code == 200 else -1


def test_ingest_over_http_piece_by_piece(http: httpx.Client) -> None:
    ref = "/content/ingests/dir/of/pieces"
    first = http.put(ref, params={"size": 6}, content=b"abc").json()
    assert (first["ref"], first["offset"], first["total"]) == ("dir/of/pieces", 3, 6)
    assert http.patch(ref, params={"offset": 3, "size": 6}, content=b"defg").status_code == 429
    assert http.put(ref, params={"size": 6}, content=b"abc").json()["offset"] == 3
    assert http.patch(ref, params={"offset": 3, "size": 6}, content=b"def").json()["offset"] == 6
    made = http.post(f"{ref}/commit", json={"size": 6, "labels": {"a": "b", "containerd.io/gc.root": "x"}})
    assert (made.status_code, made.json()["digest"]) == (201, _digest(b"abcdef"))
    assert http.get(ref).status_code == 404
    assert http.post(f"{ref}/commit", json={}).status_code == 404
    http.put(ref, content=b"abcdef")
    again = http.post(f"{ref}/commit", json={"labels": {"c": "d"}})  # is there already: the labels are added
    assert again.json()["labels"] == {"a": "b", "c": "d", "containerd.io/gc.root": "x"}
    http.put(ref, content=b"other")
    lost = http.post(f"{ref}/commit", json={"expected": _digest(b"abcdef")})
    assert (lost.status_code, lost.json()["error"]["code"]) == (400, "invalid_argument")
    assert http.put(ref, params={"expected": "sha256:x"}, content=b"").status_code == 400
    http.put(ref, content=b"left over")
    assert http.delete(ref).status_code == 204
    assert http.get(ref).status_code == 404
    http.delete(f"/content/{_digest(b'abcdef')}")


def test_if_range_and_if_none_match(http: httpx.Client, client: corten.Client) -> None:
    blob = max(client.content.list(), key=lambda found: found.size)
    path, tag = f"/content/{blob.digest}/data", f'"{blob.digest}"'
    same = http.get(path, headers={"range": "bytes=1-2", "if-range": tag})
    assert (same.status_code, len(same.content)) == (206, 2)
    other = http.get(path, headers={"range": "bytes=1-2", "if-range": '"sha256:x"'})
    assert (other.status_code, len(other.content)) == (200, blob.size)
    assert http.get(path, headers={"if-none-match": f'"x", W/{tag}'}).status_code == 304
    assert http.get(path, headers={"if-none-match": "*"}).status_code == 304
    assert http.get(path, headers={"range": "bytes=0-"}).status_code == 206


def test_edit_makes_another_blob(make_cortend: Callable[..., Cortend], tmp_path: Path) -> None:
    # what it becomes is held by nothing, as with ctr: here the collector leaves it some time
    ctl = make_cortend("[gc]\nschedule_delay = 600\nstartup_delay = 600\n", image=False).cortenctl
    old = ctl("content", "ingest", "-q", "--label", KEEP, "old", input=b'{"a": 1}').stdout.decode().strip()
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i s/1/2/ \"$1\"\n")
    editor.chmod(0o755)
    new = ctl("content", "edit", "-q", "--validate", "json", "--editor", str(editor), old).stdout.decode().strip()
    assert ctl("content", "get", new).stdout == b'{"a": 2}'
    editor.write_text("#!/bin/sh\necho broken > \"$1\"\n")
    refused = ctl("content", "edit", "--validate", "json", "--editor", str(editor), old, check=False)
    assert refused.returncode == 1
    assert b"not JSON" in refused.stderr
    ctl("content", "rm", old, new)


def test_objects_of_a_registry_are_read_without_keeping_them(cortend: Cortend, registry: Registry) -> None:
    ctl = cortend.cortenctl
    push_to_registry(busybox_image(), registry.host, "objects/bb", "1")
    name = f"{registry.host}/objects/bb"
    before = ctl("content", "ls", "-q").stdout
    manifest = ctl("content", "fetch-object", f"{name}:1").stdout
    layer = json.loads(manifest)["layers"][0]["digest"]
    data = ctl("content", "fetch-blob", name, layer).stdout
    assert _digest(data) == layer
    assert _digest(manifest) == _digest(ctl("content", "fetch-object", f"{name}@{_digest(manifest)}").stdout)
    assert ctl("content", "ls", "-q").stdout == before
    missing = ctl("content", "fetch-blob", name, "sha256:" + "1" * 64, check=False)
    assert missing.returncode == 1
    assert len(missing.stderr.splitlines()) == 1
    told = ctl("content", "fetch-object", "--plain-http", f"{name}:1", check=False)
    assert (told.returncode, b"hosts.toml" in told.stderr) == (2, True)


def test_references_to_layers_are_pruned(cortend: Cortend, registry: Registry) -> None:
    """What is unpacked runs without its layers' blobs; `images check` says what is missing."""
    ctl = cortend.cortenctl
    push_to_registry(busybox_image(), registry.host, "pruned/bb", "1")
    name, ns = f"{registry.host}/pruned/bb:1", ("-n", "pruned")
    ctl(*ns, "content", "fetch", name)
    (fetched,) = json.loads(ctl(*ns, "images", "check", "-o", "json").stdout)
    assert (fetched["status"], fetched["unpacked"]) == ("complete", False)
    ctl(*ns, "images", "pull", name)
    layers = json.loads(ctl(*ns, "images", "usage", "-o", "json", name).stdout)["layers"]
    dry = json.loads(ctl(*ns, "content", "prune", "references", "--dry", "-o", "json").stdout)
    assert [value for pruned in dry for value in pruned["labels"].values()] == [layer["digest"] for layer in layers]
    assert b"complete" in ctl(*ns, "images", "check").stdout
    ctl(*ns, "content", "prune", "references")
    digests = ctl(*ns, "content", "ls", "-q").stdout.decode().split()
    assert not {layer["digest"] for layer in layers} & set(digests)
    (checked,) = json.loads(ctl(*ns, "images", "check", "-o", "json", check=False).stdout)
    assert (checked["status"], checked["unpacked"]) == ("incomplete", True)
    assert checked["blobs"] - checked["blobs_present"] == len(layers)
    assert ctl(*ns, "run", "--rm", name, "still", "true").returncode == 0
    ctl(*ns, "images", "rm", "--sync", name)
