"""Health checks as docker has them, and what follows from them; time limits."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from daemon import Cortend, eventually

pytestmark = pytest.mark.root

FAST = ("--health-interval", "200ms", "--health-retries", "2")


def health(engine: Cortend, name: str) -> dict[str, Any]:
    found: dict[str, Any] = engine.inspect(name)["State"]["Health"]
    return found


def status(engine: Cortend, name: str) -> str:
    return engine.corten("ps", "-a", "--filter", f"name={name}", "--format", "{{.Status}}").stdout.decode()


def run(engine: Cortend, name: str, *flags: str, command: tuple[str, ...] = ("sleep", "1000")) -> None:
    engine.corten("run", "-d", "--net", "none", "--name", name, *flags, "busybox", *command)


def test_from_starting_to_healthy_to_unhealthy_and_back(engine: Cortend) -> None:
    since = time.time()
    run(engine, "box", *FAST, "--health-cmd", "echo checked; test -e /tmp/well", command=("sh", "-c", "sleep 1000"))
    assert health(engine, "box")["Status"] == "starting"
    assert "(health: starting)" in status(engine, "box")
    engine.corten("exec", "box", "touch", "/tmp/well")
    assert engine.await_event("box", "health_status", since=since)["Action"] == "health_status: healthy"
    found = health(engine, "box")
    assert (found["Status"], found["FailingStreak"]) == ("healthy", 0)
    assert found["Log"][-1]["ExitCode"] == 0 and found["Log"][-1]["Output"] == "checked\n"
    assert "(healthy)" in status(engine, "box")
    since = time.time()
    engine.corten("exec", "box", "rm", "/tmp/well")
    assert engine.await_event("box", "health_status", since=since)["Action"] == "health_status: unhealthy"
    found = health(engine, "box")
    assert found["Status"] == "unhealthy" and found["FailingStreak"] >= 2 and found["Log"][-1]["ExitCode"] == 1
    assert engine.corten("ps", "-q", "--filter", "health=unhealthy").stdout
    assert not engine.corten("ps", "-q", "--filter", "health=healthy").stdout
    since = time.time()
    engine.corten("exec", "box", "touch", "/tmp/well")
    assert engine.await_event("box", "health_status: healthy", since=since)
    eventually(lambda: len(health(engine, "box")["Log"]) == 5, "the last five probes are kept")
    engine.corten("stop", "-t", "0", "box")
    assert health(engine, "box")["Status"] == "unhealthy"  # docker: a container that does not run is not healthy


def test_failures_in_the_start_period_do_not_count_and_it_is_probed_more_often(engine: Cortend) -> None:
    run(
        engine, "slow", "--health-cmd", "exit 3", "--health-interval", "1h", "--health-retries", "1",
        "--health-start-period", "1h", "--health-start-interval", "100ms",
    )  # fmt: skip
    eventually(lambda: len(health(engine, "slow")["Log"]) >= 3, "three probes, an hour apart but for the start period")
    found = health(engine, "slow")
    assert (found["Status"], found["FailingStreak"]) == ("starting", 0)
    assert {probe["ExitCode"] for probe in found["Log"]} == {3}


def test_a_check_that_hangs_is_killed_and_fails(engine: Cortend) -> None:
    run(engine, "hung", *FAST, "--health-timeout", "300ms", "--health-cmd", "echo before; sleep 777")
    eventually(lambda: health(engine, "hung")["Status"] == "unhealthy", "it is unhealthy")
    probe = health(engine, "hung")["Log"][-1]
    assert probe["ExitCode"] == -1
    assert probe["Output"].startswith("Health check exceeded timeout (300ms)") and "before" in probe["Output"]
    engine.corten("pause", "hung")
    engine.corten("unpause", "hung")
    processes = engine.corten("top", "hung").stdout
    assert processes.count(b"777") <= 2  # the one that is being waited for, and its shell


def test_output_is_bounded(engine: Cortend) -> None:
    run(engine, "loud", *FAST, "--health-cmd", "yes | head -c 1000000")
    eventually(lambda: health(engine, "loud")["Log"], "a probe")
    output = health(engine, "loud")["Log"][0]["Output"]
    assert len(output) == 4096 + 3 and output.endswith("...")


def test_what_does_not_exist_is_a_failure_with_its_reason(engine: Cortend) -> None:
    with engine.api() as api:
        body = {
            "Image": "busybox", "Cmd": ["sleep", "1000"],
            "Healthcheck": {"Test": ["CMD", "/no/such/program"], "Interval": 200_000_000, "Retries": 1},
        }  # fmt: skip
        api.request("POST", "/containers/create", query={"name": "gone"}, body=body).close()
        api.request("POST", "/containers/gone/start").close()
    eventually(lambda: health(engine, "gone")["Status"] == "unhealthy", "it is unhealthy")
    assert "/no/such/program" in health(engine, "gone")["Log"][0]["Output"]


def test_the_images_check_holds_where_none_is_given_and_parts_can_be_changed(
    engine: Cortend, busybox_tar: bytes
) -> None:
    change = "HEALTHCHECK --interval=200ms --retries=1 CMD test -e /tmp/well"
    engine.corten("import", "--change", change, "--change", 'CMD ["sleep", "1000"]', "-", "checked", input=busybox_tar)
    for name, flags in (("plain", ()), ("off", ("--no-healthcheck",)), ("patient", ("--health-retries", "1000"))):
        engine.corten("run", "-d", "--net", "none", "--name", name, *flags, "checked")
    eventually(lambda: health(engine, "plain")["Status"] == "unhealthy", "the image's check failed")
    assert "Health" not in engine.inspect("off")["State"]
    eventually(lambda: health(engine, "patient")["FailingStreak"] > 2, "failures are counted")
    assert health(engine, "patient")["Status"] == "starting"
    engine.corten("rm", "-f", "plain", "off", "patient")
    engine.corten("rmi", "checked")


@pytest.mark.parametrize("action", ["kill", "stop", "restart"])
def test_an_unhealthy_container_is_treated_as_asked(engine: Cortend, action: str) -> None:
    since = time.time()
    run(
        engine, action, *FAST, "--health-cmd", "false", "--health-on-failure", action, "--stop-timeout", "0",
        *(("--restart", "on-failure:1") if action == "kill" else ()),
    )  # fmt: skip
    if action == "stop":
        assert engine.wait(action) == [137]
        return
    engine.await_event(action, "die", since=since)
    restarted = engine.await_event(action, "die", since=since)["timeNano"] / 1e9
    engine.await_event(action, "start", since=restarted)


def test_a_status_outlives_the_daemon_and_probing_goes_on(make_cortend: Callable[..., Cortend]) -> None:
    engine = make_cortend()
    run(engine, "box", *FAST, "--health-cmd", "test ! -e /tmp/ill")
    eventually(lambda: health(engine, "box")["Status"] == "healthy", "it is healthy")
    engine.kill()
    engine.start()
    assert health(engine, "box")["Status"] == "healthy"
    engine.corten("exec", "box", "touch", "/tmp/ill")
    eventually(lambda: health(engine, "box")["Status"] == "unhealthy", "it is probed again")


def test_probes_leave_nothing_behind(engine: Cortend) -> None:
    run(engine, "busy", "--health-cmd", "true", "--health-interval", "20ms")
    eventually(lambda: health(engine, "busy")["Status"] == "healthy", "it is healthy")
    seen = {health(engine, "busy")["Log"][-1]["Start"] for _ in range(1)}
    eventually(lambda: len(seen | {health(engine, "busy")["Log"][0]["Start"]}) > 1, "probes go on")
    execs = list((engine.state / "bundles").rglob("execs/*"))
    assert len(execs) <= 1


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"Test": ["SOMETIMES", "x"]}, "Unknown healthcheck type"),
        ({"Test": ["CMD-SHELL"]}, "needs a command"),
        ({"Test": ["CMD", "x"], "Interval": 10}, "cannot be less than 1ms"),
        ({"Test": ["CMD", "x"], "Retries": -1}, "cannot be negative"),
        ({"Test": ["CMD", "x"], "OnFailure": "explode"}, "unknown health-on-failure action"),
    ],
)
def test_checks_that_make_no_sense_are_refused(engine: Cortend, check: dict[str, Any], words: str) -> None:
    with engine.api() as api, api.request(
        "POST", "/containers/create", body={"Image": "busybox", "Cmd": ["true"], "Healthcheck": check}
    ) as reply:
        assert reply.status == 400 and words in json.dumps(reply.json())


def test_a_container_is_stopped_when_its_time_is_over(engine: Cortend) -> None:
    begun = time.monotonic()
    limited = ("--timeout", "1", "--stop-timeout", "0")
    done = engine.corten("run", "--rm", "--net", "none", *limited, "busybox", "sleep", "1000", check=False)
    assert done.returncode == 137 and time.monotonic() - begun < 30


def test_a_name_can_be_taken_over_and_the_process_id_is_written_down(engine: Cortend, tmp_path: Any) -> None:
    run(engine, "same")
    first = engine.inspect("same")["Id"]
    run(engine, "same", "--replace", "--pidfile", str(tmp_path / "pid"))
    found = engine.inspect("same")
    assert found["Id"] != first
    assert int((tmp_path / "pid").read_text()) == found["State"]["Pid"] > 0
    done = engine.corten("run", "--replace", "busybox", "true", check=False)
    assert done.returncode == 125 and b"without --name" in done.stderr
