"""The launchers that `make` puts in the place of pip's scripts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import corten

SCRIPT = Path(__file__).parents[3] / "docs/first-run/launchers.sh"


def environment(folder: Path) -> Path:
    """A bin directory with an interpreter that has what this one has, and pip's two scripts."""
    folder.mkdir()
    (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for name in ("corten", "cortenctl"):
        (folder / name).write_text("pip's")
    for name in ("python", "corten", "cortenctl"):
        (folder / name).chmod(0o755)
    return folder


def test_launchers_find_the_package_without_site_or_environment(tmp_path: Path) -> None:
    """From any directory, whatever PYTHONPATH says; what lies there is never imported."""
    folder = environment(tmp_path / "bin")
    subprocess.run([SCRIPT, folder], check=True, timeout=60)
    (tmp_path / "corten.py").write_text("raise SystemExit('the wrong corten')")
    for name, words, start in [
        ("corten", ["--version"], f"corten version {corten.__version__},"),
        ("corten", ["run", "--help"], "Usage:  corten run "),
        ("cortenctl", ["--version"], f"cortenctl version {corten.__version__}"),
        ("cortenctl", ["--help"], "Usage:  cortenctl "),
    ]:
        done = subprocess.run(
            [folder / name, *words], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stderr, done.stdout[: len(start)]) == (0, "", start)
        assert (folder / name).read_text().startswith(f"#!{folder}/python -IS\n")


def test_a_path_that_cannot_stand_in_a_first_line_keeps_pips_scripts(tmp_path: Path) -> None:
    """The kernel splits that line at blanks and cuts it off at a length."""
    for name in ("a b", "long" * 40):
        folder = environment(tmp_path / name)
        subprocess.run([SCRIPT, folder], check=True, timeout=60)
        assert (folder / "corten").read_text() == "pip's"
