"""Trace points: the table and the source agree, what is armed happens, what is not costs nothing."""

from __future__ import annotations

import ast
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import cortend
from corten_shared.errors import Internal, InvalidArgument
from cortend.core import trace

NAME = "content.commit.synced"
OTHER = "content.commit.renamed"


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    trace.arm("")


def used() -> Counter[str]:
    """Every name that the daemon's source passes to `trace.point`, literally."""
    found: Counter[str] = Counter()
    for path in Path(cortend.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="trace"), attr="point"), args=[argument]):
                    assert isinstance(argument, ast.Constant), f"{path}:{node.lineno}: a point's name is a literal"
                    found[argument.value] += 1
    return found


def test_the_table_has_what_the_source_uses_and_nothing_else() -> None:
    assert set(used()) == set(trace.POINTS)


def test_every_name_says_what_it_means() -> None:
    assert all(meaning and re.fullmatch(r"[a-z]+(\.[a-z]+){1,2}", name) for name, meaning in trace.POINTS.items())


def test_unarmed_points_do_nothing() -> None:
    for name in trace.POINTS:
        trace.point(name)


def test_an_error_at_the_first_hit_only() -> None:
    assert trace.arm(f"{NAME}=error") == [NAME]
    trace.point(OTHER)
    with pytest.raises(Internal, match=NAME):
        trace.point(NAME)
    trace.point(NAME)


def test_an_error_at_the_third_hit_and_at_every_hit() -> None:
    trace.arm(f"{NAME}=error@3, {OTHER}=error@*")
    for _ in range(2):
        trace.point(NAME)
        with pytest.raises(Internal):
            trace.point(OTHER)
    with pytest.raises(Internal):
        trace.point(NAME)


def test_a_delay_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    trace.arm(f"{NAME}=delay:0.25@2")
    trace.point(NAME)
    trace.point(NAME)
    assert waited == [0.25]


def test_a_kill_is_a_kill() -> None:
    program = f"from cortend.core import trace; trace.arm('{NAME}=kill@2'); [trace.point('{NAME}') for _ in 'ab']"
    done = subprocess.run([sys.executable, "-c", program], timeout=60)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    "text", ["nope", "content.commit.nope=kill", f"{NAME}", f"{NAME}=die", f"{NAME}=kill@x", f"{NAME}=delay:x",
             f"{NAME}=delay:-1", f"{NAME}=kill:3", f"{NAME}=kill@-1", f"{NAME}=delay:nan"],
)  # fmt: skip
def test_what_cannot_be_armed_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="CORTEN_TRACE"):
        trace.arm(text)
