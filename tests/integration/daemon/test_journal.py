"""Who did it, and what remains of containers that are gone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from daemon import Cortend

pytestmark = pytest.mark.root


def events(engine: Cortend) -> list[dict[str, Any]]:
    with engine.api() as api:
        return list(api.request("GET", "/api/v1/events", query={"follow": "false"}).json_lines())


def postmortem(engine: Cortend, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(engine.corten("postmortem", "-o", "json", name).stdout)
    return found


def test_events_say_who_and_what_the_engine_did_by_itself(engine: Cortend) -> None:
    engine.corten("run", "--rm", "--name", "noted", "-e", "TOKEN=hunter2", "busybox", "true")
    found = {event["topic"]: event for event in events(engine) if event["attributes"].get("name") == "noted"}
    actor = found["/containers/create"]["actor"]
    assert actor["uid"] == os.getuid() and actor["pid"] > 1
    assert "corten" in actor["command"] and "--name noted" in actor["command"]
    assert "hunter2" not in json.dumps(found), "a variable's value is nobody's business"
    assert found["/tasks/start"]["actor"]["pid"] == actor["pid"]
    assert "actor" not in found["/tasks/exit"]
    assert "actor" not in found["/containers/delete"]  # --rm: nobody asked


def test_events_of_another_user_and_command_after_a_restart(make_cortend: Callable[..., Cortend]) -> None:
    engine = make_cortend()
    engine.corten("create", "--name", "kept", "busybox", "true")
    before = [event for event in events(engine) if event["attributes"].get("name") == "kept"]
    engine.kill()
    engine.start()
    assert [event for event in events(engine) if event["attributes"].get("name") == "kept"] == before != []


def test_a_removed_container_is_told_of(engine: Cortend) -> None:
    engine.corten(
        "run", "--name", "late", "-e", "PASSWORD=hunter2", "-m", "64m", "-w", "/tmp", "--net", "none", "busybox", "sh",
        "-c", "echo first; echo last words >&2; exit 7", check=False,
    )  # fmt: skip
    engine.corten("rm", "late")
    text = engine.corten("postmortem", "late").stdout.decode()
    for words in ("late (", "exit code 7", "last words", "memory 67108864", "Variables:", "rm late", "/tmp"):
        assert words in text, (words, text)
    assert "hunter2" not in text
    found = postmortem(engine, "late")
    assert {line["text"]: line["stream"] for line in found["log"]} == {"first": "stdout", "last words": "stderr"}
    assert found["removed_by"]["uid"] == os.getuid()
    assert found["container"]["id"].startswith(found["container"]["id"][:12])
    assert postmortem(engine, found["container"]["id"][:12]) == found


def test_the_last_of_a_name_is_meant_and_rm_containers_are_remembered(engine: Cortend) -> None:
    for code in (3, 4):
        engine.corten("run", "--rm", "--name", "again", "busybox", "sh", "-c", f"exit {code}", check=False)
    found = postmortem(engine, "again")
    assert found["task"]["exit_code"] == 4 and found["removed_by"] is None


def test_what_is_not_known_says_what_is(engine: Cortend) -> None:
    done = engine.corten("postmortem", "never-was", check=False)
    assert done.returncode == 1 and b"never-was" in done.stderr and done.stderr.count(b"\n") <= 2
