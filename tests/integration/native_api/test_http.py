"""The native API as HTTP: its description, statuses, headers, and what happens to streams."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import corten
from daemon import Cortend

pytestmark = pytest.mark.root


@pytest.fixture
def http(cortend: Cortend) -> Iterator[httpx.Client]:
    transport = httpx.HTTPTransport(uds=str(cortend.socket))
    with httpx.Client(transport=transport, base_url="http://d/api/v1", timeout=60) as client:
        yield client


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_every_operation_is_described(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    operations = list(_operations(document))
    assert {path.split("/")[1] for _, path, _ in operations} == {
        "namespaces", "content", "snapshots", "images", "containers", "tasks", "leases", "events", "info", "version",
        "gc", "execs", "plugins", "oci", "system", "postmortems", "plan", "why",
    }  # fmt: skip
    for method, path, operation in operations:
        assert operation.get("description"), (method, path)
        assert "422" not in operation["responses"]
        assert "default" in operation["responses"]
    names = [operation["operationId"] for _, _, operation in operations]
    assert len(set(names)) == len(names)


def test_docs_need_no_network_and_show_every_operation(http: httpx.Client) -> None:
    page = http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//|@import|url\(|<script", page.text)
    for _, path, _ in _operations(http.get("/openapi.json").json()):
        assert path in page.text


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nope", None, 404, "not_found"),
        ("PUT", "/images", None, 405, "invalid_argument"),
        ("GET", "/containers/nope", None, 404, "not_found"),
        ("GET", "/images/registry.example/deep/name:tag", None, 404, "not_found"),
        ("POST", "/containers", b"{", 400, "invalid_argument"),
        ("POST", "/containers", b'{"image": "busybox", "nmae": "x"}', 400, "invalid_argument"),
        ("POST", "/containers", b'{"image": "nope"}', 404, "not_found"),
        ("POST", "/namespaces", b'{"name": "../x"}', 400, "invalid_argument"),
        ("GET", "/content/sha512:00", None, 404, "not_found"),
        ("GET", "/tasks/x/logs?tail=-1", None, 400, "invalid_argument"),
        ("GET", "/events?since=yesterday", None, 400, "invalid_argument"),
        ("DELETE", "/leases/none", None, 404, "not_found"),
        ("DELETE", "/content/ingests/a/b", None, 404, "not_found"),
    ],
)
def test_errors_have_one_shape(
    http: httpx.Client, method: str, path: str, body: bytes | None, status: int, code: str
) -> None:
    answer = http.request(method, path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["message"]


def test_blobs_have_ranges_and_an_etag(http: httpx.Client, client: corten.Client) -> None:
    blob = max(client.content.list(), key=lambda found: found.size)
    path = f"/content/{blob.digest}/data"
    whole = http.get(path)
    assert whole.headers["etag"] == f'"{blob.digest}"'
    assert len(whole.content) == blob.size == int(whole.headers["content-length"])
    part = http.get(path, headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{blob.size}"
    assert http.get(path, headers={"range": f"bytes={blob.size}-"}).status_code == 416
    assert http.get(path, headers={"if-none-match": f'"{blob.digest}"'}).status_code == 304


def test_pull_that_fails_at_once_has_a_status_of_its_own(http: httpx.Client) -> None:
    answer = http.post("/images/pull", json={"reference": "127.0.0.1:1/x"})
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "unavailable"


def test_wait_sends_its_head_before_the_end(http: httpx.Client, client: corten.Client) -> None:
    client.containers.create("busybox", ["sleep", "60"], name="waited")
    client.tasks.start("waited")
    with http.stream("GET", "/tasks/waited/wait") as answer:
        assert answer.status_code == 200
        client.tasks.kill("waited", "SIGKILL")
        assert json.loads(answer.read()) == {"exit_code": 137, "error": ""}


def test_streams_end_when_the_daemon_stops(make_cortend: Any) -> None:
    """A follower of events does not keep the daemon from stopping, and learns that the stream was cut."""
    daemon: Cortend = make_cortend(image=False)
    with corten.Client(daemon.host) as client:
        client.namespaces.create("seen")
        events = client.events(since="2020-01-01T00:00:00Z", all_namespaces=True)
        assert next(events).object_id == "seen"
        assert daemon.stop() == 0
        with pytest.raises(corten.Unavailable):
            next(events)
    daemon.start()


def test_lists_come_in_pages_and_filtered(http: httpx.Client, client: corten.Client) -> None:
    """Of every noun in the same way; a page begins after the last name of the one before, whatever went meanwhile."""
    for name in ("page-a", "page-b", "page-c", "page-d"):
        client.namespaces.create(name, {"of.this": "test"} if name != "page-d" else {})
    ours = {"filter": "name~=^page-"}
    first = http.get("/namespaces", params={**ours, "limit": 2}).json()
    assert [found["name"] for found in first["items"]] == ["page-a", "page-b"]
    client.namespaces.remove("page-b")
    rest = http.get("/namespaces", params={**ours, "limit": 2, "page": first["next"]}).json()
    assert ([found["name"] for found in rest["items"]], rest["next"]) == (["page-c", "page-d"], None)
    labelled = http.get("/namespaces", params={"filter": 'labels."of.this"==test'}).json()
    assert [found["name"] for found in labelled["items"]] == ["page-a", "page-c"]
    either = http.get("/namespaces", params={"filter": ["name==page-a", "name==page-d"]}).json()
    assert [found["name"] for found in either["items"]] == ["page-a", "page-d"]
    for name in ("page-a", "page-c", "page-d"):
        client.namespaces.remove(name)


@pytest.mark.parametrize(
    "path",
    ["/namespaces", "/content", "/content/ingests", "/snapshots", "/snapshots/overlayfs", "/images", "/containers",
     "/tasks", "/leases"],
)  # fmt: skip
def test_every_list_is_paged_to_its_end(http: httpx.Client, path: str) -> None:
    whole = http.get(path).json()
    assert whole["next"] is None
    seen: list[Any] = []
    page = ""
    while page is not None:
        answer = http.get(path, params={"limit": 1, "page": page}).json()
        assert len(answer["items"]) <= 1
        seen += answer["items"]
        page = answer["next"]
    assert seen == whole["items"]
    wrong = http.get(path, params={"filter": "name=x"})
    assert (wrong.status_code, wrong.json()["error"]["details"]["position"]) == (400, 4)
    assert http.get(path, params={"limit": 0}).status_code == 400
    assert http.get(path, params={"page": "bm8"}).status_code == 400


def test_events_are_filtered(http: httpx.Client, client: corten.Client) -> None:
    client.namespaces.create("filtered-ns")
    client.namespaces.remove("filtered-ns")
    params = {"follow": "false", "filter": 'topic=="/namespaces/delete",event.name==filtered-ns'}
    (line,) = http.get("/events", params=params).text.splitlines()
    assert json.loads(line)["namespace"] == "filtered-ns"
    assert http.get("/events", params={"filter": "topic==/x"}).status_code == 400
