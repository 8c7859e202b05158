"""The units are what systemd accepts, and say what the daemon needs."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).resolve().parents[3] / "systemd"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here (Debian package systemd)"
)


@needs_systemd
def test_units_pass_systemd_analyze(tmp_path: Path) -> None:
    """The unit names the installed binary, so one that is here stands in for it."""
    text = (UNITS / "cortend.service").read_text().replace("/usr/local/bin/cortend", "/bin/true")
    (tmp_path / "cortend.service").write_text(text)
    shutil.copy(UNITS / "cortend.socket", tmp_path)
    units = [str(tmp_path / name) for name in ("cortend.service", "cortend.socket")]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "corten" in line]
    assert not ours, done.stderr
    assert done.returncode == 0, done.stderr


@needs_systemd
def test_a_mistake_in_a_unit_would_be_found(tmp_path: Path) -> None:
    """The check above can fail: a key that does not exist is reported."""
    text = (UNITS / "cortend.service").read_text().replace("/usr/local/bin/cortend", "/bin/true")
    (tmp_path / "cortend.service").write_text(text.replace("Delegate=yes", "Delegato=yes"))
    shutil.copy(UNITS / "cortend.socket", tmp_path)
    command = ["systemd-analyze", "verify", str(tmp_path / "cortend.service")]
    assert "Delegato" in subprocess.run(command, capture_output=True, text=True, check=False).stderr


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not here")
def test_sysusers_entry_makes_the_group(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "usr/lib/sysusers.d").mkdir(parents=True)
    shutil.copy(UNITS / "sysusers.d/corten.conf", tmp_path / "usr/lib/sysusers.d")
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}"], capture_output=True, text=True, check=True)
    assert any(line.startswith("corten:") for line in (tmp_path / "etc/group").read_text().splitlines())


def _section(name: str, section: str) -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNITS / name)
    return dict(parser[section])


def test_service_leaves_containers_alone() -> None:
    """A restart must not end containers, and nothing set here may reach into them."""
    service = _section("cortend.service", "Service")
    assert service["Type"] == "notify"
    assert service["KillMode"] == "process"
    assert service["Delegate"] == "yes"
    assert service["Restart"] == "always"
    assert service["TasksMax"] == "infinity"
    assert not service.keys() & {"NoNewPrivileges", "PrivateTmp", "ProtectSystem", "SystemCallFilter", "PrivateMounts"}


def test_socket_is_for_the_group_only() -> None:
    unit = _section("cortend.socket", "Socket")
    assert unit["SocketMode"] == "0660"
    assert unit["SocketGroup"] == "corten"
    assert unit["ListenStream"] == "/run/corten/corten.sock"
