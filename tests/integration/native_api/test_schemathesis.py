"""The whole native API against its own description, with requests that nobody would think of.

schemathesis makes them: valid ones, ones that break each rule of the description, with every kind of text in every
place. Nothing of it may end in a 5xx or in an answer that the description does not allow, and nothing in a traceback.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import corten
import daemon as daemons
from daemon import Cortend
from support_schemathesis import door, fuzz, start_alone

pytestmark = pytest.mark.root

FAR = r"^/images/(pull|push|import)|^/content/fetch|^/content/\{digest\}/push"
"""What asks a registry, which here cannot be reached: a 503 is the right answer."""
ENDLESS = r"^/events$|/(attach|start|logs|wait)$"
"""Streams, which schemathesis would wait for."""


@pytest.fixture
def alone(tmp_path: Path, busybox_tar: bytes) -> Iterator[Cortend]:
    """A daemon that reaches nobody, with an image, a container, a lease and an ingest in it."""
    daemon = Cortend(tmp_path / "alone")
    start_alone(daemon)
    try:
        daemon.corten("import", "--change", 'CMD ["/bin/sh"]', "-", "busybox", input=busybox_tar)
        with corten.Client(daemon.host) as client:
            client.containers.create("busybox", ["true"], name="web", labels={"a": "b"})
            client.leases.create("keep", {"a": "b"})
        transport = httpx.HTTPTransport(uds=str(daemon.socket))
        with httpx.Client(transport=transport, base_url="http://d/api/v1") as http:
            http.put("/content/ingests/half", content=b"bytes")
        yield daemon
        assert "Traceback" not in daemon.log_text()
    finally:
        daemon.destroy()


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Cortend]:
    """A daemon of this module's own: whatever is sent may make something."""
    with daemons.running() as daemon:
        yield daemon


def _described(daemon: Cortend, base: str, directory: Path) -> Path:
    """The description, with what there is as examples for whatever only looks or labels."""
    with corten.Client(daemon.host) as client:
        image = client.images.get("busybox")
        there: dict[str, Any] = {
            "ref": "web", "digest": image.id, "snapshotter": "overlayfs", "lease": "keep",
            "key": client.snapshots.list()[0].name,
        }  # fmt: skip
    document = httpx.get(f"{base}/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", ()):
                name = parameter["name"]
                if method in ("get", "patch") and parameter["in"] == "path" and (found := _named(path, name, there)):
                    parameter["example"] = found
    written = directory / "openapi.json"
    written.write_text(json.dumps(document))
    return written


def _named(path: str, name: str, there: dict[str, Any]) -> str | None:
    if path.startswith("/content/ingests"):
        return "half"
    if name == "name":
        return "default" if path.startswith("/namespaces") else "busybox"
    return there.get(name)


def _seed() -> int:
    return int(os.environ.get("CORTEN_SEED", "1"))


def test_answers_are_those_of_the_description(alone: Cortend, tmp_path: Path) -> None:
    with door(alone) as base:
        document = _described(alone, base, tmp_path)
        fuzz(document, base, seconds=20, seed=_seed(), but=f"{FAR}|{ENDLESS}")
        # What cannot be reached is a 5xx of the taxonomy; that no bug hides behind it, the log says.
        checks = "status_code_conformance,response_schema_conformance"
        fuzz(document, base, seconds=5, seed=_seed(), only=FAR, checks=checks)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_answers_are_those_of_the_description_for_longer(alone: Cortend, tmp_path: Path, seed: int) -> None:
    with door(alone) as base:
        document = _described(alone, base, tmp_path)
        fuzz(document, base, seconds=180, seed=seed, but=f"{FAR}|{ENDLESS}")


_ODD = [b"%00", b"%ff%fe", b"%ED%A0%80", b"%F0%9F%92%A9", b"a" * 4000, b"%2e%2e%2f", b"%0d%0a", b"99999999999999999999"]


_PLACES = [
    b"/containers/@", b"/images/@", b"/content/@", b"/content/@/data", b"/content/ingests/@", b"/tasks/@", b"/leases/@",
    b"/namespaces/@", b"/snapshots/@", b"/snapshots/overlayfs/keys/@", b"/execs/@", b"/tasks/@/logs", b"/tasks/@/execs",
    b"/images?namespace=@", b"/images?filter=@", b"/images?page=@", b"/images?limit=@",
    b"/events?follow=false&since=@",
]  # fmt: skip


@pytest.mark.parametrize("text", _ODD, ids=lambda text: text.decode()[:12])
def test_text_of_any_bytes_is_an_answer_of_ours(fuzzed: Cortend, text: bytes) -> None:
    """NUL, surrogates, no UTF-8, endless names and numbers: an error with a code, or nothing found."""
    transport = httpx.HTTPTransport(uds=str(fuzzed.socket))
    with httpx.Client(transport=transport, base_url="http://d") as http:
        for place in _PLACES:
            raw = place.replace(b"@", text)
            for method in ("GET", "DELETE", "PATCH"):
                request = http.build_request(method, "/x", content=b'{"labels": {}}' if method == "PATCH" else None)
                request.url = request.url.copy_with(raw_path=b"/api/v1" + raw)
                answer = http.send(request)
                assert answer.status_code < 500, (method, raw, answer.text)
                if answer.status_code >= 400:
                    assert answer.json()["error"]["code"]


_BODIES = [
    b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"name": "\\ud800"}', b'{"labels": {"\\ud800": "x"}}',
    b'{"labels": {"a\\u0000b": "c"}}', b"[" * 100_000, b'{"id": "a\\u0000"}', b'{"timeout": 1e400}',
    b'{"width": 99999999999999999999999999, "height": 1}', b'{"image": "busybox", "name": "\\ud83d"}',
]  # fmt: skip


@pytest.mark.parametrize("body", _BODIES, ids=lambda body: repr(body[:24]))
def test_bodies_of_any_bytes_are_an_answer_of_ours(fuzzed: Cortend, body: bytes) -> None:
    transport = httpx.HTTPTransport(uds=str(fuzzed.socket))
    with httpx.Client(transport=transport, base_url="http://d/api/v1", timeout=30) as http:
        routes = [
            (method.upper(), path)
            for path, methods in http.get("/openapi.json").json()["paths"].items()
            for method, operation in methods.items()
            if "requestBody" in operation and not path.startswith("/content/ingests/{ref}")
        ]
        for method, path in routes:
            url = path.replace("{", "").replace("}", "")
            answer = http.request(method, url, content=body, headers={"content-type": "application/json"})
            assert answer.status_code < 500, (method, path, answer.text)
