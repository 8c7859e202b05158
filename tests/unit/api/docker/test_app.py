"""Requests and answers: the small rules that break clients."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from corten_shared.errors import Conflict, NotFound, NotModified, Unavailable
from corten_shared.models.event import Event
from corten_shared.models.image import PullProgress
from corten_shared.models.task import ExecRecord, TaskStatus
from cortend.services.requests import LogLine, LogOptions, WaitResult
from unit.api.docker.fakes import T0, Engine, make_view

JSON = {"Content-Type": "application/json"}


def message(response: Any) -> str:
    text: str = response.json()["message"]
    return text


@pytest.mark.parametrize("prefix", ["", "/v1.24", "/v1.51", "/v1.55"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_ping(engine: Engine, prefix: str, method: str) -> None:
    response = engine.call(method, f"{prefix}/_ping")
    assert response.status_code == 200
    assert response.text == ("OK" if method == "GET" else "")
    for header, value in (
        ("Api-Version", "1.51"), ("Ostype", "linux"), ("Docker-Experimental", "false"), ("Swarm", "inactive"),
        ("Builder-Version", "1"), ("Cache-Control", "no-cache, no-store, must-revalidate"),
    ):  # fmt: skip
        assert response.headers[header] == value
    assert response.headers["Server"].startswith("Docker/")


def test_a_version_that_is_too_old_is_refused(engine: Engine) -> None:
    response = engine.call("GET", "/v1.10/info")
    assert response.status_code == 400
    assert message(response).startswith("client version 1.10 is too old. Minimum supported API version is 1.24")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nope"), ("PATCH", "/info"), ("GET", "/v1.51"), ("GET", "/vx/info"), ("PUT", "/_ping")],
)
def test_unknown_routes_are_404_in_dockers_words(engine: Engine, method: str, path: str) -> None:
    response = engine.call(method, path)
    assert (response.status_code, response.json()) == (404, {"message": "page not found"})


@pytest.mark.parametrize("noun", ["swarm", "nodes", "services", "tasks/1", "secrets", "configs/a"])
def test_swarm_is_not_here(engine: Engine, noun: str) -> None:
    response = engine.call("GET", f"/v1.51/{noun}")
    assert response.status_code == 503
    assert message(response).startswith("This node is not a swarm manager.")


def test_buildkit_is_refused_so_that_clients_fall_back(engine: Engine) -> None:
    assert engine.call("POST", "/grpc").status_code == 404
    assert engine.call("POST", "/session").status_code == 404
    assert engine.call("POST", "/build").status_code == 501
    assert engine.call("GET", "/plugins").json() == []


# -- bodies -----------------------------------------------------------------------------------------------------------


def create(engine: Engine, content: bytes, headers: dict[str, str] | None = None) -> Any:
    headers = JSON if headers is None else headers
    return engine.call("POST", "/containers/create?name=x1", content=content, headers=headers)


def test_create_answers_201_with_the_id_and_warnings(engine: Engine) -> None:
    response = create(engine, b'{"Image":"busybox"}')
    assert response.status_code == 201
    assert response.json() == {"Id": f"{9:064x}", "Warnings": ["a warning"]}
    assert engine.containers.calls[0][2].name == "x1"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "invalid JSON: got EOF while reading request body"),
        (b"  ", "invalid JSON: got EOF while reading request body"),
        (b"{", "invalid JSON"),
        (b"\xff\xfe", "invalid JSON"),
        (b"[" * 100_000, "invalid JSON"),
        (b'{"Image":"x"}{"a":1}', "invalid JSON: unexpected content after JSON"),
        (b'{"Image":1}', "invalid JSON: Image"),
        (b'{"Image":"x","HostConfig":{"Memory":"much"}}', "invalid JSON: HostConfig.Memory"),
        (b'{"Image":"x","HostConfig":{"Memory":1e99}}', "invalid JSON: HostConfig.Memory"),
        (b"[]", "invalid JSON"),
        (b'{"Image":""}', "no image specified"),
    ],
)
def test_bodies_that_cannot_be_read_are_400(engine: Engine, content: bytes, text: str) -> None:
    response = create(engine, content)
    assert response.status_code == 400
    assert text in message(response)


def test_a_body_must_say_that_it_is_json(engine: Engine) -> None:
    for headers in ({"Content-Type": "text/plain"}, {}):
        assert create(engine, b'{"Image":"x"}', headers).status_code == 400
    assert create(engine, b'{"Image":"x"}', {"Content-Type": "application/json; charset=utf-8"}).status_code == 201


def test_a_body_that_is_too_large_is_refused(engine: Engine) -> None:
    response = create(engine, b'{"Image":"' + b"x" * (5 << 20) + b'"}')
    assert response.status_code == 400
    assert "request body is larger than" in message(response)


def test_an_unexpected_error_is_500_without_a_traceback(engine: Engine) -> None:
    engine.containers.error = RuntimeError("secret detail")
    response = create(engine, b'{"Image":"x"}')
    assert response.status_code == 500
    assert "secret" not in response.text


# -- containers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"), [(None, 204), (NotModified("running"), 304), (Conflict("no"), 409), (NotFound("x"), 404)]
)
def test_start_translates_what_the_service_says(engine: Engine, error: Exception | None, status: int) -> None:
    engine.containers.error = error
    assert engine.call("POST", "/containers/web/start").status_code == status


def test_start_takes_no_body(engine: Engine) -> None:
    assert engine.call("POST", "/containers/web/start", content=b'{"Binds":[]}', headers=JSON).status_code == 400


def test_stop_passes_time_and_signal(engine: Engine) -> None:
    assert engine.call("POST", "/v1.42/containers/web/stop?t=3&signal=INT").status_code == 204
    assert engine.containers.calls == [("stop", "web", {"timeout": 3, "signal": "INT"})]


def test_a_number_that_is_none_is_refused_in_gos_words(engine: Engine) -> None:
    response = engine.call("POST", "/containers/web/stop?t=soon")
    assert (response.status_code, message(response)) == (400, 'strconv.Atoi: parsing "soon": invalid syntax')


def test_wait_answers_its_headers_before_the_end(engine: Engine, tmp_path: Path) -> None:
    engine.containers.views = [make_view()]

    async def main() -> None:
        engine.containers.result = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(30), engine.serve(tmp_path / "s") as path:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"POST /containers/web/wait?condition=next-exit HTTP/1.1\r\nHost: d\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head and b"chunked" in head.lower()
            engine.containers.result.set_result(WaitResult(7))
            assert b'{"StatusCode":7}' in await reader.readuntil(b"0\r\n\r\n")
            writer.close()

    asyncio.run(main())


@pytest.mark.parametrize("what", ["wait?condition=later", "logs", "resize?h=1"])
def test_parameters_are_checked_before_the_stream(engine: Engine, what: str) -> None:
    path = f"/containers/web/{what}"
    engine.containers.views = [make_view()]
    assert engine.call("GET" if "logs" in path else "POST", path).status_code == 400


def test_logs_are_framed_with_times_on_the_first_piece_of_a_line_only(engine: Engine) -> None:
    engine.containers.views = [make_view()]
    engine.containers.lines = [LogLine(T0 + 5, 1, b"long "), LogLine(T0 + 6, 1, b"line\n"), LogLine(T0, 2, b"err\n")]
    response = engine.call("GET", "/containers/web/logs?stdout=1&stderr=true&timestamps=1&tail=10&since=5.5")
    assert response.headers["content-type"] == "application/vnd.docker.multiplexed-stream"
    stamp = b"2023-11-14T22:13:20.000000005Z "
    first = stamp + b"long "
    assert response.content.startswith(b"\x01\0\0\0\0\0\0" + bytes([len(first)]) + first)
    assert b"\x01\0\0\0\0\0\0\x05line\n" in response.content
    options: LogOptions = engine.containers.calls[0][2]
    assert (options.tail, options.since_ns, options.follow) == (10, 5_500_000_000, False)


def test_list_shows_running_ones_newest_first_and_filters(engine: Engine) -> None:
    engine.containers.views = [
        make_view("new", number=3, labels={"a": "b"}),
        make_view("old", number=2, status=TaskStatus.STOPPED, exit_code=3),
        make_view("older", number=1),
    ]

    def names(query: str) -> list[str]:
        return [row["Names"][0] for row in engine.call("GET", f"/containers/json?{query}").json()]

    def filtered(value: Any, more: str = "&all=1") -> list[str]:
        return names(f"filters={json.dumps(value)}{more}")

    assert names("") == ["/new", "/older"]
    assert names("all=1") == ["/new", "/old", "/older"]
    assert names("limit=2") == ["/new", "/old"]
    assert filtered({"label": ["a=b"]}) == ["/new"]
    assert filtered({"status": {"exited": True}}, "") == ["/old"]
    assert filtered({"exited": ["3"]}) == ["/old"]
    assert filtered({"name": ["^/old$"]}) == ["/old"]
    assert filtered({"before": ["new"]}) == ["/old", "/older"]
    assert filtered({"since": ["old"]}) == ["/new"]
    assert filtered({"ancestor": ["busybox"]}) == ["/new", "/old", "/older"]
    assert filtered({"ancestor": ["debian"]}) == []
    assert filtered({"network": ["bridge"], "id": ["000"]}) == ["/new", "/old", "/older"]


@pytest.mark.parametrize("filters", ['{"bogus":["1"]}', "{", '{"status":["odd"]}', '{"before":["nobody"]}'])
def test_bad_filters_are_the_clients_fault(engine: Engine, filters: str) -> None:
    assert engine.call("GET", "/containers/json", params={"filters": filters}).status_code in (400, 404)


def test_update_leaves_what_is_not_given(engine: Engine) -> None:
    engine.containers.views = [make_view()]
    response = engine.call("POST", "/containers/web/update", content=b'{"CpuShares":5,"Memory":0}', headers=JSON)
    assert response.json() == {"Warnings": []}
    _, _, resources, policy, _ = engine.containers.calls[0]
    assert (resources.cpu_shares, resources.memory, policy) == (5, 0, None)


# -- exec, networks, events, pull -------------------------------------------------------------------------------------


def test_exec_create_and_inspect(engine: Engine) -> None:
    body = {"Cmd": ["ls", "-l"], "AttachStdout": True, "Tty": True, "User": "1", "DetachKeys": None}
    assert engine.call("POST", "/containers/web/exec", json=body).status_code == 201
    document = engine.call("GET", "/exec/e/json").json()
    assert document["ExitCode"] is None
    assert document["ProcessConfig"] == {
        "tty": True, "entrypoint": "ls", "arguments": ["-l"], "privileged": False, "user": "1",
    }  # fmt: skip


def test_exec_start_detached_is_200_and_errors_have_a_status(engine: Engine) -> None:
    engine.execs.record = ExecRecord(id="e", container_id="1", args=["x"])
    assert engine.call("POST", "/exec/e/start", json={"Detach": True}).status_code == 200
    engine.execs.error = Conflict("has already run")
    assert engine.call("POST", "/exec/e/start", json={"Detach": False}).status_code == 409


def test_networks_are_the_three_that_docker_has(engine: Engine) -> None:
    found = engine.call("GET", "/networks/").json()
    assert [(network["Name"], network["Driver"]) for network in found] == [
        ("bridge", "bridge"), ("host", "host"), ("none", "null"),
    ]  # fmt: skip
    assert engine.call("GET", f"/networks/{found[0]['Id'][:12]}").json()["IPAM"]["Config"][0]["Gateway"] == "10.1.0.1"
    assert engine.call("GET", "/networks/nope").status_code == 404
    assert engine.call("DELETE", "/networks/host").status_code == 403


def event(topic: str, seq: int, **attributes: str) -> Event:
    return Event(seq=seq, time=T0 + seq, namespace="default", topic=topic, object_id="c1", attributes=attributes)


def test_events_come_from_the_journal_in_dockers_words_and_end_at_until(engine: Engine) -> None:
    engine.metadata.journal = [
        event("/containers/create", 1, name="web", image="busybox"),
        event("/leases/create", 2),
        event("/tasks/exit", 3, name="web", image="busybox", exit_code="0"),
        event("/images/create", 4, action="pull", name="busybox:latest", id="sha256:1"),
    ]
    query = {"since": str(T0 // 10**9), "until": str(T0 // 10**9 + 5)}
    response = engine.call("GET", "/events", params=query)
    found = [json.loads(line) for line in response.text.splitlines()]
    assert [(e["Type"], e["Action"], e["Actor"]["ID"]) for e in found] == [
        ("container", "create", "c1"), ("container", "die", "c1"), ("image", "pull", "busybox:latest"),
    ]  # fmt: skip
    assert found[1]["Actor"]["Attributes"]["exitCode"] == "0"
    assert found[1]["timeNano"] == T0 + 3
    filtered = engine.call("GET", "/v1.52/events", params={**query, "filters": '{"event":["die"],"container":["web"]}'})
    assert [json.loads(line)["Action"] for line in filtered.text.splitlines()] == ["die"]
    assert filtered.headers["content-type"] == "application/jsonl"


def test_a_client_that_hangs_up_ends_its_idle_event_stream(engine: Engine, tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), engine.serve(tmp_path / "s") as path:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n")
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            writer.close()
            await engine.exchange.left.wait()

    asyncio.run(main())


def test_a_pull_tells_its_progress_in_lines(engine: Engine) -> None:
    engine.pulls.lines = [
        PullProgress(status="Pulling from library/busybox", id="latest"),
        PullProgress(status="Downloading", id="abc", current=1, total=2),
        PullProgress(status="Pull complete", id="abc"),
    ]
    auth = base64.urlsafe_b64encode(json.dumps({"username": "u", "password": "p"}).encode()).decode()
    response = engine.call(
        "POST", "/images/create?fromImage=busybox&tag=latest", headers={"X-Registry-Auth": auth}
    )
    assert response.content.split(b"\r\n")[:2] == [
        b'{"status":"Pulling from library/busybox","id":"latest"}',
        b'{"status":"Downloading","id":"abc","progressDetail":{"current":1,"total":2}}',
    ]
    reference, _, credentials = engine.pulls.asked[0]
    assert (reference, credentials.username, credentials.password.get_secret_value()) == ("busybox:latest", "u", "p")


def test_a_pull_that_fails_at_once_has_a_status_and_later_an_error_line(engine: Engine) -> None:
    engine.pulls.error = NotFound("manifest unknown")
    assert engine.call("POST", "/images/create?fromImage=x&tag=1").status_code == 404
    engine.pulls.lines = [PullProgress(status="Pulling from x", id="latest")]
    engine.pulls.error = Unavailable("connection reset")
    response = engine.call("POST", "/images/create?fromImage=x&tag=sha256:1")
    assert response.status_code == 200
    assert json.loads(response.content.split(b"\r\n")[1]) == {
        "errorDetail": {"message": "connection reset"}, "error": "connection reset",
    }  # fmt: skip
    assert engine.pulls.asked[1][0] == "x@sha256:1"


def test_a_pull_without_a_tag_is_of_every_tag(engine: Engine) -> None:
    engine.pulls.lines = [PullProgress(status="x")]
    assert engine.call("POST", "/images/create?fromImage=localhost:5000/x").status_code == 200
    assert engine.pulls.asked[0][0] == "every tag of localhost:5000/x"


@pytest.mark.parametrize("header", ["", "e30=", "!!!", "W10", "bnVsbA", "/" * 40])
def test_a_login_that_cannot_be_read_is_none(engine: Engine, header: str) -> None:
    engine.pulls.lines = [PullProgress(status="x")]
    assert engine.call("POST", "/images/create?fromImage=x:1", headers={"X-Registry-Auth": header}).status_code == 200
    assert engine.pulls.asked[0][2] is None
