"""Many clients on one container at once: every answer is one that a client can use, and nothing hangs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from daemon import Cortend
from holdings import Holdings

pytestmark = pytest.mark.root

CLIENTS = 10


def at_once(engine: Cortend, count: int, request: Callable[[int], tuple[str, str, object]]) -> list[tuple[int, str]]:
    """Status and message of `count` requests that are sent at the same moment."""
    gate = threading.Barrier(count)

    def ask(number: int) -> tuple[int, str]:
        method, path, body = request(number)
        with engine.api() as api:
            api.request("GET", "/_ping").read()
            gate.wait(30)
            answer = api.request(method, path, body=body)
            data = answer.read()
        return answer.status, data.decode(errors="replace")

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(ask, range(count)))


def statuses(answers: list[tuple[int, str]]) -> Counter[int]:
    assert all(status < 500 for status, _ in answers), answers
    return Counter(status for status, _ in answers)


def create(engine: Cortend, name: str, *flags: str) -> None:
    engine.corten("create", "--name", name, *flags, "busybox", "sleep", "1000")


def test_of_ten_starts_one_starts(engine: Cortend) -> None:
    create(engine, "started", "-p", "127.0.0.1::80")
    found = statuses(at_once(engine, CLIENTS, lambda n: ("POST", "/containers/started/start", None)))
    assert found == {204: 1, 304: CLIENTS - 1}
    assert engine.inspect("started")["State"]["Running"]


def test_of_ten_creates_of_one_name_one_wins_and_the_name_is_free_again(engine: Cortend) -> None:
    before = Holdings.when_idle(engine)
    for _ in range(3):
        body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Mounts": [{"Type": "volume", "Target": "/v"}]}}
        answers = at_once(engine, CLIENTS, lambda n: ("POST", "/containers/create?name=wanted", body))  # noqa: B023
        assert statuses(answers) == {201: 1, 409: CLIENTS - 1}
        engine.corten("rm", "-v", "wanted")
    Holdings.settle(engine, before)


@pytest.mark.parametrize("running", [True, False])
def test_of_ten_removals_all_end_and_it_is_gone(engine: Cortend, running: bool) -> None:
    before = Holdings.when_idle(engine)
    for _ in range(3):
        create(engine, "removed", "-p", "127.0.0.1::80", "-v", "/data")
        if running:
            engine.corten("start", "removed")
        answers = at_once(engine, CLIENTS, lambda n: ("DELETE", "/containers/removed?force=1&v=1", None))
        assert set(statuses(answers)) <= {204, 404, 409} and statuses(answers)[204] >= 1
        assert engine.corten("ps", "-aq").stdout == b""
    Holdings.settle(engine, before)


def test_stops_and_kills_at_once(engine: Cortend) -> None:
    for _ in range(3):
        engine.corten("run", "-d", "--name", "ended", "busybox", "sleep", "1000")
        answers = at_once(
            engine, CLIENTS,
            lambda n: ("POST", f"/containers/ended/{'stop?t=1' if n % 2 else 'kill'}", None),
        )  # fmt: skip
        assert set(statuses(answers)) <= {204, 304, 409}
        assert engine.inspect("ended")["State"]["Status"] == "exited"
        engine.corten("rm", "ended")


def test_everything_at_once(engine: Cortend) -> None:
    """Whatever wins, nothing answers 5xx, nothing hangs, and force removal clears all."""
    before = Holdings.when_idle(engine)
    verbs: list[tuple[str, str, object]] = [
        ("POST", "/containers/busy/start", None),
        ("POST", "/containers/busy/stop?t=0", None),
        ("POST", "/containers/busy/restart?t=0", None),
        ("POST", "/containers/busy/kill", None),
        ("POST", "/containers/busy/pause", None),
        ("POST", "/containers/busy/unpause", None),
        ("POST", "/containers/busy/exec", {"Cmd": ["true"], "AttachStdout": True}),
        ("GET", "/containers/busy/json", None),
        ("GET", "/containers/busy/logs?stdout=1", None),
        ("POST", "/containers/busy/rename?name=busy2", None),
        ("POST", "/containers/busy/update", {"Memory": 64 << 20, "MemorySwap": -1}),
        ("GET", "/containers/busy/top", None),
        ("GET", "/containers/busy/stats?stream=0", None),
    ]
    for _ in range(4):
        engine.corten("run", "-d", "--name", "busy", "-p", "127.0.0.1::80", "busybox", "sleep", "1000")
        statuses(at_once(engine, len(verbs), lambda n: verbs[n]))
        left = engine.corten("ps", "-aq").stdout.decode().split()
        engine.corten("rm", "-f", *left)
    Holdings.settle(engine, before)


def test_execs_while_it_ends(engine: Cortend) -> None:
    before = Holdings.when_idle(engine)
    for _ in range(3):
        engine.corten("run", "-d", "--name", "ending", "busybox", "sleep", "1000")
        made = []
        with engine.api() as api:
            for _ in range(CLIENTS - 1):
                body = {"Cmd": ["sleep", "1000"]}
                made.append(api.request("POST", "/containers/ending/exec", body=body).json()["Id"])
        answers = at_once(
            engine, CLIENTS,
            lambda n: ("POST", f"/exec/{made[n]}/start", {"Detach": True})  # noqa: B023
            if n < len(made) else ("DELETE", "/containers/ending?force=1", None),  # noqa: B023
        )  # fmt: skip
        assert answers[-1][0] == 204, answers
        statuses(answers)
    Holdings.settle(engine, before)


def test_a_rm_container_that_ends_while_it_is_removed(engine: Cortend) -> None:
    before = Holdings.when_idle(engine)
    for _ in range(4):
        engine.corten("run", "-d", "--rm", "--name", "brief", "-v", "/data", "busybox", "sleep", "1000")
        answers = at_once(
            engine, 4, lambda n: (("POST", "/containers/brief/kill", None) if n % 2 else
                                  ("DELETE", "/containers/brief?force=1&v=1", None)),
        )  # fmt: skip
        statuses(answers)
        with engine.api() as api:
            api.request("POST", "/containers/brief/wait?condition=removed").read()
        assert engine.corten("ps", "-aq").stdout == b""
    Holdings.settle(engine, before)
