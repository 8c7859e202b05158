"""A built wheel works outside the checkout: it carries the code, its data and its commands."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    # Without isolation: hatchling is a dependency of the tests, so no network is needed here.
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", out, ROOT],
        check=True,
        cwd=out,
    )
    (built,) = out.glob("corten-*.whl")
    return built


def test_the_wheel_holds_three_packages_and_their_data_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"cortend", "corten", "corten_shared"}
    assert "cortend/metadata/migrations/0001_initial.sql" in names
    assert "cortend/core/data/seccomp.json" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_its_commands_run_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel], check=True
    )
    env = {**os.environ, "PYTHONPATH": str(target)}
    for module, word in (("cortend", "cortend"), ("corten", "corten"), ("corten.ctl", "cortenctl")):
        done = subprocess.run(
            [sys.executable, "-m", module, "--version"], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{word} version ")
    where = subprocess.run(
        [sys.executable, "-c", "import cortend.app; print(cortend.app.__file__)"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(target))
