"""Copies out of an image into a volume."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from corten_shared.errors import InvalidArgument
from cortend.runtime.copyup import MAX_DEPTH
from cortend.runtime.host import LinuxHost


def test_modes_links_hard_links_and_times_are_kept(tmp_path: Path) -> None:
    source = tmp_path / "root/data"
    (source / "sub").mkdir(parents=True)
    (source / "sub/file").write_text("x")
    (source / "sub/file").chmod(0o640)
    os.utime(source / "sub/file", ns=(10**18, 10**18))
    os.link(source / "sub/file", source / "other")
    (source / "link").symlink_to("/etc/passwd")
    os.mkfifo(source / "fifo")
    source.chmod(0o2750)
    target = tmp_path / "volume"
    target.mkdir()
    LinuxHost().copy_up(tmp_path / "root", "/data", target)
    status = (target / "sub/file").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns, status.st_nlink) == (0o640, 10**18, 2)
    assert (target / "other").samefile(target / "sub/file")
    assert (target / "link").readlink() == Path("/etc/passwd")
    assert stat.S_ISFIFO((target / "fifo").stat().st_mode)
    assert stat.S_IMODE(target.stat().st_mode) == 0o2750


def test_the_source_resolves_inside_the_root(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").touch()
    root, target = tmp_path / "root", tmp_path / "volume"
    root.mkdir()
    target.mkdir()
    (root / "data").symlink_to(tmp_path / "secret")
    LinuxHost().copy_up(root, "/data", target)
    LinuxHost().copy_up(root, "/../secret", target)
    assert list(target.iterdir()) == []


def test_a_missing_or_odd_source_is_fine(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/file").touch()
    LinuxHost().copy_up(tmp_path / "root", "/nowhere", tmp_path)
    LinuxHost().copy_up(tmp_path / "root", "/file", tmp_path)


def test_endless_depth_is_refused(tmp_path: Path) -> None:
    root, target = tmp_path / "root", tmp_path / "volume"
    target.mkdir()
    (root / "/".join(["d"] * (MAX_DEPTH + 5))).mkdir(parents=True)
    with pytest.raises(InvalidArgument, match="deep"):
        LinuxHost().copy_up(root, "/", target)


def test_reads_are_bounded_and_of_regular_files_only(tmp_path: Path) -> None:
    host = LinuxHost()
    (tmp_path / "file").write_text("content")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "out").symlink_to("/etc/hostname")
    assert host.read_file(tmp_path, "/file", 10) == b"content"
    assert host.read_file(tmp_path, "/fifo", 10) == host.read_file(tmp_path, "/gone", 10) == b""
    assert host.read_file(tmp_path, "/out", 1000) == b""
    with pytest.raises(InvalidArgument, match="longer than 3 bytes"):
        host.read_file(tmp_path, "/file", 3)
