"""The linters run with the tests, so that one command says whether a change is good."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        [f"{BIN}/ruff", "check", "--quiet"],
        [f"{BIN}/mypy"],
        [f"{BIN}/lint-imports"],
    ],
    ids=["ruff", "mypy", "imports"],
)
@pytest.mark.timeout(600)
def test_linter_is_content(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def test_no_module_is_longer_than_600_lines() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {count} lines"
        for top in ("daemon", "client", "shared")
        for path in (ROOT / top).rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 600
    ]
    assert not long, "\n".join(long)
