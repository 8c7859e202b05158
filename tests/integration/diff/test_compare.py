"""Layers made of what changed: unpacked over the lower tree, they give the upper one."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import io
import os
import shutil
import socket
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from corten_shared.errors import InvalidArgument, ResourceExhausted
from corten_shared.models.snapshot import Mount
from cortend.core.diff import Packed
from cortend.diff.apply import ChildApplier
from cortend.diff.comparer import ChildComparer
from cortend.diff.limits import Limits
from cortend.linux.files import remove_tree
from cortend.linux.mount import mounted
from cortend.snapshots.copying import copy_tree
from trees import facts

ODD = os.fsdecode(b"b\xff\nd name")


class Trees:
    """A lower tree, and an upper one that is changed: an overlay's, or a whole copy."""

    def __init__(self, base: Path, kind: str) -> None:
        self.base = base
        self.kind = kind
        self.lower, self.upper = base / "lower", base / "upper"
        self.work, self.merged = base / "work", base / "merged"
        for path in (self.lower, self.upper, self.work, self.merged):
            path.mkdir()
        self.comparer = ChildComparer(base / "staging")

    @contextlib.contextmanager
    def change(self) -> Iterator[Path]:
        """The upper tree, to be written."""
        if self.kind == "native":
            if not os.listdir(self.upper):
                copy_tree(self.lower, self.upper)
            yield self.upper
            return
        with mounted(self.mounts(), self.merged):
            yield self.merged

    def mounts(self) -> list[Mount]:
        if self.kind == "native":
            return [Mount(type="bind", source=str(self.upper), options=["rw", "rbind"])]
        options = [f"lowerdir={self.lower}", f"upperdir={self.upper}", f"workdir={self.work}",
                   "index=off", "redirect_dir=off", "metacopy=off"]  # fmt: skip
        return [Mount(type="overlay", source="overlay", options=options)]

    def below(self) -> list[Mount]:
        return [Mount(type="bind", source=str(self.lower), options=["ro", "rbind"])]

    def layer(self, compression: str = "none", **options: object) -> tuple[bytes, Packed]:
        """The layer, and what it is said to be."""

        async def read() -> tuple[bytes, Packed]:
            reading = await self.comparer.compare(
                self.below(),
                self.mounts(),
                compression=compression,
                **options,  # type: ignore[arg-type]
            )
            try:
                return b"".join([piece async for piece in reading]), reading.packed
            finally:
                await reading.aclose()

        return asyncio.run(read())

    def listed(self, **options: object) -> list[str]:
        async def read() -> list[str]:
            found = self.comparer.changes(self.below(), self.mounts(), **options)  # type: ignore[arg-type]
            return [f"{'CAD'[change.kind]} {change.path}" async for some in found for change in some]

        return asyncio.run(read())

    def check(self) -> dict[str, tarfile.TarInfo]:
        """The layer makes the upper tree of the lower one, on both kinds of snapshot; its members."""
        data, packed = self.layer()
        assert (data, packed) == self.layer()
        assert packed.diff_id == packed.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert packed.size == packed.unpacked == len(data)
        with mounted(self.mounts(), self.merged):
            wanted = self.facts(self.merged)
        for kind in ("native", "overlay"):
            assert self.facts(self.applied(data, kind)) == wanted
            if kind == "overlay":
                subprocess.run(["umount", self.base / "out"], check=True)
            remove_tree(str(self.base / "out"))
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            members = {member.name: member for member in tar}
        assert len(members) == packed.entries
        return members

    def facts(self, top: Path) -> dict[str, tuple[object, ...]]:
        found = facts(top)
        found["."] = found["."][:4]  # its time is not told
        # Sockets are in no layer.
        return {name: fact for name, fact in found.items() if not stat.S_ISSOCK(fact[0])}  # type: ignore[arg-type]

    def applied(self, data: bytes, kind: str) -> Path:
        """The lower tree with the layer unpacked over it."""
        out, layer = self.base / "out", self.base / "layer.tar"
        out.mkdir()
        layer.write_bytes(data)
        copy_tree(self.lower, out)
        target, options = out, ["rw", "rbind"]
        if kind == "overlay":
            target = self.base / "over"
            remove_tree(str(target))
            target.mkdir()
            shutil.copystat(self.lower, target)
            options.append("x-corten.whiteouts=overlay")
        with layer.open("rb") as file:
            mounts = [Mount(type="bind", source=str(target), options=options)]
            asyncio.run(ChildApplier().apply(file, "none", mounts))
        if kind == "overlay":
            options = ["ro", f"lowerdir={target}:{self.lower}", "index=off"]
            remove_tree(str(out))
            out.mkdir()
            subprocess.run(["mount", "-t", "overlay", "overlay", "-o", ",".join(options), str(out)], check=True)
        return out


@pytest.fixture(params=["overlay", "native"])
def trees(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Trees]:
    yield Trees(tmp_path, request.param)
    with contextlib.suppress(OSError):
        (tmp_path / "layer.tar").unlink()


def test_everything_that_can_change_comes_back(trees: Trees) -> None:
    lower = trees.lower
    (lower / "keep" / "deep").mkdir(parents=True)
    (lower / "keep" / "deep" / "file").write_bytes(b"kept")
    (lower / "gone-dir" / "x").mkdir(parents=True)
    for name in ("gone", "content", "mode", "owner", "times", "attribute", "to-dir", "moved"):
        (lower / name).write_bytes(name.encode())
    (lower / "to-file").mkdir()
    (lower / "to-file" / "inner").touch()
    (lower / "reborn").mkdir()
    (lower / "reborn" / "old").touch()
    (lower / "empty-reborn").mkdir()
    (lower / "link").symlink_to("one")
    (lower / "dir-mode").mkdir()
    os.link(lower / "moved", lower / "twin")
    with trees.change() as top:
        (top / "gone").unlink()
        shutil.rmtree(top / "gone-dir")
        (top / "content").write_bytes(b"CONTENT")
        (top / "mode").chmod(0o4755)
        os.chown(top / "owner", 3_000_000, 70000)
        (top / "owner").chmod(0o2711)
        os.utime(top / "times", ns=(1, 1_234_567_890_123_456_789))
        os.setxattr(top / "attribute", "user.note", b"a\0b")
        os.setxattr(top / "attribute", "security.capability", bytes.fromhex("0100000202040000") + bytes(12))
        (top / "to-dir").unlink()
        (top / "to-dir").mkdir()
        (top / "to-dir" / "inner").write_bytes(b"inner")
        shutil.rmtree(top / "to-file")
        (top / "to-file").write_bytes(b"now a file")
        for name in ("reborn", "empty-reborn"):
            shutil.rmtree(top / name)
            (top / name).mkdir()
        (top / "reborn" / "new").touch()
        (top / "link").unlink()
        (top / "link").symlink_to("x" * 300)
        (top / "dir-mode").chmod(0o1777)
        os.setxattr(top / "dir-mode", "user.dir", b"1")
        (top / "moved").rename(top / "keep" / "moved")
        (top / ODD).mkdir()
        (top / ODD / ("n" * 255)).write_bytes(b"long")
        os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(top / "disk", stat.S_IFBLK | 0o600, os.makedev(259, 1048575))
        os.mkfifo(top / "pipe", 0o620)
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
            here = os.open(top, os.O_PATH)
            server.bind(f"/proc/self/fd/{here}/socket")
            os.close(here)
        (top / "one").write_bytes(b"1")
        os.link(top / "one", top / "keep" / "two")
        os.link(top / "pipe", top / "pipe2")
    members = trees.check()
    assert "socket" not in members and "keep/deep" not in members
    assert {".wh.gone", ".wh.gone-dir", ".wh.moved"} <= members.keys()
    assert members["one"].islnk() != members["keep/two"].islnk()


def test_an_untouched_tree_gives_an_empty_layer(trees: Trees) -> None:
    (trees.lower / "dir").mkdir()
    (trees.lower / "dir" / "file").touch()
    with trees.change():
        pass
    assert trees.check() == {}
    assert trees.layer()[0] == bytes(1024)
    assert trees.listed() == []


def test_a_new_link_to_an_old_file_brings_the_file(trees: Trees) -> None:
    (trees.lower / "a").mkdir()
    (trees.lower / "a" / "old").write_bytes(b"old")
    with trees.change() as top:
        os.link(top / "a" / "old", top / "new")
    members = trees.check()
    assert members["a/old"].isreg() and members["new"].linkname == "a/old"


def test_the_roots_own_attributes_are_told(trees: Trees) -> None:
    with trees.change() as top:
        top.chmod(0o711)
    assert list(trees.check()) == ["."]


def test_times_alone_are_a_change_and_places_to_mount_on_are_not(trees: Trees) -> None:
    for name in ("etc", "touched"):
        (trees.lower / name).mkdir()
    with trees.change() as top:
        (top / "etc" / "hosts").touch()
        (top / "dev").mkdir()
        (top / "dev" / "pts").mkdir()
        os.utime(top / "touched", (1, 1))
    skip = {"/etc/hosts", "/dev", "/dev/pts"}
    data, packed = trees.layer(skip=skip)
    assert packed.entries == 1 and b"touched/" in data
    assert trees.listed(skip=skip) == []
    with trees.change() as top:
        (top / "etc" / "hosts").write_bytes(b"mine")
        (top / "dev" / "mine").touch()
    assert trees.listed(skip=skip) == ["A /dev", "A /dev/mine", "C /etc", "A /etc/hosts"]


def test_content_that_hides_behind_the_same_size_and_time_is_found(trees: Trees) -> None:
    (trees.lower / "file").write_bytes(b"one")
    os.utime(trees.lower / "file", ns=(5, 5))
    with trees.change() as top:
        (top / "file").write_bytes(b"two")
        os.utime(top / "file", ns=(5, 5))
    assert list(trees.check()) == ["file"]


def test_holes_stay_holes(trees: Trees) -> None:
    with trees.change() as top, (top / "big").open("wb") as file:
        file.write(b"begin")
        file.seek(20 << 30)
        file.write(b"middle")
        file.truncate(30 << 30)
    data, packed = trees.layer()
    assert packed.unpacked < 1 << 20
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getmember("big").size == 30 << 30
    out = trees.applied(data, "native") / "big"
    assert out.stat().st_size == 30 << 30 and out.stat().st_blocks < 4096
    with out.open("rb") as file:
        assert file.read(5) == b"begin"
        file.seek(20 << 30)
        assert file.read(6) == b"middle"


def test_deep_and_long_paths(trees: Trees) -> None:
    with trees.change() as top:
        fd = os.open(top, os.O_PATH)
        for _ in range(1000):
            os.mkdir("d", dir_fd=fd)
            below = os.open("d", os.O_PATH, dir_fd=fd)
            os.close(fd)
            fd = below
        os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.close(fd)
    data, packed = trees.layer()
    assert packed.entries == 1001
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert "d/" * 1000 + "leaf" in tar.getnames()
    remove_tree(str(trees.upper / "d"))


@pytest.mark.parametrize(
    ("compression", "unpack"),
    [("gzip", gzip.decompress), ("zstd", lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data))],
)
def test_compressed_layers(trees: Trees, compression: str, unpack: Callable[[bytes], bytes]) -> None:
    with trees.change() as top:
        (top / "file").write_bytes(os.urandom(100_000) + bytes(3_000_000))
    plain, _ = trees.layer()
    data, packed = trees.layer(compression)
    assert unpack(data) == plain
    assert packed.diff_id == f"sha256:{hashlib.sha256(plain).hexdigest()}"
    assert packed.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert (packed.size, packed.unpacked) == (len(data), len(plain))


def test_a_name_that_would_mean_a_deletion_is_refused(trees: Trees) -> None:
    with trees.change() as top:
        (top / ".wh.passwd").touch()
    with pytest.raises(InvalidArgument, match=r"'\.wh\.passwd' cannot be in a layer"):
        trees.layer()


def test_links_lead_nowhere_and_too_many_files_are_refused(trees: Trees, tmp_path: Path) -> None:
    (trees.lower / "etc").mkdir()
    with trees.change() as top:
        (top / "etc").rmdir()
        (top / "etc").symlink_to("/etc")
        (top / "out").symlink_to("../../../..")
    assert sorted(trees.check()) == ["etc", "out"]
    trees.comparer = ChildComparer(tmp_path / "staging", Limits(entries=1))
    with pytest.raises(ResourceExhausted, match="more than 1 files"):
        trees.layer()


def test_an_opaque_directory_is_told_as_one(tmp_path: Path) -> None:
    trees = Trees(tmp_path, "overlay")
    (trees.lower / "d" / "sub").mkdir(parents=True)
    (trees.lower / "d" / "old").touch()
    with trees.change() as top:
        shutil.rmtree(top / "d")
        (top / "d" / "sub").mkdir(parents=True)
    assert list(trees.check()) == ["d", "d/.wh..wh..opq", "d/sub"]
    assert trees.listed() == ["C /d", "D /d/old"]


def test_two_snapshots_that_are_not_parent_and_child(tmp_path: Path) -> None:
    trees = Trees(tmp_path, "overlay")
    (trees.lower / "both").touch()
    with trees.change() as top:
        (top / "both").unlink()
        (top / "mine").touch()
    other = tmp_path / "other"
    other.mkdir()
    (other / "theirs").touch()
    trees.below = lambda: [Mount(type="bind", source=str(other), options=["rw", "rbind"])]  # type: ignore[method-assign]
    assert trees.listed() == ["A /mine", "D /theirs"]


def test_nothing_is_mounted_and_nobody_left_when_it_is_given_up(trees: Trees) -> None:
    with trees.change() as top:
        (top / "big").write_bytes(os.urandom(8 << 20))

    async def begin() -> int:
        reading = await trees.comparer.compare(trees.below(), trees.mounts(), compression="none")
        assert await anext(reading)
        pid: int = reading._process.pid
        await reading.aclose()
        return pid

    pid = asyncio.run(begin())
    assert not Path(f"/proc/{pid}").exists()
    assert "staging" not in Path("/proc/self/mountinfo").read_text()
