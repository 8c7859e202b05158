"""The Typer application: the second reader of every command line, and the only source of help and completion."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from corten import usage
from corten.command import Entry
from corten.docker import main
from corten.docker.commands import ALIASES, COMMANDS, NOUNS
from corten.docker.main import GLOBAL_FLAGS, PROGRAM
from corten.flags import parse
from unit.client.readers import (
    Reader,
    by_the_lean_reader,
    every_help_comes_from_typer,
    one_option_for_each_flag,
    read_every_flag_alike,
    seen,
    typer_reader,
)  # fmt: skip
from unit.client.recorder import Recorder, reply

PATHS: dict[str, Entry] = {
    **COMMANDS,
    **{f"{noun} {name}": entry for noun, (_, table) in NOUNS.items() for name, entry in table.items()},
}
EACH = {entry: path for path, entry in PATHS.items()}
"""One path to each command."""
LINES = """
-it busybox sh -c 'x'
-itd -p8080:80 busybox
-p=8080:80 -p 81:81 --publish=82:82 busybox
--rm=false busybox
--rm --rm=0 busybox
--rm=maybe busybox
-it=false busybox
-tip80 busybox -d --name x
--name= busybox
--name -- busybox
-- -x --rm
--env A=1 -eB=2 -e=C=3 busybox
--net a --network b busybox
--network name=a,alias=x --net none busybox
--label a=b --label c --annotation k=v --annotation k=w --sysctl a.b=1 busybox
--memory 1g --memory=bad busybox
--memory=bad --memory 1g busybox
--memory=bad --help
--cpus=1.5 --memory-swap=-1 --pids-limit -1 --oom-score-adj=-500 busybox
--no-such-flag busybox
-y busybox
-i -
busybox --rm --no-such-flag
--name
-p
--=x busybox
---rm busybox
--disable-content-trust=false --sig-proxy=f busybox
--rm:false busybox
--no-rm busybox
--sig busybox
''
"""


@pytest.fixture
def by_typer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Reader:
    return typer_reader(PROGRAM, monkeypatch, capsys)


@pytest.mark.parametrize("path", EACH.values())
def test_both_readers_read_every_flag_alike(path: str, by_typer: Reader) -> None:
    read_every_flag_alike(PROGRAM, path.split(), by_typer)


@pytest.mark.parametrize("line", LINES.strip().splitlines())
@pytest.mark.parametrize("path", ["run", "container create", "exec", "ps", "stop", "rm"])
def test_both_readers_know_dockers_grammar(path: str, line: str, by_typer: Reader) -> None:
    """Combined shorts, values attached or not, `--`, negated booleans, repeated lists, and what is wrong."""
    command, words = PROGRAM.load(PATHS[path]), shlex.split(line)
    found_path, found, _, typer = by_typer(*path.split(), *words)
    assert typer == by_the_lean_reader(command, words)
    if found is command:
        assert found_path == f"corten {path}"


@pytest.mark.parametrize(
    "words",
    [[], ["-H", "unix:///s"], ["-Dc", "x"], ["--host=a", "--host=b", "--tls=false"], ["--config", "--tls"], ["-l=x"]],
)
def test_both_readers_read_the_global_options_alike(words: list[str], by_typer: Reader) -> None:
    """They end at the command's name."""
    *_, leading, options = by_typer(*words, "ps", "-a")
    assert leading[:2] == seen(parse(GLOBAL_FLAGS, words))[:2]
    assert options[1] == {"all"}


def test_every_alias_is_the_command_itself(by_typer: Reader) -> None:
    for noun, names in ALIASES.items():
        for alias, name in names.items():
            path, command, *_ = by_typer(noun, alias)
            assert (path, command) == (f"corten {noun} {name}", PROGRAM.load(NOUNS[noun][1][name]))


def test_it_is_a_typer_application_with_one_option_for_each_flag() -> None:
    one_option_for_each_flag(PROGRAM)


def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "corten", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "COLUMNS": "80", **environ},
    )  # fmt: skip


READERS = {
    name: "import os, sys\nfrom corten import application\nfrom corten.docker.main import PROGRAM\n"
    f"code = {call}\nsys.stdout.flush()\nos._exit(code)"
    for name, call in {
        "lean": "PROGRAM.run(sys.argv[1:])", "typer": "application.run(PROGRAM, sys.argv[1:])",
    }.items()
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
def test_both_readers_execute_alike(daemon: Recorder, reader: str) -> None:
    """Same exit codes and messages: it is the same code from there on."""

    def run(*words: str) -> tuple[int, str, str]:
        argv = [sys.executable, "-c", READERS[reader], "-H", daemon.host, *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    daemon.on("DELETE", "/containers/a", reply("204 No Content"))
    daemon.on("DELETE", "/containers/b", reply("409 Conflict", {"message": "it runs"}))
    daemon.on("POST", "/containers/a/stop", reply("204 No Content"))
    assert run("rm", "-f", "a") == (0, "a\n", "")
    assert daemon.sent("DELETE", "/containers/a")[0].query == "force=1"
    assert run("container", "rm", "b") == (1, "", "Error response from daemon: it runs\n")
    code, _, told = run("rm")
    assert (code, told[:43]) == (1, "corten: 'corten rm' requires at least 1 arg")
    deprecated = "Flag --time has been deprecated, use --timeout instead\na\n"
    assert run("stop", "--time=1", "--time=2", "a") == (0, deprecated, "")


def test_help_comes_from_typer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    every_help_comes_from_typer(PROGRAM, monkeypatch, capsys)
    assert main.run(["-D"]) == 0
    assert capsys.readouterr().out == usage.top_help(PROGRAM) + "\n"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["imagse"], 1, "unknown command: corten imagse\n\nDid you mean this?\n        images"),
        (["container", "strat"], 1, "unknown command: corten container strat\n\nDid you mean this?\n        start"),
        (["help", "nothing-like-it"], 1, "unknown command: corten nothing-like-it\n\nRun 'corten --help'"),
        (["run", "--detahc", "x"], 125, "unknown flag: --detahc (did you mean --detach?)"),
        (["ps", "--hlep"], 125, "unknown flag: --hlep"),
        (["image", "--all"], 125, "unknown flag: --all"),
        (["--hots=x", "ps"], 125, "unknown flag: --hots (did you mean --host?)"),
        (["-H"], 125, "flag needs an argument: 'H' in -H"),
        (["\x1b[31m"], 1, "unknown command: corten \\x1b[31m\n"),
    ],
)
def test_mistakes_are_told_with_what_was_meant(
    words: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(words) == code
    out, err = capsys.readouterr()
    assert (out, told in err) == ("", True)
    assert err.endswith("--help' for more information\n")


CONTAINERS = [
    {"Names": ["/web"], "State": "running"}, {"Names": ["/old"], "State": "exited"},
    {"Names": ["/evil$(reboot)"], "State": "running"}, {"Names": ["/-x"], "State": "running"},
]  # fmt: skip


def completed(line: str, shell: str = "fish", **environ: str) -> list[str]:
    done = run(
        **{"_CORTEN_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": line, "CORTEN_HOST": "unix:///nonexistent/s",
           "_TYPER_COMPLETE_FISH_ACTION": "get-args", **environ}
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return [item.partition("\t")[0] for item in done.stdout.splitlines() if item]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("corten imag", ["image", "images"]),
        ("corten container re", ["rename", "restart"]),
        ("corten help container re", ["rename", "restart"]),
        ("corten run --publ", ["--publish", "--publish-all"]),
        ("corten stop --ti", ["--timeout"]),
        ("corten run --pull ", ["always", "missing", "never"]),
        ("corten run --pull=m", ["missing"]),
        ("corten run -d --memory bad --restart a", ["always"]),
        ("corten run busybox --publ", []),
        ("corten completion ", ["bash", "fish", "zsh"]),
        ("corten --con", ["--config", "--context"]),
        ("corten -H x --no-such ps -", None),
        ("corten run --rm:", []),
        ("corten run -e 'a b' --env-", ["--env-file"]),
        ("corten rm ", []),
    ],
)
def test_commands_flags_and_words_are_completed(line: str, found: list[str] | None) -> None:
    """Without a daemon, and with mistakes earlier in the line."""
    result = completed(line)
    if found is not None:
        assert sorted(result) == found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("corten rm ", ["old", "web"]),
        ("corten rm web ", ["old"]),
        ("corten rm -f w", ["web"]),
        ("corten stop ", ["web"]),
        ("corten start ", ["old"]),
        ("corten exec -it ", ["web"]),
        ("corten exec web ", []),
        ("corten container logs --tail 3 ", ["old", "web"]),
        ("corten logs web ", []),
        ("corten rmi ", ["busybox:1", "reg:5000/a/b:2"]),
        ("corten run --rm reg:5", ["reg:5000/a/b:2"]),
        ("corten run busybox:1 ", []),
        ("corten tag bus", ["busybox:1"]),
        ("corten inspect ", ["busybox:1", "old", "reg:5000/a/b:2", "web"]),
        ("corten run --volumes-from ", ["old", "web"]),
        ("corten run --network=b", ["bridge"]),
        ("corten run --network mine", ["mine"]),
    ],
)
def test_names_that_are_there_are_completed(daemon: Recorder, line: str, found: list[str]) -> None:
    """In the states that the command is for; what a shell could take for code is never offered."""
    daemon.on("GET", "/containers/json", reply("200 OK", CONTAINERS))
    images = [{"RepoTags": ["busybox:1", "reg:5000/a/b:2"]}, {"RepoTags": None}]
    daemon.on("GET", "/images/json", reply("200 OK", images))
    daemon.on("GET", "/networks", reply("200 OK", [{"Name": "mine"}]))
    assert completed(line, CORTEN_HOST=daemon.host) == found
    words = line.replace("corten", f"corten -H {daemon.host}", 1)
    assert completed(words) == found


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'{"message": 1}', b'[{"Names": null}]', b"\xff"])
def test_completing_is_silent_whatever_answers(daemon: Recorder, body: bytes) -> None:
    daemon.on("GET", "/containers/json", reply("200 OK", body))
    assert completed("corten rm ", CORTEN_HOST=daemon.host) == []


def test_completing_does_not_wait_for_a_daemon_that_hangs(daemon: Recorder) -> None:
    """It listens and never answers: the deadline ends it."""
    release = threading.Event()
    daemon.at_close.append(release.set)
    daemon.on("GET", "/containers/json", lambda request, sock: not release.wait(60))
    assert completed("corten rm ", CORTEN_HOST=daemon.host) == []


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("corten inf", "info"),
        ("corten rmi reg:5000/a", "5000/a/b:2"),
        ("corten rmi reg:", "5000/a/b:2"),
        ("corten rmi bus", "busybox:1"),
        ("corten run --pull=al", "always"),
        ("corten run -e 'a b' bus", "busybox:1"),
    ],
)
def test_the_bash_script_completes_across_colons(daemon: Recorder, tmp_path: Path, line: str, found: str) -> None:
    """bash breaks words at a colon, and wants only what follows it."""
    daemon.on("GET", "/images/json", reply("200 OK", [{"RepoTags": ["busybox:1", "reg:5000/a/b:2"]}]))
    (tmp_path / "corten").write_text(f'#!/bin/sh\nexec {sys.executable} -m corten "$@"\n')
    (tmp_path / "corten").chmod(0o755)
    script = (
        'eval "$(corten completion bash)"\nCOMP_WORDBREAKS=$\' \\t\\n"\\\'><=;|&(:\'\n'
        'COMP_LINE=$1 COMP_POINT=${#1}\n_corten_completion corten\necho "${COMPREPLY[*]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", line], capture_output=True, text=True, timeout=60,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "CORTEN_HOST": daemon.host, "HOME": "/nonexistent"},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (f"{found}\n", "")


def test_scripts_are_printed_and_installed(tmp_path: Path) -> None:
    """By `corten completion`, and by Typer's own options."""
    marks = {"bash": "complete -o default", "zsh": "#compdef corten", "fish": "complete --command corten"}
    for shell, mark in marks.items():
        done = run("completion", shell)
        assert (done.returncode, mark in done.stdout) == (0, True)
    assert run("completion", "tcsh").returncode == 1
    shown = subprocess.run(
        ["bash", "--norc", "-c", f"{sys.executable} -m corten --show-completion; true"],
        capture_output=True, text=True, timeout=60, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )  # fmt: skip
    assert "_CORTEN_COMPLETE=complete_bash" in shown.stdout


def test_only_lines_that_execute_nothing_load_typer(daemon: Recorder) -> None:
    """The other half of the import budget in test_cli.py: who asks for help does get Typer."""
    from unit.client.test_cli import imported

    daemon.on("GET", "/containers/json", reply("200 OK", []))
    assert "typer" not in imported("ps", "-a", "--filter", "a=b", host=daemon.host)
    assert "typer" not in imported("container", "list", host=daemon.host)
    for words in (["ps", "--help"], ["help"], [], ["nonsense"], ["ps", "--nonsense"]):
        assert "typer" in imported(*words, host=daemon.host)
