"""The line that is kept of a committed snapshot's files: the same as long as they are, else another."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from corten_shared.errors import NotFound
from corten_shared.models.snapshot import Kind
from cortend.linux.files import remove_tree
from cortend.snapshots.overlay import OverlayDriver
from cortend.snapshots.tally import tally

pytestmark = pytest.mark.root


def tree(path: Path) -> Path:
    """A few of everything."""
    (path / "folder/deeper").mkdir(parents=True)
    (path / "file").write_bytes(b"some bytes")
    (path / "folder/other").write_bytes(b"more")
    os.link(path / "file", path / "folder/hard")
    (path / "soft").symlink_to("file")
    os.mknod(path / "whiteout", 0o020000, 0)
    os.setxattr(path / "file", "user.note", b"x")
    for found in path.rglob("*"):
        os.utime(found, ns=(5, 7), follow_symlinks=False)
    return path


def keep_times(path: Path, change: Callable[[], object]) -> None:
    """Change a file as failing hardware does: behind the file system's back."""
    found = path.lstat()
    change()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def test_it_is_the_same_for_the_same_tree_and_counts_links_once(tmp_path: Path) -> None:
    tree(tmp_path / "a")
    before = tally(tmp_path / "a")
    assert before.split()[:3] == ["v1", "8", "14"]
    assert [path.read_bytes() for path in (tmp_path / "a").glob("fil*")] == [b"some bytes"]
    (tmp_path / "a/passing").touch()
    (tmp_path / "a/passing").unlink()
    assert tally(tmp_path / "a") == before
    assert tally(tree(tmp_path / "b")) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda top: (top / "file").unlink(),
        lambda top: (top / "new").touch(),
        lambda top: (top / "folder/other").write_bytes(b""),
        lambda top: (top / "folder/other").write_bytes(b"MORE"),
        lambda top: (top / "folder/other").chmod(0o600),
        lambda top: os.chown(top / "folder/deeper", 1, 1),
        lambda top: (top / "folder/deeper").rename(top / "folder/elsewhere"),
        lambda top: shutil.rmtree(top / "folder"),
        lambda top: top.chmod(0o700),
    ],
)
def test_it_differs_when_anything_does(tmp_path: Path, change: Callable[[Path], object]) -> None:
    top = tree(tmp_path / "a")
    before = tally(top)
    change(top)
    assert tally(top) != before


def test_a_deep_one_reads_what_times_do_not_show(tmp_path: Path) -> None:
    top = tree(tmp_path / "a")
    shallow, deep = tally(top), tally(top, deep=True)
    assert tally(tree(tmp_path / "b"), deep=True) == deep
    keep_times(top / "folder/other", lambda: (top / "folder/other").write_bytes(b"MORE"))
    assert tally(top) == shallow
    assert tally(top, deep=True) != deep
    other = tree(tmp_path / "c")
    os.removexattr(other / "file", "user.note")
    assert tally(other, deep=True) != deep
    os.utime(tmp_path / "b/file", ns=(1, 1))
    assert tally(tmp_path / "b", deep=True) == deep


def test_what_two_snapshots_have_is_exchanged(tmp_path: Path) -> None:
    driver = OverlayDriver(tmp_path / "store")
    for sid in (1, 2):
        driver.create(sid, Kind.ACTIVE, [])
        (tmp_path / f"store/{sid}/fs/{sid}").touch()
    first, second = driver.tally(1), driver.tally(2)
    driver.exchange(1, 2)
    assert (driver.tally(1), driver.tally(2)) == (second, first)
    remove_tree(os.fspath(tmp_path / "store/1"))
    with pytest.raises(NotFound):
        driver.tally(1)
    driver.exchange(1, 2)
    assert driver.tally(1) == first
    assert list(driver.ids()) == [1]


def test_strays_are_seen_and_removed(tmp_path: Path) -> None:
    driver = OverlayDriver(tmp_path / "store")
    driver.create(1, Kind.ACTIVE, [])
    (tmp_path / "store/lost+found").mkdir()
    assert driver.strays() == ["lost+found"]
    driver.remove_stray("1")
    driver.remove_stray("lost+found")
    assert (driver.strays(), list(driver.ids())) == ([], [1])
