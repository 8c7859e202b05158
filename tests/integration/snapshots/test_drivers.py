"""The conformance suite on both drivers, and what is particular to each."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten_shared.errors import DataLoss, InvalidArgument, Unavailable
from corten_shared.models.snapshot import Kind, Mount
from cortend.core.snapshots import OVERLAY_MARKS
from cortend.linux.files import remove_tree
from cortend.linux.mount import mounted
from cortend.linux.mountinfo import mounts_below
from cortend.snapshots import erofs
from cortend.snapshots.copying import copy_tree
from cortend.snapshots.directories import measure
from cortend.snapshots.erofs import ErofsDriver
from cortend.snapshots.native import NativeDriver
from cortend.snapshots.overlay import OverlayDriver, require_support, supported
from cortend.snapshots.packing import pack
from suites.snapshot_driver import SnapshotDriverSuite

pytestmark = pytest.mark.root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


class TestOverlay(SnapshotDriverSuite):
    @pytest.fixture
    def driver(self, root: Path) -> OverlayDriver:
        return OverlayDriver(root)

    def test_a_layer_of_its_own_keeps_overlay_marks_a_container_needs_none(self, driver) -> None:
        assert OVERLAY_MARKS in driver.mounts(1, Kind.ACTIVE, [])[0].options
        assert OVERLAY_MARKS not in driver.mounts(1, Kind.VIEW, [2])[0].options

    def test_more_layers_than_the_kernel_stacks_are_refused(self, driver) -> None:
        with pytest.raises(InvalidArgument, match="501 layers"):
            driver.create(600, Kind.ACTIVE, list(range(1, 502)))


class TestErofs(SnapshotDriverSuite):
    @pytest.fixture
    def driver(self, root: Path) -> Iterator[ErofsDriver]:
        driver = ErofsDriver(root)
        yield driver
        driver.close()
        assert list(mounts_below(root)) == []

    def commit(self, driver: ErofsDriver, sid: int) -> None:
        super().commit(driver, sid)
        if sid > 5:
            return  # of hundreds, a few are proof enough
        assert os.listdir(driver._directories.path(sid)) == ["layer.erofs"]
        checked = subprocess.run(["fsck.erofs", driver._directories.path(sid) / "layer.erofs"], capture_output=True)
        assert checked.returncode == 0, checked.stderr

    def test_long_chains_mount(self, driver, look, monkeypatch) -> None:
        """Without a child for each of the images."""

        def pack_here(source: Path, image: Path) -> None:
            with image.open("xb") as file:
                pack(str(source), file.fileno())

        monkeypatch.setattr(erofs, "_pack", pack_here)
        super().test_long_chains_mount(driver, look)

    def test_a_commit_can_be_tried_again(self, driver, look) -> None:
        """The record may be refused after the image was made; what is written in between is not lost."""
        driver.create(1, Kind.ACTIVE, [])
        with look(1, Kind.ACTIVE, []) as path:
            (path / "one").touch()
            driver.seal(1)
            (path / "two").touch()
        self.commit(driver, 1)
        with look(1, Kind.COMMITTED, []) as path:
            assert sorted(os.listdir(path)) == ["one", "two"]

    def test_images_are_mounted_again_after_a_reboot(self, driver, root, look) -> None:
        parents = self.chain(driver, look)
        driver.close()
        again = ErofsDriver(root)
        again.create(4, Kind.ACTIVE, parents)
        with look(4, Kind.ACTIVE, parents) as path:
            self.check(path)

    def test_removal_leaves_no_mount_and_takes_nothing_from_who_has_one(self, driver, root, look) -> None:
        parents = self.chain(driver, look)
        driver.create(4, Kind.ACTIVE, parents)
        with look(4, Kind.ACTIVE, parents) as path:
            for sid in parents:
                driver.remove(sid)
            driver.settle()
            assert list(mounts_below(root)) == []
            self.check(path)

    def test_a_missing_image_is_told(self, driver, root, look) -> None:
        parents = self.chain(driver, look)
        driver.close()
        (root / "1" / "layer.erofs").unlink()
        with pytest.raises(DataLoss, match="image of layer 1 is gone"):
            driver.mounts(4, Kind.VIEW, parents)

    def test_a_loop_device_does_where_the_kernel_takes_no_files(self, driver, root, look, monkeypatch) -> None:
        """As before Linux 6.12: mount(2) of a file answers ENOTBLK."""

        def mount(source: str, *rest: object) -> None:
            if source.endswith(".erofs"):
                raise OSError(errno.ENOTBLK, "Block device required")
            real(source, *rest)

        real = erofs.mount
        monkeypatch.setattr(erofs, "mount", mount)
        parents = self.chain(driver, look)
        driver.create(4, Kind.ACTIVE, parents)
        assert all(entry.source.startswith("/dev/loop") for entry in mounts_below(root))
        with look(4, Kind.ACTIVE, parents) as path:
            self.check(path)

    def test_many_at_once_mount_a_layer_once(self, driver, root, look) -> None:
        parents = self.chain(driver, look)
        driver.close()
        threads = [threading.Thread(target=driver.mounts, args=(4, Kind.VIEW, parents)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(list(mounts_below(root))) == len(parents)


class TestNative(SnapshotDriverSuite):
    layers = 20

    @pytest.fixture
    def driver(self, root: Path) -> NativeDriver:
        return NativeDriver(root)


def test_overlayfs_works_here(tmp_path: Path) -> None:
    require_support(tmp_path / "root")
    assert supported(tmp_path / "root")
    assert os.listdir(tmp_path / "root") == []


def test_where_overlayfs_cannot_work_it_says_so(tmp_path: Path) -> None:
    """An overlay cannot be the upper directory of another: what happens in a container without a volume."""
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = [f"lowerdir={tmp_path}/lower", f"upperdir={tmp_path}/upper", f"workdir={tmp_path}/work"]
    with mounted([Mount(type="overlay", source="overlay", options=options)], tmp_path / "merged"):
        assert not supported(tmp_path / "merged" / "root")
        with pytest.raises(Unavailable, match="overlayfs does not work on") as caught:
            require_support(tmp_path / "merged" / "root")
        assert "native" in str(caught.value.hint)
        assert os.listdir(tmp_path / "merged" / "root") == []


def test_where_erofs_cannot_work_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.ENODEV, "No such device")

    erofs.require_support(tmp_path / "root")
    monkeypatch.setattr(erofs, "mount", unknown)
    with pytest.raises(Unavailable, match=r"erofs does not work on .*: the kernel has no erofs") as caught:
        erofs.require_support(tmp_path / "root")
    assert "overlayfs" in str(caught.value.hint)
    assert os.listdir(tmp_path / "root") == []


@pytest.mark.parametrize("name", ["with space", "a:b", "a,b", "a\\b", "new\nline"])
def test_roots_that_mount_options_cannot_carry_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgument, match="mount options cannot carry"):
        OverlayDriver(tmp_path / name)


def test_a_copy_is_faithful_and_follows_nothing(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (tmp_path / "secret").write_text("outside")
    odd = os.fsdecode(b"\xff\n-rf")
    (source / odd).write_bytes(b"x" * 5000)
    (source / "link").symlink_to(tmp_path / "secret")
    os.link(source / "link", source / "link2", follow_symlinks=False)
    os.mkfifo(source / "pipe", 0o620)
    os.mknod(source / "zero", stat.S_IFCHR | 0o644, os.makedev(1, 5))
    os.chown(source / odd, 7, 8)
    (source / odd).chmod(0o6711)
    with open(source / "sparse", "wb") as sparse:
        sparse.truncate(1 << 26)
        sparse.seek(1 << 25)
        sparse.write(b"data")
    (source / "d").mkdir(mode=0o1777)
    os.setxattr(source / "d", "user.k", b"v")
    os.utime(source / "d", ns=(5, 7_000_000_001))
    os.utime(source, ns=(5, 9))
    copy_tree(source, target)
    assert (target / "link").readlink() == tmp_path / "secret"
    assert (target / "link").lstat().st_ino == (target / "link2").lstat().st_ino
    assert stat.S_ISFIFO((target / "pipe").stat().st_mode)
    assert (target / "zero").stat().st_rdev == os.makedev(1, 5)
    found = (target / odd).stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o6711, 7, 8)
    assert (target / "sparse").stat().st_blocks < 1000
    assert (target / "sparse").read_bytes() == (source / "sparse").read_bytes()
    assert os.getxattr(target / "d", "user.k") == b"v"
    assert (target / "d").stat().st_mtime_ns == 7_000_000_001
    assert target.stat().st_mtime_ns == 9


def test_snapshots_are_spread_over_the_disk(tmp_path: Path) -> None:
    """ext4 would put them all near their parent, and without a journal pass over removed inodes for minutes."""
    file_system = subprocess.run(["stat", "-f", "-c", "%T", tmp_path], capture_output=True, check=True).stdout
    if not file_system.startswith(b"ext"):
        pytest.skip("the temporary directory is not on ext4")
    OverlayDriver(tmp_path / "root")
    OverlayDriver(tmp_path / "root")  # and a second start finds it done
    attributes = subprocess.run(["lsattr", "-d", tmp_path / "root"], capture_output=True, check=True).stdout
    assert b"T" in attributes.split()[0]


def test_a_tree_deeper_than_any_stack_is_measured(tmp_path: Path) -> None:
    """Deeper than Python recurses, than descriptors may be open, and than a path can say."""
    depth = 3000
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
    os.close(fd)
    try:
        assert measure(tmp_path).inodes == depth + 2
    finally:
        remove_tree(os.fspath(tmp_path / "d"))  # pytest could not


def test_hard_links_are_measured_once_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    alone = measure(tmp_path)
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "link").symlink_to("/usr")
    assert measure(tmp_path).inodes == alone.inodes + 1
    assert alone.size <= measure(tmp_path).size < alone.size + 100_000
