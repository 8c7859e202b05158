"""conmon's command line and files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corten_shared.errors import Conflict
from cortend.core.runtime import IO
from cortend.runtime import conmon, state
from cortend.runtime.oci import OciRuntime


def argv(io: IO, **fields: object) -> list[str]:
    runtime = OciRuntime("runc", "/usr/sbin/runc", Path("/s/runtime"))
    launch = conmon.Launch("c1", Path("/s/b"), runtime, io)._replace(**fields)
    return launch.argv("conmon")


@pytest.mark.parametrize(
    ("io", "terminal", "stdin", "open_"),
    [
        (IO(False, False, False, None), False, False, False),
        (IO(False, True, True, None), False, True, False),
        (IO(False, True, False, None), False, True, True),
        (IO(True, True, True, None), True, True, True),  # a terminal's input ends with ^D, not with its client
    ],
)
def test_streams_become_options(io: IO, terminal: bool, stdin: bool, open_: bool) -> None:
    args = argv(io)
    assert ("--terminal" in args, "--stdin" in args, "--leave-stdin-open" in args) == (terminal, stdin, open_)


def test_the_log_goes_where_it_is_wanted_or_nowhere() -> None:
    assert "k8s-file:/l/c.log" in argv(IO(False, False, False, Path("/l/c.log")))
    args = argv(IO(False, False, False, None))
    assert args[args.index("--log-path") + 1] == "none"


def test_the_runtime_gets_the_daemon_s_own_root() -> None:
    args = argv(IO(False, False, False, None))
    given = [args[i + 1] for i, arg in enumerate(args) if arg == "--runtime-arg"]
    assert given[:2] == ["--root", "/s/runtime"] and "/s/b/runtime.log" in given


def test_an_exec_names_its_process_and_waits_for_the_attachment() -> None:
    args = argv(IO(False, False, False, None), exec_spec=Path("/s/b/process.json"), attach=True)
    assert "--exec" in args and "--exec-attach" in args and "/s/b/process.json" in args


def test_exit_files(tmp_path: Path) -> None:
    assert conmon.read_exit(tmp_path) is None
    (tmp_path / "exit").write_text("137")
    os.utime(tmp_path / "exit", ns=(5, 5))
    assert conmon.read_exit(tmp_path) == (137, 5, False, False)
    (tmp_path / "oom").touch()
    ended = conmon.read_exit(tmp_path)
    assert ended and ended.oom_killed
    (tmp_path / "exit").write_text("-1")
    ended = conmon.read_exit(tmp_path)
    assert ended and ended.code == 255
    (tmp_path / "exit").write_text("")
    assert conmon.read_exit(tmp_path) is None


def test_nobody_at_the_other_end_is_a_conflict(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="not running"):
        conmon.connect(tmp_path)
    with pytest.raises(Conflict, match="not running"):
        conmon.control(tmp_path, "2 0 0\n")
    os.mkfifo(tmp_path / "ctl")
    with pytest.raises(Conflict, match="not running"):
        conmon.control(tmp_path, "2 0 0\n")


@pytest.mark.parametrize("text", ["", "{}", "[]", "{", '{"monitor": 1}'])
def test_a_state_file_that_was_cut_off_is_no_state(tmp_path: Path, text: str) -> None:
    (tmp_path / state.NAME).write_text(text)
    assert state.load(tmp_path) is None
