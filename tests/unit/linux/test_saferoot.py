"""A root that its owner made to lead astray."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cortend.linux.files import RENAME_EXCHANGE, RENAME_NOREPLACE, copy_content, remove_tree, renameat2
from cortend.linux.saferoot import SafeRoot


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """root/ with links of every kind; secret/ beside it."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "passwd").write_text("host")
    top = tmp_path / "root"
    (top / "etc").mkdir(parents=True)
    (top / "etc" / "passwd").write_text("image")
    (top / "up").symlink_to("../secret")
    (top / "absolute").symlink_to(tmp_path / "secret")
    (top / "far").symlink_to("../" * 30 + "etc")
    (top / "loop").symlink_to("loop")
    (top / "dangling").symlink_to("/made/later")
    (top / "pw").symlink_to("/etc/passwd")
    os.mkfifo(top / "fifo")
    return top


@pytest.fixture
def root(top: Path) -> Iterator[SafeRoot]:
    with SafeRoot(top) as root:
        yield root


@pytest.mark.parametrize("path", ["etc/passwd", "/etc/passwd", "pw", "far/passwd", "../../../etc/passwd", "etc/../pw"])
def test_names_resolve_inside(root: SafeRoot, path: str) -> None:
    assert root.read_file(path, 100) == b"image"


@pytest.mark.parametrize("path", ["up/passwd", "absolute/passwd", "../secret/passwd", "missing", "dangling"])
def test_names_that_lead_out_lead_nowhere(root: SafeRoot, path: str) -> None:
    with pytest.raises(FileNotFoundError):
        root.read_file(path, 100)
    assert not root.exists(path)


@pytest.mark.parametrize(
    ("path", "code"), [("fifo", errno.EINVAL), ("etc", errno.EINVAL), ("loop", errno.ELOOP), ("pw/x", errno.ENOTDIR)]
)
def test_only_regular_files_are_read_and_nothing_blocks(root: SafeRoot, path: str, code: int) -> None:
    with pytest.raises(OSError, match=path) as caught:
        root.read_file(path, 100)
    assert caught.value.errno == code


def test_magic_links_are_not_followed(tmp_path: Path) -> None:
    with SafeRoot("/") as root, pytest.raises(OSError, match="root/etc") as caught:
        root.read_file("/proc/self/root/etc/hostname", 100)
    assert caught.value.errno == errno.ELOOP


def test_files_are_read_up_to_their_limit(root: SafeRoot, top: Path) -> None:
    (top / "exact").write_bytes(b"x" * 100)
    assert len(root.read_file("exact", 100)) == 100
    with pytest.raises(OSError, match="longer than 99 bytes"):
        root.read_file("exact", 99)


def test_directories_are_made_inside_whatever_the_links_say(root: SafeRoot, top: Path, tmp_path: Path) -> None:
    for path in ("a/b/../c", "dangling/x", "up/y", "../../z"):
        os.close(root.mkdirs(path, 0o1775))
    assert stat.S_IMODE((top / "made" / "later" / "x").stat().st_mode) == 0o1775
    for made in ("a/b", "a/c", "secret/y", "z"):
        assert (top / made).is_dir()
    assert os.listdir(tmp_path / "secret") == ["passwd"]


@pytest.mark.parametrize(("path", "code"), [("loop/x", errno.ELOOP), ("etc/passwd/x", errno.ENOTDIR)])
def test_directories_that_cannot_be_made(root: SafeRoot, path: str, code: int) -> None:
    with pytest.raises(OSError, match=path) as caught:
        root.mkdirs(path)
    assert caught.value.errno == code


def test_files_are_replaced_not_written_through(root: SafeRoot, top: Path, tmp_path: Path) -> None:
    (top / "out").symlink_to(tmp_path / "secret" / "passwd")
    root.write_file("/out", b"new", 0o600)
    assert (tmp_path / "secret" / "passwd").read_text() == "host"
    assert not (top / "out").is_symlink() and (top / "out").read_bytes() == b"new"
    assert stat.S_IMODE((top / "out").stat().st_mode) == 0o600
    with pytest.raises(FileNotFoundError):
        root.write_file("up/passwd", b"x")
    assert sorted(root.listdir("etc")) == ["passwd"]


def test_a_real_directory_is_no_link(root: SafeRoot) -> None:
    assert root.is_real_directory("etc") and root.is_real_directory("/")
    assert not any(root.is_real_directory(name) for name in ("far", "up", "pw", "fifo", "missing", "loop"))


@pytest.mark.parametrize("path", ["", "/", "etc/..", "."])
def test_a_parent_needs_a_name_in_it(root: SafeRoot, path: str) -> None:
    with pytest.raises(OSError, match="a name is needed"):
        root.open_parent(path)


def test_a_directory_swapped_for_a_link_meanwhile_never_leads_out(root: SafeRoot, top: Path, tmp_path: Path) -> None:
    """Another thread swaps `d` and a link to the outside; every read is the image's, or an error."""
    (top / "d").mkdir()
    (top / "d" / "passwd").write_text("image")
    (top / "evil").symlink_to(tmp_path / "secret")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            renameat2(str(top / "d"), str(top / "evil"), RENAME_EXCHANGE)

    thread = threading.Thread(target=swap)
    thread.start()
    seen = set()
    try:
        for _ in range(2000):
            try:
                seen.add(root.read_file("d/passwd", 100))
                os.close(root.mkdirs("d/new"))
            except OSError as error:
                assert error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EAGAIN)
    finally:
        stop.set()
        thread.join()
    assert seen <= {b"image"}
    assert os.listdir(tmp_path / "secret") == ["passwd"]


def test_rename_without_replacing(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    with pytest.raises(FileExistsError) as caught:
        renameat2(str(tmp_path / "a"), str(tmp_path / "b"), RENAME_NOREPLACE)
    assert caught.value.filename == str(tmp_path / "a")


def test_removing_what_is_not_there_or_no_directory(tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "link").symlink_to("keep")
    for name in ("link", "missing"):
        remove_tree(str(tmp_path / name))
    assert os.listdir(tmp_path) == ["keep"]


def test_copies_keep_holes(tmp_path: Path) -> None:
    with open(tmp_path / "a", "w+b") as source, open(tmp_path / "b", "w+b") as target:
        source.truncate(10 << 20)
        os.pwrite(source.fileno(), b"middle", 5 << 20)
        copy_content(source.fileno(), target.fileno())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "b").stat().st_blocks * 512 < 1 << 20
