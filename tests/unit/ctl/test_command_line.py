"""`cortenctl` as it is typed: every command has help, errors are one line, the terminal is safe."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module

import pytest

import corten
from corten.ctl.main import NOUNS, VERBS, run
from unit.client.recorder import Recorder, reply


def _commands() -> list[tuple[str, ...]]:
    nouns = [(noun, verb) for noun in NOUNS for verb in import_module(f"corten.ctl.{noun}").COMMANDS]
    return [*nouns, *((verb,) for verb in VERBS)]


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_every_command_has_help(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage:  cortenctl {' '.join(words)}")
    assert "--namespace" in shown


@pytest.mark.parametrize("words", [[], ["help"], ["--help"], *([noun] for noun in NOUNS)])
def test_help_lists_what_there_is(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    assert "Commands:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["imgaes"], "unknown command: cortenctl imgaes (did you mean images?)"),
        (["images", "lss"], "unknown command: cortenctl images lss (did you mean ls?)"),
        (["tasks", "wait"], "'cortenctl tasks wait' requires 1 argument\nUsage:  cortenctl tasks wait"),
        (["images", "ls", "--nope"], "unknown flag: --nope"),
        (["images", "ls", "-o", "yaml"], 'invalid argument "yaml" for "-o, --output" flag: it is table or json'),
    ],
)
def test_usage_errors_say_what_and_exit_two(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    assert capsys.readouterr().err.startswith(f"cortenctl: {message}")


def test_daemon_that_is_down_is_one_line_with_the_next_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CORTEN_HOST", "unix:///nonexistent/s")
    assert run(["images", "ls"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot connect to cortend at unix:///nonexistent/s" in line
    assert "`cortend`" in line


def test_global_flags_stand_before_or_after_the_command(daemon: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.on("GET", "/api/v1/images", reply("200 OK", {"items": []}))
    assert run(["-n", "one", "images", "ls", "-o", "json"]) == 0
    assert run(["images", "ls", "--namespace=two"]) == 0
    assert [request.query for request in daemon.requests] == ["namespace=one", "namespace=two"]
    assert capsys.readouterr().out.startswith("[]\n")


def test_names_from_the_daemon_cannot_move_the_cursor(daemon: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    evil = {"name": "a\x1b[2Jb", "labels": {}, "created_at": "2026-01-01T00:00:00Z"}
    daemon.on("GET", "/api/v1/namespaces", reply("200 OK", {"items": [evil]}))
    for words in (["ls"], ["ls", "-q"], ["ls", "-o", "json"]):
        assert run(["namespaces", *words]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "a\\x1b[2Jb" in shown


def test_removal_goes_on_after_a_failure(daemon: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    missing = {"error": {"code": "not_found", "message": "No such container: a"}}
    daemon.on("DELETE", "/api/v1/containers/a", reply("404 Not Found", missing))
    daemon.on("DELETE", "/api/v1/containers/b", reply("204 No Content"))
    assert run(["containers", "rm", "a", "b"]) == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("b\n", "cortenctl: No such container: a\n")


def test_pull_prints_plain_lines_without_a_terminal(daemon: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    image = {"name": "docker.io/library/x:latest"}
    lines = [
        {"status": "Pulling from library/x", "id": "latest"},
        {"status": "Downloading", "id": "abc", "current": 1, "total": 2},
        {"status": "Pull complete", "id": "abc"},
        {"status": "Status: Downloaded newer image for x:latest", "image": image},
    ]
    daemon.on("POST", "/api/v1/images/pull", reply("200 OK", "\n".join(map(json.dumps, lines)).encode()))
    assert run(["images", "pull", "x"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "latest: Pulling from library/x"
    assert "abc: Pull complete" in shown
    assert run(["images", "pull", "-q", "x"]) == 0
    assert capsys.readouterr().out == "docker.io/library/x:latest\n"


@pytest.mark.parametrize("flags", [[], ["-q"]])
def test_pull_that_fails_or_is_cut_short_is_a_failure(
    daemon: Recorder, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    failed = b'{"status":"Downloading","id":"a"}\n{"error":{"code":"data_loss","message":"digest differs"}}\n'
    daemon.on("POST", "/api/v1/images/pull", reply("200 OK", failed))
    assert run(["images", "pull", *flags, "x"]) == 1
    assert "digest differs" in capsys.readouterr().err
    daemon.rules.clear()
    daemon.on("POST", "/api/v1/images/pull", reply("200 OK", b'{"status":"Downloading","id":"a"}\n'))
    assert run(["images", "pull", *flags, "x"]) == 1
    assert "ended before it was done" in capsys.readouterr().err


def test_version_needs_no_daemon_and_hardly_any_import() -> None:
    code = (
        "import sys; sys.argv = ['cortenctl', '--version']\n"
        "from corten.ctl.__main__ import _run\n"
        "_run(); print(sorted(n for n in sys.modules if n.startswith(('corten.', 'json', 'typing', 'socket'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version, modules = done.stdout.splitlines()
    assert version == f"cortenctl version {corten.__version__}"
    assert modules == "['corten.ctl', 'corten.ctl.__main__']"
