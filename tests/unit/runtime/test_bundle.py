"""Bundles and the check of assembled roots (no mounts here: those are in the integration tests)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corten_shared.errors import Internal, InvalidArgument
from cortend.core.runtime import TaskKey
from cortend.runtime.bundle import Bundles, check_root


@pytest.mark.parametrize(
    "key", [("..", "x"), ("default", ".."), ("default", "a/b"), ("", "x"), ("default", ""), ("a", "x\n")]
)
def test_names_that_are_no_file_names_are_refused(tmp_path: Path, key: tuple[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        Bundles(tmp_path).path(TaskKey(*key))


def test_missing_directories_are_made_and_present_ones_kept(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir(mode=0o700)
    check_root(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"dev", "proc", "sys", "etc"}
    assert (tmp_path / "etc").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["dev", "proc", "sys", "etc"])
@pytest.mark.parametrize("target", ["/", "tmp", "nowhere"])
def test_links_are_refused_wherever_they_lead(tmp_path: Path, name: str, target: str) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / name).symlink_to(target)
    with pytest.raises(InvalidArgument, match=f"/{name} is not a directory"):
        check_root(tmp_path)


def test_files_in_place_of_directories_are_refused(tmp_path: Path) -> None:
    (tmp_path / "dev").touch()
    with pytest.raises(InvalidArgument, match="/dev is not a directory"):
        check_root(tmp_path)


@pytest.mark.parametrize("name", ["passwd", "group"])
def test_account_files_must_be_regular(tmp_path: Path, name: str) -> None:
    (tmp_path / "etc").mkdir()
    os.mkfifo(tmp_path / "etc" / name)
    with pytest.raises(InvalidArgument, match=f"/etc/{name} is not a regular file"):
        check_root(tmp_path)


def test_removal_is_idempotent_and_never_eats_what_is_below_rootfs(tmp_path: Path) -> None:
    bundles, key = Bundles(tmp_path), TaskKey("default", "x")
    bundles.remove(key)
    precious = bundles.path(key) / "rootfs/precious"
    precious.mkdir(parents=True)
    with pytest.raises(Internal, match="cannot clear"):
        bundles.remove(key)
    precious.rmdir()
    bundles.remove(key)
    assert list(bundles.walk()) == []
