"""Containers in docker's shapes."""

from __future__ import annotations

from typing import Any

import pytest

from corten_shared.models.container import MountSpec, NetworkSpec, PortMapping, Resources, RestartPolicy
from corten_shared.models.network import Endpoint
from corten_shared.models.task import TaskStatus
from cortend.api.docker.container_list import command_text, human_duration, row, status_text
from cortend.api.docker.models.create import CreateBody
from cortend.api.docker.translate_create import create_request
from cortend.api.docker.translate_inspect import inspect_container
from unit.api.docker.fakes import T0, make_view

ENDPOINT = Endpoint(
    container_id="1", network="bridge", netns="/run/netns/x", address="10.1.0.2", prefix=16, gateway="10.1.0.1",
    mac="02:00:00:00:00:01", ports=[PortMapping(container_port=80, host_port=8080)],
)  # fmt: skip


def inspect(view: Any, mountpoints: dict[str, str] | None = None) -> dict[str, Any]:
    return inspect_container(view, directory="/data/1", mountpoints=mountpoints or {})


def test_a_running_container() -> None:
    document = inspect(make_view(endpoint=ENDPOINT, network=NetworkSpec(exposed=["80/tcp", "81/tcp"])))
    assert (document["Name"], document["Path"], document["Args"]) == ("/web", "sleep", ["1 hour"])
    state = document["State"]
    assert (state["Status"], state["Running"], state["ExitCode"]) == ("running", True, 0)
    assert state["StartedAt"] == "2023-11-14T22:13:20Z"
    settings = document["NetworkSettings"]
    assert settings["Ports"] == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": None}
    assert settings["IPAddress"] == settings["Networks"]["bridge"]["IPAddress"] == "10.1.0.2"
    assert len(settings["Networks"]["bridge"]["NetworkID"]) == 64


def test_a_container_that_never_ran_has_zero_times_and_no_address() -> None:
    document = inspect(make_view(status=None, endpoint=ENDPOINT))
    assert document["State"]["Status"] == "created"
    assert document["State"]["StartedAt"] == document["State"]["FinishedAt"] == "0001-01-01T00:00:00Z"
    assert document["NetworkSettings"]["IPAddress"] == ""
    assert document["NetworkSettings"]["Ports"] == {}


def test_an_ended_container_has_its_exit_code() -> None:
    state = inspect(make_view(status=TaskStatus.STOPPED, exit_code=137))["State"]
    assert (state["Status"], state["Running"], state["ExitCode"], state["Pid"]) == ("exited", False, 137, 0)


def test_what_docker_sent_comes_back(create_body: dict[str, Any]) -> None:
    body = CreateBody.model_validate(create_body)
    request = create_request(body, name="web", platform="")
    asked = {name: getattr(request.spec, name) for name in request.spec.model_fields_set}
    view = make_view(extensions=request.extensions, **asked)
    document = inspect(view, {"data": "/v/data"})
    sent, given = create_body["HostConfig"], document["HostConfig"]
    generous = {"LogConfig", "MemorySwappiness", "MaskedPaths", "ReadonlyPaths", "CgroupnsMode", "IpcMode"}
    for key in sent.keys() - generous:
        assert given.get(key) == sent[key], key
    assert given["LogConfig"]["Config"] == {"max-size": "1m"}
    config = document["Config"]
    for key in ("Hostname", "User", "Tty", "AttachStdin", "Env", "Cmd", "Entrypoint", "WorkingDir", "StopTimeout"):
        assert config[key] == create_body[key], key
    assert config["ExposedPorts"] == create_body["ExposedPorts"]
    assert [(m["Type"], m["Destination"], m["Mode"]) for m in document["Mounts"]] == [
        ("bind", "/dst", "ro"), ("volume", "/data", ""), ("bind", "/mm", "ro"), ("tmpfs", "/t", ""),
    ]  # fmt: skip
    assert document["Mounts"][1]["Source"] == "/v/data"


def test_limits_and_restart_policy_are_those_of_now() -> None:
    view = make_view(
        extensions={"docker": {"HostConfig": {"Memory": 1, "RestartPolicy": {"Name": "no"}}}},
        resources=Resources(memory=2),
        restart=RestartPolicy(name="always"),
    )
    host = inspect(view)["HostConfig"]
    assert (host["Memory"], host["RestartPolicy"]["Name"]) == (2, "always")


def test_a_natively_made_container_is_told_in_dockers_notation() -> None:
    view = make_view(
        mounts=[
            MountSpec(type="bind", source="/a", target="/b", read_only=True),
            MountSpec(type="tmpfs", target="/t", options=["size=1m"]),
        ],
        network=NetworkSpec(ports=[PortMapping(container_port=80, host_port=1)]),
    )
    host = inspect(view)["HostConfig"]
    assert host["Binds"] == ["/a:/b:ro"]
    assert host["Tmpfs"] == {"/t": "size=1m"}
    assert host["PortBindings"] == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "1"}]}


def test_a_container_in_anothers_network_has_none_of_its_own() -> None:
    settings = inspect(make_view(network=NetworkSpec(mode="container:abc")))["NetworkSettings"]
    assert settings["Networks"] == {}


def test_a_row_of_the_listing() -> None:
    found = row(make_view(endpoint=ENDPOINT, network=NetworkSpec(exposed=["80/tcp", "81/udp"])), {}, now=T0 / 1e9 + 300)
    assert (found["Names"], found["State"], found["Status"]) == (["/web"], "running", "Up 5 minutes")
    assert found["Command"] == "sleep '1 hour'"
    assert found["Created"] == T0 // 10**9
    assert found["Ports"] == [
        {"PrivatePort": 81, "Type": "udp"},
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
    ]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (TaskStatus.PAUSED, "Up 2 minutes (Paused)"),
        (TaskStatus.STOPPED, "Exited (3) About a minute ago"),
        (None, "Created"),
    ],
)
def test_status_texts(status: TaskStatus | None, text: str) -> None:
    assert status_text(make_view(status=status, exit_code=3), now=T0 / 1e9 + 120) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (3500, "58 minutes"),
        (3600, "About an hour"), (7200, "2 hours"), (3 * 86400, "3 days"), (20 * 86400, "2 weeks"),
        (90 * 86400, "3 months"), (800 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_spans_are_said_as_docker_says_them(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_commands_are_quoted_where_they_have_blanks() -> None:
    assert command_text(["sh", "-c", "a b"]) == "sh -c 'a b'"
