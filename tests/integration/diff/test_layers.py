"""Honest layers: what arrives is what GNU tar makes of them, and whiteouts do what the image specification says."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from archives import END, archive, directory, file, hard_link, link, member, pax
from corten_shared.errors import InvalidArgument
from corten_shared.models.snapshot import Mount
from cortend.diff.apply import ChildApplier, target_of
from cortend.linux.mount import mounted
from trees import facts


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree with everything that a layer may hold."""
    top = tmp_path / "source"
    (top / "bin").mkdir(parents=True)
    (top / "bin" / "tool").write_bytes(os.urandom(300_000))
    (top / "bin" / "tool").chmod(0o6755)
    os.setxattr(top / "bin" / "tool", "user.note", b"a\0b")
    os.link(top / "bin" / "tool", top / "bin" / "tool2")
    (top / "bin" / "sh").symlink_to("/bin/tool")
    os.link(top / "bin" / "sh", top / "bin" / "bash", follow_symlinks=False)
    os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mkfifo(top / "pipe", 0o620)
    (top / "tmp").mkdir()
    (top / "tmp").chmod(0o1777)
    (top / "empty").touch()
    deep = top / ("d" * 90) / ("e" * 90) / ("f" * 90)
    deep.mkdir(parents=True)
    (deep / ("name é\n" + "n" * 100)).write_bytes(b"deep")
    (top / os.fsdecode(b"latin-\xe9")).write_bytes(b"1")
    os.chown(top / "empty", 12345, 3_000_000)
    with open(top / "sparse", "wb") as sparse:
        sparse.truncate(1 << 20)
        sparse.seek(500_000)
        sparse.write(b"middle")
    for root, directories, files in os.walk(top):
        for index, name in enumerate([*directories, *files]):
            os.utime(Path(root) / name, ns=(10**18, 10**18 + index * 1001), follow_symlinks=False)
    os.utime(top, ns=(10**18, 10**18))
    return top


@pytest.mark.parametrize("options", [
    ["--format=gnu"], ["--format=gnu", "--sparse"], ["--format=pax", "--xattrs"],
    ["--format=pax", "--sparse"], ["--format=pax", "--sparse", "--sparse-version=0.0"],
    ["--format=pax", "--sparse", "--sparse-version=0.1"],
], ids=" ".join)  # fmt: skip
def test_what_gnu_tar_packs_arrives_as_gnu_tar_unpacks_it(
    arena: Any, source: Path, tmp_path: Path, options: list[str]
) -> None:
    packed = subprocess.run(["tar", "-C", source, "-c", *options, "."], capture_output=True, check=True).stdout
    other = tmp_path / "other"
    other.mkdir()
    keep = ["--xattrs", "--xattrs-include=*"] if "--xattrs" in options else []
    subprocess.run(["tar", "-C", other, "-xp", "--numeric-owner", *keep], input=packed, check=True)
    applied = arena.apply(packed)
    assert facts(arena.target) == facts(other)
    assert applied.diff_id == "sha256:" + hashlib.sha256(packed).hexdigest()
    assert applied.read == len(packed)
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert applied.entries == len(tar.getnames())


def test_sparse_files_stay_sparse(arena: Any, source: Path) -> None:
    packed = subprocess.run(["tar", "-C", source, "-cS", "sparse"], capture_output=True, check=True).stdout
    arena.apply(packed)
    assert (arena.target / "sparse").stat().st_blocks * 512 < 1 << 18


def test_every_compression_gives_the_same_layer(arena: Any) -> None:
    data = archive(file("f", os.urandom(900_000)), file("g", b"x" * 900_000))
    half = len(data) // 2
    zstd = zstandard.ZstdCompressor(write_checksum=True)
    skippable = b"\x50\x2a\x4d\x18\x04\0\0\0skip"
    streams = [
        (data, "none"),
        (gzip.compress(data), "gzip"),
        (gzip.compress(data[:half]) + gzip.compress(b"") + gzip.compress(data[half:]), "gzip"),
        (gzip.compress(data) + bytes(700), "gzip"),
        (zstd.compress(data), "zstd"),
        (zstd.compress(data[:half]) + skippable + zstd.compress(data[half:]), "zstd"),
    ]
    for stream, compression in streams:
        applied = arena.apply(stream, compression=compression)
        assert applied.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()
        assert (applied.read, applied.size, applied.entries) == (len(stream), 1_800_000, 2)
        assert (arena.target / "g").read_bytes() == b"x" * 900_000


def test_bytes_after_the_end_count_for_the_digest_only(arena: Any) -> None:
    data = archive(file("f", b"x")) + file("ghost", b"y") + os.urandom(5000)
    applied = arena.apply(data)
    assert applied.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()
    assert arena.tree() == {"f"}


def test_progress_tells_compressed_bytes(arena: Any) -> None:
    told: list[int] = []
    data = archive(file("f", os.urandom(5 << 20)))
    applied = arena.apply(data, progress=told.append)
    assert told == sorted(told) and len(told) >= 4
    assert told[-1] <= applied.read == len(data)


def test_a_layer_is_read_from_where_its_file_stands(arena: Any, tmp_path: Path) -> None:
    path = tmp_path / "layer"
    path.write_bytes(b"prefix" + archive(file("f", b"x")))
    with path.open("rb") as layer:
        layer.read(6)
        asyncio.run(ChildApplier().apply(layer, "none", arena.mounts()))
    assert arena.tree() == {"f"}


def test_missing_parents_are_made_and_directories_keep_their_times(arena: Any) -> None:
    arena.apply(archive(file("a/b/c", b"x"), directory("d", mtime=77), file("d/later", b"y"), directory("d", mtime=78)))
    assert stat.S_IMODE((arena.target / "a" / "b").stat().st_mode) == 0o755
    assert (arena.target / "d").stat().st_mtime == 78


def test_the_root_takes_its_entrys_attributes(arena: Any) -> None:
    arena.apply(archive(directory("./", mode=0o711, uid=5, gid=6, mtime=99), file("./f", b"x")))
    info = arena.target.stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, info.st_mtime) == (0o711, 5, 6, 99)


def test_later_members_replace_earlier_ones(arena: Any) -> None:
    arena.apply(archive(
        file("f", b"1"), hard_link("h", "f"), file("f", b"2"),
        directory("d"), file("d/x", b"x"), link("d", "f"),
        file("e", b"file"), directory("e"), file("e/x", b"x"),
        directory("keep"), file("keep/x", b"x"), directory("keep", mode=0o700),
    ))  # fmt: skip
    target = arena.target
    assert (target / "f").read_bytes() == b"2"
    assert (target / "h").read_bytes() == b"1"
    assert (target / "d").is_symlink()
    assert (target / "e" / "x").exists()
    assert (target / "keep" / "x").exists() and stat.S_IMODE((target / "keep").stat().st_mode) == 0o700


LOWER = [
    directory("etc"), file("etc/keep", b"1"), file("etc/gone", b"2"), directory("opt"), file("opt/a", b"3"),
    directory("opt/sub"), file("opt/sub/b", b"4"), directory("swap"), file("swap/old", b"5"), file("top", b"6"),
]  # fmt: skip
UPPER = {
    "removes a file": ([file("etc/.wh.gone")], {"etc/gone"}, set()),
    "removes a tree": ([file(".wh.opt")], {"opt", "opt/a", "opt/sub", "opt/sub/b"}, set()),
    "of nothing": ([file("etc/.wh.never")], set(), set()),
    "spares what the layer brings": ([file("top", b"n"), file(".wh.top")], set(), set()),
    "opaque first": (
        [directory("opt"), file("opt/.wh..wh..opq"), file("opt/new", b"n")],
        {"opt/a", "opt/sub", "opt/sub/b"}, {"opt/new"},
    ),
    "opaque last": (
        [directory("opt"), file("opt/new", b"n"), file("opt/sub/new", b"n"), file("opt/.wh..wh..opq")],
        {"opt/a", "opt/sub/b"}, {"opt/new", "opt/sub/new"},
    ),
    "opaque without the directory": ([file("opt/.wh..wh..opq")], {"opt/a", "opt/sub", "opt/sub/b"}, set()),
    "directory anew, whiteout first": (
        [file(".wh.swap"), directory("swap"), file("swap/new", b"n")], {"swap/old"}, {"swap/new"},
    ),
    "directory anew, whiteout last": (
        [directory("swap"), file("swap/new", b"n"), file(".wh.swap")], {"swap/old"}, {"swap/new"},
    ),
    "directory anew, not listed": ([file(".wh.swap"), file("swap/new", b"n")], {"swap/old"}, {"swap/new"}),
    "directory becomes a file": ([file("opt", b"n")], {"opt/a", "opt/sub", "opt/sub/b"}, set()),
    "file becomes a directory": ([directory("top"), file("top/x", b"n")], set(), {"top/x"}),
    "whiteout twice": ([file(".wh.top"), file(".wh.top")], {"top"}, set()),
    "file in place of its whiteout": ([file(".wh.top"), file("top", b"n")], set(), set()),
}  # fmt: skip


@pytest.mark.parametrize("overlay", [False, True], ids=["native", "overlay"])
@pytest.mark.parametrize("case", UPPER)
def test_whiteouts(arena: Any, tmp_path: Path, case: str, overlay: bool) -> None:
    """Both ways of keeping layers show the same tree."""
    members, removed, added = UPPER[case]
    arena.apply(archive(*LOWER))
    expected = arena.tree() - removed | added
    if not overlay:
        arena.apply(archive(*members))
        assert arena.tree() == expected
        return
    lower, merged, work = (tmp_path / name for name in ("lower", "merged", "work"))
    arena.target.rename(lower)
    for path in (arena.target, merged, work):
        path.mkdir()
    arena.apply(archive(*members), overlay=True)
    option = f"lowerdir={arena.target}:{lower}"
    with mounted([Mount(type="overlay", source="overlay", options=["ro", option])], merged):
        arena.target = merged
        assert arena.tree() == expected


def test_an_overlay_mount_is_unpacked_into_its_upper_directory(arena: Any) -> None:
    mount = Mount(type="overlay", source="overlay", options=["lowerdir=/x", "upperdir=/up", "workdir=/w"])
    assert target_of([mount]) == ("/up", "overlay")
    assert target_of(arena.mounts(True)) == (str(arena.target), "overlay")
    assert target_of(arena.mounts()) == (str(arena.target), "native")


@pytest.mark.parametrize("mounts", [
    [], [Mount(type="bind", source="/x", options=["ro"])], [Mount(type="tmpfs", source="x")],
    [Mount(type="overlay", source="overlay", options=["lowerdir=/a:/b"])],
    [Mount(type="bind", source="/x"), Mount(type="bind", source="/y")],
])  # fmt: skip
def test_what_cannot_be_written_is_refused(mounts: list[Mount]) -> None:
    with pytest.raises(InvalidArgument, match="cannot unpack"):
        target_of(mounts)


def test_an_opaque_root_is_refused_where_it_cannot_be_kept(arena: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"opq.*root"):
        arena.apply(archive(file(".wh..wh..opq")), overlay=True)


def test_long_pax_names_and_odd_modes(arena: Any) -> None:
    name = "n" * 200 + "/" + "m" * 200
    arena.apply(archive(pax({"path": name, "mtime": "1.5"}), member("x", b"0", b"y", mode=0o7777), END[:512]))
    info = (arena.target / name).stat()
    assert (stat.S_IMODE(info.st_mode), info.st_mtime_ns) == (0o7777, 1_500_000_000)
