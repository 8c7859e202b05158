"""What every `core.snapshots.SnapshotDriver` that really keeps files does, with real mounts.

A test class inherits `SnapshotDriverSuite` and gives the fixture `driver`, on an empty root, and `root`.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corten_shared.errors import DataLoss, InvalidArgument
from corten_shared.models.snapshot import Kind
from cortend.core.snapshots import SnapshotDriver
from cortend.linux.mount import mounted
from trees import facts


class SnapshotDriverSuite:
    """The conformance suite. Committing is the metadata's business but for `seal` and `shed` around its record."""

    layers = 300
    """How many are stacked: 300 where a layer costs nothing but itself."""

    @pytest.fixture
    def look(self, driver: SnapshotDriver, tmp_path: Path) -> Callable[..., object]:
        """`with look(sid, kind, parents) as path`: the snapshot mounted."""

        @contextmanager
        def view(sid: int, kind: Kind, parents: list[int]) -> Iterator[Path]:
            target = tmp_path / f"mounted-{sid}-{len(os.listdir(tmp_path))}"
            target.mkdir()
            with mounted(driver.mounts(sid, kind, parents), target):
                yield target

        return view

    def chain(self, driver: SnapshotDriver, look: Callable[..., object]) -> list[int]:
        """Three committed layers, nearest first: b is changed, c removed, d a directory replaced by a file."""
        parents: list[int] = []
        for sid in (1, 2, 3):
            driver.create(sid, Kind.ACTIVE, parents)
            with look(sid, Kind.ACTIVE, parents) as path:  # type: ignore[attr-defined]
                self.change(path, sid)
            self.commit(driver, sid)
            parents.insert(0, sid)
        return parents

    def commit(self, driver: SnapshotDriver, sid: int) -> None:
        """What the metadata has the driver do."""
        driver.seal(sid)
        driver.sync([sid])
        driver.shed(sid)

    def change(self, path: Path, sid: int) -> None:
        (path / f"own-{sid}").write_text(str(sid))
        if sid == 1:
            for name in "abc":
                (path / name).write_text(name)
            (path / "d").mkdir()
            (path / "d" / "inside").write_text("x")
            os.link(path / "a", path / "a-link")
            os.mknod(path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
            (path / "a").chmod(0o4755)
            os.setxattr(path / "a", "user.note", b"n")
        if sid == 2:
            (path / "b").write_text("changed")
            (path / "c").unlink()
        if sid == 3:
            (path / "d" / "inside").unlink()
            (path / "d").rmdir()
            (path / "d").write_text("file now")

    def check(self, path: Path) -> None:
        assert sorted(os.listdir(path)) == ["a", "a-link", "b", "d", "null", "own-1", "own-2", "own-3"]
        assert ((path / "b").read_text(), (path / "d").read_text()) == ("changed", "file now")
        assert (path / "a").stat().st_ino == (path / "a-link").stat().st_ino
        assert stat.S_IMODE((path / "a").stat().st_mode) == 0o4755
        assert os.getxattr(path / "a", "user.note") == b"n"
        assert (path / "null").stat().st_rdev == os.makedev(1, 3)

    def test_a_new_snapshot_is_empty_and_writable(self, driver, look) -> None:
        driver.create(1, Kind.ACTIVE, [])
        with look(1, Kind.ACTIVE, []) as path:
            assert os.listdir(path) == []
            assert stat.S_IMODE(path.stat().st_mode) == 0o755
            (path / "f").write_text("x")
        with look(1, Kind.ACTIVE, []) as path:
            assert (path / "f").read_text() == "x"

    def test_layers_add_change_and_remove(self, driver, look) -> None:
        parents = self.chain(driver, look)
        driver.create(4, Kind.ACTIVE, parents)
        with look(4, Kind.ACTIVE, parents) as path:
            self.check(path)

    def test_a_view_shows_its_parents_and_takes_no_write(self, driver, look) -> None:
        parents = self.chain(driver, look)
        driver.create(4, Kind.VIEW, parents)
        with look(4, Kind.VIEW, parents) as path:
            self.check(path)
            with pytest.raises(OSError, match="Read-only"):
                (path / "new").write_text("x")

    def test_a_view_of_one_layer_and_of_none(self, driver, look) -> None:
        parents = self.chain(driver, look)[-1:]
        driver.create(4, Kind.VIEW, parents)
        driver.create(5, Kind.VIEW, [])
        with look(4, Kind.VIEW, parents) as path:
            assert (path / "c").read_text() == "c"
            with pytest.raises(OSError, match="Read-only"):
                (path / "new").write_text("x")
        with look(5, Kind.VIEW, []) as path:
            assert os.listdir(path) == []

    def test_a_committed_snapshot_can_be_looked_at(self, driver, look) -> None:
        top, *parents = self.chain(driver, look)
        with look(top, Kind.COMMITTED, parents) as path:
            self.check(path)
            with pytest.raises(OSError, match="Read-only"):
                (path / "new").write_text("x")

    def test_parents_never_change(self, driver, look) -> None:
        parents = self.chain(driver, look)
        for sid in (4, 5):
            driver.create(sid, Kind.ACTIVE, parents)
        with look(4, Kind.ACTIVE, parents) as path:
            (path / "a").write_text("mine")
            (path / "b").unlink()
        with look(5, Kind.ACTIVE, parents) as path:
            assert (path / "a").read_text() == "a"
            assert (path / "b").exists()

    def test_the_roots_attributes_go_up_the_chain(self, driver, look) -> None:
        driver.create(1, Kind.ACTIVE, [])
        with look(1, Kind.ACTIVE, []) as path:
            path.chmod(0o711)
            os.chown(path, 5, 6)
        self.commit(driver, 1)
        driver.create(2, Kind.ACTIVE, [1])
        with look(2, Kind.ACTIVE, [1]) as path:
            found = path.stat()
            assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o711, 5, 6)

    def test_long_chains_mount(self, driver, look) -> None:
        parents: list[int] = []
        for sid in range(1, self.layers + 1):
            driver.create(sid, Kind.ACTIVE, [] if driver.rebases else parents[:1])
            # Every layer of an overlay may be made by itself, so this need not mount 127 times.
            own = driver.mounts(sid, Kind.ACTIVE, [])[0].source
            (Path(own) / f"f{sid}").touch()
            self.commit(driver, sid)
            parents.insert(0, sid)
        driver.create(900, Kind.ACTIVE, parents)
        with look(900, Kind.ACTIVE, parents) as path:
            assert len(os.listdir(path)) == self.layers
            (path / "new").touch()

    def test_everything_about_a_file_goes_down_the_chain(self, driver, look) -> None:
        driver.create(1, Kind.ACTIVE, [])
        with look(1, Kind.ACTIVE, []) as path:
            _furnish(path)
            before = _facts(path)
        self.commit(driver, 1)
        driver.create(2, Kind.ACTIVE, [1])
        with look(2, Kind.ACTIVE, [1]) as path:
            assert _facts(path) == before
            for name in os.listdir(path):  # and as the upper files of another layer
                os.utime(path / name, ns=(5, 6), follow_symlinks=False)
            before = _facts(path)
        self.commit(driver, 2)
        driver.create(3, Kind.VIEW, [2, 1])
        with look(3, Kind.VIEW, [2, 1]) as path:
            assert _facts(path) == before

    def test_a_directory_that_was_made_anew_hides_the_old_one(self, driver, look) -> None:
        driver.create(1, Kind.ACTIVE, [])
        with look(1, Kind.ACTIVE, []) as path:
            for name in ("d", "gone"):
                (path / name / "below").mkdir(parents=True)
        self.commit(driver, 1)
        driver.create(2, Kind.ACTIVE, [1])
        with look(2, Kind.ACTIVE, [1]) as path:
            for name in ("d", "gone"):
                (path / name / "below").rmdir()
                (path / name).rmdir()
            (path / "d").mkdir()
            (path / "d" / "new").touch()
        self.commit(driver, 2)
        for kind, sid in ((Kind.VIEW, 3), (Kind.ACTIVE, 4)):
            driver.create(sid, kind, [2, 1])
            with look(sid, kind, [2, 1]) as path:
                assert (os.listdir(path), os.listdir(path / "d")) == (["d"], ["new"])

    def test_large_and_sparse_files_keep_their_holes(self, driver, look) -> None:
        length, at = (5 << 30) + 7, (9 << 29) + 12_345
        driver.create(1, Kind.ACTIVE, [])
        with look(1, Kind.ACTIVE, []) as path, open(path / "sparse", "wb") as file:
            file.write(b"first")
            file.seek(at)
            file.write(b"x" * 100_000)
            file.truncate(length)
        self.commit(driver, 1)
        assert driver.usage(1).size < 4 << 20
        driver.create(2, Kind.ACTIVE, [1])
        with look(2, Kind.ACTIVE, [1]) as path:
            with open(path / "sparse", "rb") as file:
                assert file.seek(0, os.SEEK_END) == length
                assert os.pread(file.fileno(), 10, 0) == b"first" + bytes(5)
                assert os.pread(file.fileno(), 100_002, at - 1) == b"\0" + b"x" * 100_000 + b"\0"
                assert at - (1 << 20) < os.lseek(file.fileno(), 1 << 30, os.SEEK_DATA) <= at
            (path / "sparse").chmod(0o600)  # copied up
            assert (path / "sparse").stat().st_size == length
        self.commit(driver, 2)
        assert driver.usage(2).size < 8 << 20

    def test_trees_deeper_than_any_path(self, driver, look) -> None:
        name = "n" * 255
        driver.create(1, Kind.ACTIVE, [])
        with look(1, Kind.ACTIVE, []) as path:
            fd = os.open(path, os.O_RDONLY)
            for _ in range(40):
                os.mkdir(name, dir_fd=fd)
                fd = _inside(fd, name)
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
            os.close(fd)
        self.commit(driver, 1)
        driver.create(2, Kind.ACTIVE, [1])
        with look(2, Kind.ACTIVE, [1]) as path:
            fd = os.open(path, os.O_RDONLY)
            for _ in range(40):
                fd = _inside(fd, name)
            assert os.listdir(fd) == ["file"]
            os.close(fd)

    def test_directories_of_many_names(self, driver, look) -> None:
        names = {os.fsdecode(bytes([65 + n % 26, 255 - n % 90]) * (n % 120 + 1) + b"%d" % n) for n in range(3000)}
        driver.create(1, Kind.ACTIVE, [])
        with look(1, Kind.ACTIVE, []) as path:
            for name in names:
                (path / name).touch()
        self.commit(driver, 1)
        with look(1, Kind.COMMITTED, []) as path:
            assert set(os.listdir(path)) == names
            assert all((path / name).exists() for name in names)
            assert not (path / "missing").exists()

    def test_mounts_are_known(self, driver, look) -> None:
        base, = self.chain(driver, look)[-1:]
        assert driver.targets(base) == []
        driver.create(8, Kind.ACTIVE, [base])
        driver.create(9, Kind.VIEW, [base])
        with look(8, Kind.ACTIVE, [base]) as path:
            assert driver.targets(8) == [str(path)]
            assert driver.targets(base) == ([str(path)] if driver.rebases else [])
        with look(9, Kind.VIEW, [base]) as path:
            assert driver.targets(base) == [str(path)]

    def test_usage_counts_hard_links_once_and_blocks_not_lengths(self, driver, look) -> None:
        driver.create(1, Kind.ACTIVE, [])
        before = driver.usage(1)
        with look(1, Kind.ACTIVE, []) as path:
            (path / "f").write_bytes(b"x" * 100_000)
            os.link(path / "f", path / "g")
            with open(path / "sparse", "wb") as sparse:
                sparse.truncate(1 << 30)
            (path / "out").symlink_to("/")
        driver.sync([1])
        after = driver.usage(1)
        assert after.inodes - before.inodes == 3
        assert 100_000 <= after.size - before.size < 200_000

    def test_removing_frees_and_may_be_repeated(self, driver, root, look) -> None:
        parents = self.chain(driver, look)
        driver.remove(parents[0])
        assert set(driver.ids()) == set(parents[1:])
        driver.remove(parents[0])
        driver.remove(77)
        driver.settle()
        assert sorted(os.listdir(root)) == ["1", "2"]

    def test_removing_follows_no_link_and_takes_any_depth(self, driver, root, tmp_path) -> None:
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "file").touch()
        driver.create(1, Kind.ACTIVE, [])
        base = Path(driver.mounts(1, Kind.ACTIVE, [])[0].source)
        (base / "link").symlink_to(tmp_path / "outside")
        fd = os.open(base, os.O_RDONLY)
        for _ in range(1500):
            os.mkdir("d", dir_fd=fd)
            below = os.open("d", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        os.close(fd)
        driver.remove(1)
        driver.settle()
        assert os.listdir(root) == []
        assert (tmp_path / "outside" / "file").exists()

    def test_creating_again_keeps_what_is_there(self, driver, look) -> None:
        driver.create(1, Kind.ACTIVE, [])
        with look(1, Kind.ACTIVE, []) as path:
            (path / "f").touch()
        driver.create(1, Kind.ACTIVE, [])
        with look(1, Kind.ACTIVE, []) as path:
            assert (path / "f").exists()

    def test_a_failed_creation_leaves_nothing(self, driver, root) -> None:
        with pytest.raises((OSError, DataLoss), match=r"No such file|is gone"):
            driver.create(2, Kind.ACTIVE, [1])
        assert os.listdir(root) == []

    def test_leftovers_of_an_interruption_are_no_snapshots_and_are_cleared(self, driver, root) -> None:
        driver.create(1, Kind.ACTIVE, [])
        for name in ("new-2", "rm-3-1-99"):
            (root / name / "fs" / "d").mkdir(parents=True)
        assert list(driver.ids()) == [1]
        driver.settle()
        assert os.listdir(root) == ["1"]

    def test_a_snapshot_being_made_is_not_swept(self, driver, root, monkeypatch) -> None:
        """`ids` in the middle of `create`, on another thread."""
        renaming, go_on = threading.Event(), threading.Event()
        rename = Path.rename

        def slow(path: Path, target: Path) -> Path:
            renaming.set()
            assert go_on.wait(30)
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", slow)
        maker = threading.Thread(target=driver.create, args=(1, Kind.ACTIVE, []))
        maker.start()
        assert renaming.wait(30)
        assert list(driver.ids()) == []
        driver.settle()
        go_on.set()
        maker.join()
        assert list(driver.ids()) == [1]

    def test_nobody_else_walks_in(self, driver, root) -> None:
        driver.create(1, Kind.ACTIVE, [])
        assert stat.S_IMODE(root.stat().st_mode) == 0o700
        assert stat.S_IMODE((root / "1").stat().st_mode) == 0o700

    @pytest.mark.parametrize("sid", [0, -1, "1", "../x", True])
    def test_only_numbers_become_paths(self, driver, sid) -> None:
        for call in (driver.usage, driver.remove, lambda sid: driver.create(sid, Kind.ACTIVE, [])):
            with pytest.raises(InvalidArgument, match="not a snapshot id"):
                call(sid)


def _inside(fd: int, name: str) -> int:
    """The directory `name` instead of the one that holds it."""
    below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
    os.close(fd)
    return below


CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
"""cap_net_raw+ep, as setcap writes it."""


def _facts(path: Path) -> dict[str, tuple[object, ...]]:
    """Of all but the root: the merged one's times are those of whichever directory is on top."""
    found = facts(path)
    del found["."]
    return found


def _furnish(path: Path) -> None:
    """Everything that a file can be, with every attribute that a layer keeps."""
    (path / "tool").write_bytes(os.urandom(300_000))
    (path / "tool").chmod(0o755)
    os.setxattr(path / "tool", "security.capability", CAPABILITY)
    os.setxattr(path / "tool", "user.note", b"a\0b")
    os.link(path / "tool", path / "again")
    (path / "suid").write_bytes(b"s" * 4100)
    os.chown(path / "suid", 1000, 3_000_000_000)
    (path / "suid").chmod(0o6711)
    for size in (0, 1, 4000, 4031, 4032, 4033, 4095, 4096, 4097, 8192):
        (path / f"size-{size}").write_bytes(os.urandom(size))
    (path / "link").symlink_to("/no/where")
    os.link(path / "link", path / "link-again", follow_symlinks=False)
    (path / "long").symlink_to("l" * 4000)
    os.mknod(path / "device", stat.S_IFBLK | 0o640, os.makedev(259, 70_000))
    os.mkfifo(path / "fifo", 0o622)
    (path / "sticky").mkdir()
    (path / "sticky").chmod(0o1777)
    os.setxattr(path / "sticky", "user.k", b"v" * 900)
    for name in (b"\xff\xfe", b"new\nline", b"-rf", b"\x01", b" ", b"e" * 255):
        (path / os.fsdecode(name)).write_bytes(name)
    for number, name in enumerate(sorted(os.listdir(path))):
        os.utime(path / name, ns=(10**18, (number - 3) * 10**17 + number * 1001), follow_symlinks=False)
    os.utime(path, ns=(5, 10**18 + 7))
