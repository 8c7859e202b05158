"""What the clients send and how they read answers, against a server that says what it is told to."""

from __future__ import annotations

import asyncio
import gc
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import corten
from corten_shared.errors import DataLoss, NotFound, Unavailable
from unit.client.recorder import Recorder, raw, reply

RECORD = {"name": "n", "labels": {}, "created_at": "2026-01-01T00:00:00Z"}
ENTRY = {"time": "2026-01-01T00:00:00Z", "stream": "stdout", "text": "a\u2028b\x85c\n"}


@pytest.fixture
def daemon() -> Iterator[Recorder]:
    with tempfile.TemporaryDirectory(prefix="corten-") as folder:
        recorder = Recorder(Path(folder) / "s")
        yield recorder
        recorder.close()


@pytest.fixture
def client(daemon: Recorder) -> Iterator[corten.Client]:
    with corten.Client(daemon.host, namespace="ns1") as client:
        yield client


def test_calls_name_the_namespace_and_parse_records(daemon: Recorder, client: corten.Client) -> None:
    daemon.on("GET", "/api/v1/namespaces", reply("200 OK", {"items": [RECORD]}))
    daemon.on("DELETE", "/api/v1/containers", reply("204 No Content"))
    (namespace,) = client.namespaces.list()
    assert (namespace.name, namespace.created_at) == ("n", 1_767_225_600_000_000_000)
    client.containers.remove("a b/c", force=True)
    request = daemon.requests[-1]
    assert request.path == "/api/v1/containers/a%20b/c"
    assert set(request.query.split("&")) == {"namespace=ns1", "force=true", "volumes=false"}


def test_errors_are_the_taxonomys(daemon: Recorder, client: corten.Client) -> None:
    body = {"error": {"code": "not_found", "message": "No such image: x", "hint": "pull it", "subject": "x"}}
    daemon.on("GET", "/api/v1/images", reply("404 Not Found", body))
    with pytest.raises(NotFound, match="No such image") as caught:
        client.images.get("x")
    assert (caught.value.hint, caught.value.subject) == ("pull it", "x")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"message":"docker"}', b""])
def test_errors_of_somebody_else_are_errors_too(daemon: Recorder, client: corten.Client, body: bytes) -> None:
    daemon.on("GET", "/api/v1/images", reply("502 Bad Gateway", body))
    with pytest.raises(corten.CortenError):
        client.images.list()


def test_lines_end_at_newlines_only(daemon: Recorder, client: corten.Client) -> None:
    """A container may write what Python takes for the end of a line."""
    lines = [json.dumps(ENTRY, ensure_ascii=False)] * 2
    daemon.on("GET", "/api/v1/tasks/x/logs", reply("200 OK", "\n".join([*lines, ""]).encode()))
    assert [entry.raw for entry in client.tasks.logs("x")] == [ENTRY["text"].encode()] * 2


def test_streams_last_line_may_be_an_error(daemon: Recorder, client: corten.Client) -> None:
    body = b'{"status":"Pulling"}\n{"error":{"code":"data_loss","message":"digest differs"}}\n'
    daemon.on("POST", "/api/v1/images/pull", reply("200 OK", body))
    progress = client.images.pull("x", credentials=corten.Login(username="u", password="hunter2"))
    assert next(progress).status == "Pulling"
    with pytest.raises(DataLoss, match="digest differs"):
        next(progress)
    assert daemon.requests[-1].json()["credentials"]["password"] == "hunter2"


def test_secrets_are_written_for_the_daemon_only() -> None:
    login = corten.Login(username="u", password="hunter2")
    assert "hunter2" not in repr(login) + str(login.model_dump()) + login.model_dump_json()


def test_stream_that_is_cut_within_a_line_says_so(daemon: Recorder, client: corten.Client) -> None:
    daemon.on("GET", "/api/v1/events", reply("200 OK", b'{"seq":1,"tim'))
    with pytest.raises(DataLoss, match="middle of a line"):
        list(client.events())


def test_broken_connection_is_unavailable(daemon: Recorder, client: corten.Client) -> None:
    daemon.on("GET", "/api/v1/version", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"))
    with pytest.raises(Unavailable, match=daemon.host):
        client.version()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # httpcore drops its socket unclosed
def test_daemon_that_is_down_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORTEN_HOST", "unix:///nonexistent/s")
    with corten.Client() as client, pytest.raises(Unavailable, match="unix:///nonexistent/s; is it running"):
        client.version()
    gc.collect()  # the warning comes when the socket goes: here, not in some later test


def test_async_client_does_the_same(daemon: Recorder) -> None:
    daemon.on("GET", "/api/v1/namespaces", reply("200 OK", {"items": [RECORD]}))
    daemon.on("GET", "/api/v1/tasks/x/logs", reply("200 OK", json.dumps(ENTRY).encode() + b"\n"))

    async def main() -> None:
        async with corten.AsyncClient(daemon.host) as client:
            assert [namespace.name for namespace in await client.namespaces.list()] == ["n"]
            assert [entry.stream async for entry in client.tasks.logs("x")] == ["stdout"]
            with pytest.raises(corten.CortenError):
                await client.version()

    asyncio.run(main())


def test_run_removes_its_container_whatever_happens(daemon: Recorder, client: corten.Client) -> None:
    record = {
        "id": "c1", "name": "n", "snapshotter": "overlayfs", "snapshot_key": "c1", "spec": {},
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    daemon.on("POST", "/api/v1/containers", reply("201 Created", {"container": record}))
    conflict = {"error": {"code": "conflict", "message": "no runtime"}}
    daemon.on("POST", "/api/v1/tasks", reply("409 Conflict", conflict))
    daemon.on("DELETE", "/api/v1/containers/c1", reply("204 No Content"))
    with pytest.raises(corten.Conflict, match="no runtime"):
        client.run("busybox", ["true"])
    assert [request.method for request in daemon.requests] == ["POST", "POST", "DELETE"]
    assert "force=true" in daemon.requests[-1].query
