"""`cortend` as a user types it: one line for what goes wrong, exit codes 1 and 2, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import cortend
from cortend.__main__ import main
from cortend.config_file import default_text


def _cortend(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cortend", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_version() -> None:
    assert _cortend("--version").stdout == f"cortend version {cortend.__version__}\n"


def test_config_default_prints_what_config_check_accepts(tmp_path: Path) -> None:
    done = _cortend("config", "default")
    assert done.stdout == default_text()
    (tmp_path / "c.toml").write_text(done.stdout)
    assert _cortend("config", "check", "--config", str(tmp_path / "c.toml")).stdout == f"{tmp_path}/c.toml: ok\n"


@pytest.mark.parametrize("words", [(), ("config", "check")])
def test_broken_configuration_is_one_line_and_exit_code_one(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "c.toml").write_text("[network]\nbrige = 1\n")
    done = _cortend(*words, "--config", str(tmp_path / "c.toml"))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"cortend: {tmp_path}/c.toml:2: unknown key 'network.brige' (did you mean 'bridge'?)")


@pytest.mark.parametrize("words", [("--nope",), ("nope",), ("--log-level", "loud")])
def test_usage_errors_exit_two(words: tuple[str, ...]) -> None:
    done = _cortend(*words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_only_root_can_serve(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", ["cortend"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith("cortend: cortend must run as root")


def test_an_unknown_trace_point_is_refused_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("CORTEN_TRACE", "pull.layer.nope=kill")
    monkeypatch.setattr(sys, "argv", ["cortend", "--root", str(tmp_path / "r"), "--state", str(tmp_path / "s")])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert "cortend: CORTEN_TRACE: there is no trace point 'pull.layer.nope' (there are: pull." in said
    assert not (tmp_path / "r").exists()
