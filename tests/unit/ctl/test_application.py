"""`cortenctl` as a Typer application: the second reader of its lines, and its help and completion."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module

import pytest

from corten import application
from corten.ctl.main import ALIASES, NOUNS, PROGRAM, VERB_ALIASES, VERBS
from unit.client.readers import (
    Reader,
    by_the_lean_reader,
    every_help_comes_from_typer,
    one_option_for_each_flag,
    read_every_flag_alike,
    typer_reader,
)
from unit.client.recorder import Recorder, reply

PATHS = [*(f"{noun} {verb}" for noun in NOUNS for verb in import_module(f"corten.ctl.{noun}").COMMANDS), *VERBS]
LINES = """
-it -m64m busybox box sh -c 'x -n'
-n one --namespace=two busybox box
-e A=1 -eB=2 --env=C=3 --cpus 1.5 busybox box
--rm=false -o json busybox box --rm
-ojson -o=table busybox box
-o yaml busybox box
-- busybox --rm
--no-such busybox
-y
--network
-h
"""


@pytest.fixture
def by_typer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Reader:
    return typer_reader(PROGRAM, monkeypatch, capsys)


@pytest.mark.parametrize("path", PATHS)
def test_both_readers_read_every_flag_alike(path: str, by_typer: Reader) -> None:
    read_every_flag_alike(PROGRAM, path.split(), by_typer)


@pytest.mark.parametrize("line", LINES.strip().splitlines())
@pytest.mark.parametrize("path", ["run", "containers create", "images pull"])
def test_both_readers_know_the_grammar(path: str, line: str, by_typer: Reader) -> None:
    """Also where flags stop at the first argument, and where they do not."""
    *nouns, name = path.split()
    command, words = PROGRAM.load(PROGRAM.entries("".join(nouns))[name]), shlex.split(line)
    *_, typer = by_typer(*path.split(), *words)
    assert typer == by_the_lean_reader(command, words)


def test_every_alias_is_the_command_itself(by_typer: Reader) -> None:
    """Of nouns, of their commands, and of commands that have no noun; for both readers."""
    for alias, name in ALIASES.items():
        if name in NOUNS:
            assert by_typer(alias, "ls")[0] == f"cortenctl {name} ls"
        else:
            assert by_typer(alias)[0] == f"cortenctl {name}"
    for noun in NOUNS:
        for alias, verb in VERB_ALIASES.items():
            if verb in PROGRAM.entries(noun):
                assert by_typer(noun, alias)[0] == f"cortenctl {noun} {verb}"


def test_it_is_a_typer_application_with_one_option_for_each_flag() -> None:
    one_option_for_each_flag(PROGRAM)


def test_help_comes_from_typer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    every_help_comes_from_typer(PROGRAM, monkeypatch, capsys)


def test_examples_in_the_help_are_lines_that_work(by_typer: Reader) -> None:
    """As far as a command line can: known commands and flags, and as many arguments as they take."""
    assert PROGRAM.examples
    for line in PROGRAM.examples:
        name, *words = shlex.split(line.partition("|")[0])
        path, command, _, (_, _, arguments, _) = by_typer(*words)
        command.check_arguments(path, len(arguments))
        assert name == PROGRAM.name


@pytest.mark.parametrize("words", ["-n one images ls", "images ls -n one", "-n two images ls --namespace=one"])
@pytest.mark.parametrize("run", [PROGRAM.run, partial(application.run, PROGRAM)], ids=["lean", "typer"])
def test_both_readers_execute_alike(words: str, run: Callable[[list[str]], int], daemon: Recorder) -> None:
    """A flag after the command's name wins over the one before it."""
    daemon.on("GET", "/api/v1/images", reply("200 OK", {"items": []}))
    assert run(words.split()) == 0
    assert [sent.query for sent in daemon.requests] == ["namespace=one"]


def cortenctl(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "corten.ctl", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=60, env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "COLUMNS": "80", **environ},
    )  # fmt: skip


def completed(line: str, **environ: str) -> list[str]:
    done = cortenctl(
        **{"_CORTENCTL_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": line,
           "_TYPER_COMPLETE_FISH_ACTION": "get-args", "CORTEN_HOST": "unix:///nonexistent/s", **environ}
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return [item.partition("\t")[0] for item in done.stdout.splitlines() if item]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("cortenctl con", ["containers", "content"]),
        ("cortenctl i pu", ["pull", "push"]),
        ("cortenctl help tasks st", ["start", "stop"]),
        ("cortenctl content ls -o ", ["json", "table"]),
        ("cortenctl tasks kill --sig", ["--signal"]),
        ("cortenctl completion ", ["bash", "fish", "zsh"]),
        ("cortenctl run busybox box --", []),
        ("cortenctl tasks kill ", []),
    ],
)
def test_commands_flags_and_words_are_completed(line: str, found: list[str]) -> None:
    """Without a daemon."""
    assert sorted(completed(line)) == found


DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("cortenctl c rm ", ["old", "web"]),
        ("cortenctl c rm web ", ["old"]),
        ("cortenctl tasks kill ", ["web"]),
        ("cortenctl tasks start ", ["old", "web"]),
        ("cortenctl tasks wait web ", []),
        ("cortenctl images rm ", ["reg:5000/a:1"]),
        ("cortenctl images pull ", []),
        ("cortenctl run -t ", ["reg:5000/a:1"]),
        ("cortenctl content get sha", [DIGEST]),
        ("cortenctl content abort ", ["layer-1"]),
        ("cortenctl snapshots mounts -s native /mnt ", ["n1"]),
        ("cortenctl snapshots info ", ["o1"]),
        ("cortenctl leases rm ", ["keep"]),
        ("cortenctl leases create ", []),
        ("cortenctl namespaces rm ", ["default"]),
        ("cortenctl namespaces create ", []),
        ("cortenctl -n ", ["default"]),
        ("cortenctl images ls --namespace=d", ["default"]),
    ],
)
def test_names_that_are_there_are_completed(daemon: Recorder, line: str, found: list[str]) -> None:
    """Of the kind that the argument is; what a command makes anew is not guessed."""
    for path, items in {
        "containers": [{"container": {"name": name}} for name in ("web", "old", "evil$(reboot)")],
        "tasks": [{"name": "web"}],
        "images": [{"name": "reg:5000/a:1"}],
        "content/ingests": [{"ref": "layer-1"}],  # rules match prefixes, in order
        "content": [{"digest": DIGEST}],
        "snapshots/default": [{"name": "o1"}],
        "snapshots/native": [{"name": "n1"}],
        "leases": [{"id": "keep"}],
        "namespaces": [{"name": "default"}],
    }.items():
        daemon.on("GET", f"/api/v1/{path}", reply("200 OK", {"items": items}))
    assert completed(line, CORTEN_HOST=daemon.host) == found


def test_names_are_asked_for_in_the_namespace_of_the_line(daemon: Recorder) -> None:
    daemon.on("GET", "/api/v1/tasks", reply("200 OK", {"items": []}))
    for line in ("cortenctl -n one tasks kill ", "cortenctl tasks kill -n one "):
        assert completed(line, CORTEN_HOST=daemon.host) == []
    assert [sent.query for sent in daemon.requests] == ["namespace=one"] * 2


def test_scripts_are_printed_for_each_shell() -> None:
    marks = {
        "bash": "complete -o default -F _cortenctl_completion cortenctl",
        "zsh": "#compdef cortenctl",
        "fish": "complete --command cortenctl",
    }
    for shell, mark in marks.items():
        done = cortenctl("completion", shell)
        assert (done.returncode, done.stderr) == (0, "")
        assert mark in done.stdout
        assert "_CORTENCTL_COMPLETE" in done.stdout
        assert "_CORTEN_COMPLETE" not in done.stdout
    assert cortenctl("completion", "tcsh").returncode == 2
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{sys.executable} -m corten.ctl --show-completion; true"],
        capture_output=True, text=True, timeout=60, env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
    )  # fmt: skip
    assert "_CORTENCTL_COMPLETE=complete_bash" in done.stdout


def _imported(*words: str, host: str) -> set[str]:
    code = (
        f"import sys; sys.argv = ['cortenctl', *{words!r}]\nfrom corten.ctl.__main__ import _run\n"
        "_run(); print('\\n' + ' '.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
        env={"PATH": os.environ["PATH"], "CORTEN_HOST": host},
    )  # fmt: skip
    return set(done.stdout.splitlines()[-1].split())


def test_only_lines_that_execute_nothing_load_typer(daemon: Recorder) -> None:
    slow = {"typer", "click", "pydantic", "httpx", "asyncio", "http.client", "email", "typing", "corten.docker"}
    daemon.on("GET", "/api/v1/content", reply("200 OK", {"items": []}))
    for words in (["content", "ls"], ["-n", "x", "content", "list", "-q"], ["--version"], ["run", "busybox", "box"]):
        loaded = _imported(*words, host=daemon.host)
        assert not slow & loaded, words
    for words in (["content", "ls", "--help"], [], ["content"], ["nonsense"], ["content", "ls", "--nonsense"]):
        assert "typer" in _imported(*words, host=daemon.host), words
