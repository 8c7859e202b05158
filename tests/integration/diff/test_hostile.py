"""Layers that try to leave the target, to hide lower files, or to eat the machine.

Each is refused with one clear line, or loads without touching anything outside: the arena checks that every time.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archives import archive, device, directory, file, hard_link, header, link, member, pax
from corten_shared.errors import CLASSES, CortenError, DataLoss, DeadlineExceeded, InvalidArgument, ResourceExhausted
from cortend.diff.apply import ChildApplier
from cortend.diff.limits import Limits

UP = "../outside/"
MANY_UP = "../" * 40
SET_ID = {"mode": 0o6777, "uid": 1234, "gid": 1234}

# name -> (members, words of the refusal or None when it loads, what then is in the target)
LAYERS: dict[str, tuple[list[bytes], str | None, set[str] | None]] = {
    "file above the root": ([file(UP + "file", b"x")], "leads out of the root", None),
    "file far above": ([file(MANY_UP + "etc/corten-test", b"x")], "leads out", None),
    "directory above the root": ([directory(UP + "dir", mode=0o777)], "leads out", None),
    "dots inside, then out": ([file("a/../../outside/file", b"x")], "leads out", None),
    "absolute, then out": ([file("/../outside/file", b"x")], "leads out", None),
    "dots inside": ([file("a/b/../c", b"x")], None, {"a", "a/c"}),
    "absolute names": ([directory("/d"), file("///d//./f", b"x")], None, {"d", "d/f"}),
    "through a link up": ([link("l", "../outside"), file("l/file", b"x")], "below 'l'", None),
    "through an absolute link": ([link("l", "@outside"), file("l/file", b"x")], "below 'l'", None),
    "through a link to /": ([link("l", "/"), file("l/f", b"x")], None, {"l", "f"}),
    "through a link that leads above": (
        [link("l", MANY_UP), directory("d"), file("l/d/f", b"x")], None, {"l", "d", "d/f"},
    ),
    "through a chain of links": (
        [directory("d"), link("d/a", ".."), link("b", "d/a"), link("c", "b/../.."), file("c/f", b"x")],
        None, {"d", "d/a", "b", "c", "f"},
    ),
    "directory swapped for a link": (
        [directory("d"), file("d/f", b"1"), link("d", "../outside"), file("d/f", b"2")], "below 'd'", None,
    ),
    "link over a link": ([link("l", "@outside/file"), link("l", "@outside")], None, {"l"}),
    "file over a link": ([link("l", "@outside/file"), file("l", b"x", **SET_ID)], None, {"l"}),
    "directory over a link": ([link("l", "@outside/dir"), directory("l", **SET_ID)], None, {"l"}),
    "device over a link": ([link("l", "@outside/file"), device("l", 1, 3)], None, {"l"}),
    "looping link": ([link("l", "l"), file("l/f", b"x")], "symbolic links", None),
    "link to nothing": ([link("l", "")], "link to nothing", None),
    "hard link above the root": ([hard_link("h", UP + "file")], "leads out", None),
    "hard link to an absolute name": ([hard_link("h", "@outside/file")], "hard link to", None),
    "hard link through a link": ([link("l", "../outside"), hard_link("h", "l/file")], "hard link to", None),
    "hard link to a link out, with a mode": (
        [link("l", "@outside/file"), hard_link("h", "l", **SET_ID)], None, {"l", "h"},
    ),
    "hard link to a link, then a file over it": (
        [link("l", "@outside/file"), hard_link("h", "l"), file("h", b"x", **SET_ID)], None, {"l", "h"},
    ),
    "hard link to a directory": ([directory("d"), hard_link("h", "d")], "the directory 'd'", None),
    "hard link to the root": ([hard_link("h", "/")], "the directory '/'", None),
    "hard link to itself": ([file("f", b"x"), hard_link("f", "f")], None, {"f"}),
    "hard link to its own parent's file": ([file("d/f", b"x"), hard_link("d", "d/f")], "", None),
    "hard link to nothing": ([hard_link("h", "missing")], "does not have", None),
    "root as a file": ([file("/", b"x")], "replace the root", None),
    "root as a link": ([link("./", "/etc")], "replace the root", None),
    "root as a hard link": ([file("f"), hard_link(".", "f")], "replace the root", None),
    "empty name": ([file("", b"x")], "replace the root", None),
    "whiteout of nothing": ([file(".wh.")], "malformed whiteout", None),
    "whiteout of .": ([file("d/.wh..")], "malformed whiteout", None),
    "whiteout of ..": ([file(".wh...")], "malformed whiteout", None),
    "whiteout above the root": ([file(UP + ".wh.file")], "leads out", None),
    "whiteout through a link inside": ([directory("d"), link("l", "d"), file("l/.wh.file")], None, None),
    "opaque through a link": ([link("l", "@outside"), file("l/.wh..wh..opq")], "below 'l'", None),
    "below a whiteout": ([file(".wh.d/f")], "below a whiteout", None),
    "aufs bookkeeping": (
        [directory(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", b"x"), file(".wh..wh.aufs")], None, set(),
    ),
    "smuggled whiteout": ([device("hidden", 0, 0)], "0:0", None),
    "smuggled overlay attributes": (
        [pax({"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.overlay.opaque": "y",
              "LIBARCHIVE.xattr.trusted.overlay.redirect": "L2V0Yw"}), directory("d")],
        None, {"d"},
    ),
    "impossible device": ([member("n", b"3", major=-1, minor=1)], "impossible device", None),
    "device": (
        [device("null", 1, 3), device("disk", 7, 0, b"4"), member("pipe", b"6")], None, {"null", "disk", "pipe"},
    ),
    "component over NAME_MAX": ([pax({"path": "a" * 300}), file("x")], "too long", None),
    "name over PATH_MAX": ([pax({"path": "a/" * 3000}), file("x")], "a name of", None),
    "deep tree": ([pax({"path": "a/" * 2000 + "f"}), file("x", b"x")], None, None),
    "names no terminal likes": ([file(b"\xff\xfe\n\x1b]0;x\x07", b"x"), file(b"-rf")], None, None),
    "file with children": ([file("f"), file("f/g", b"x")], "below 'f'", None),
    "type of tomorrow": ([member("x", b"Z")], "unknown type", None),
    "nothing at all": ([], None, set()),
}  # fmt: skip


@pytest.mark.parametrize("overlay", [False, True], ids=["native", "overlay"])
@pytest.mark.parametrize("case", LAYERS)
def test_hostile_layers_stay_inside(arena: Any, case: str, overlay: bool) -> None:
    members, words, tree = LAYERS[case]
    here = bytes(arena.outside)[:-7]
    data = archive(*(_with_outside(block, here) for block in members))
    try:
        arena.apply(data, overlay=overlay)
    except CortenError as error:
        assert words is not None, error.message
        assert re.search(words, error.message)
        assert error.code in ("invalid_argument", "data_loss", "resource_exhausted")
        assert "\n" not in error.message and error.message.isprintable()
    else:
        if tree is not None:
            assert arena.tree() == tree
        assert words is None


def _with_outside(block: bytes, here: bytes) -> bytes:
    """Absolute links are written `@outside/…`: make them real."""
    if block[157:158] != b"@":
        return block
    target = here + block[158:257].rstrip(b"\0")
    extended = pax({"linkpath": target})
    return extended + block


def test_a_refusal_names_the_entry(arena: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"^layer entry 'd/\.wh\.\.\.': is a malformed whiteout$"):
        arena.apply(archive(directory("d"), file("d/.wh...")))


def test_overlay_attributes_are_left_out_and_others_kept(arena: Any) -> None:
    records = {
        "SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.trusted.other": "y", "SCHILY.xattr.security.ima": "y", "SCHILY.xattr.user.kept": b"v\0w",
    }  # fmt: skip
    for overlay in (False, True):
        extended = pax(records)
        arena.apply(archive(extended, directory("d"), extended, file("f"), extended, link("l", "f")), overlay=overlay)
        for name in "df":
            assert os.listxattr(arena.target / name) == ["user.kept"]
            assert os.getxattr(arena.target / name, "user.kept") == b"v\0w"


def test_a_hard_linked_link_never_passes_its_mode_on(arena: Any) -> None:
    """CVE-2021-32760; inside the target, too."""
    arena.apply(archive(file("f", mode=0o600), link("l", "f"), hard_link("h", "l", mode=0o6777, uid=5)))
    assert stat.S_IMODE((arena.target / "f").stat().st_mode) == 0o600
    assert (arena.target / "f").stat().st_uid == 0


def test_layers_are_bounded(arena: Any) -> None:
    small = {"data": 100_000, "entries": 50}
    with pytest.raises(ResourceExhausted, match="more than 50 entries"):
        arena.apply(archive(*(file(f"f{index}") for index in range(60))), limits=Limits(**small))
    with pytest.raises(ResourceExhausted, match="larger than 100000 bytes"):
        arena.apply(archive(file("f", bytes(200_000))), limits=Limits(data=100_000))
    sparse = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 50)}
    with pytest.raises(ResourceExhausted, match="a file of"):
        arena.apply(archive(pax(sparse), file("f", b"x")))
    with pytest.raises(ResourceExhausted, match="expands more than 10 times"):
        bomb = gzip.compress(archive(file("f", bytes(3_000_000))))
        arena.apply(bomb, compression="gzip", limits=Limits(ratio=10, ratio_floor=1_000_000))


def test_bombs_do_not_take_memory(arena: Any) -> None:
    """The child may have 256 MiB, so half a GiB out of half a MiB must come in pieces."""
    limits = Limits(memory=256 << 20, data=600 << 20)
    zeros = bytes(512 << 20)
    with pytest.raises(ResourceExhausted, match="extended header"):
        arena.apply(gzip.compress(member("p", b"x", zeros), 1), compression="gzip", limits=limits)
    packed = zstandard.ZstdCompressor(write_content_size=False).compress(header("p", b"g", size=1 << 29) + zeros)
    with pytest.raises(ResourceExhausted, match="extended header"):
        arena.apply(packed, compression="zstd", limits=limits)


def test_a_full_disk_names_the_entry(arena: Any) -> None:
    from cortend.linux.mount import MS_NODEV, mount, umount

    mount("tmpfs", str(arena.target), "tmpfs", MS_NODEV, "size=1m,nr_inodes=50")
    try:
        with pytest.raises(ResourceExhausted, match=r"^layer entry 'big': No space left") as caught:
            arena.apply(archive(file("small", b"x"), file("big", bytes(2_000_000))))
        assert caught.value.hint
        with pytest.raises(ResourceExhausted, match="No space left"):
            arena.apply(archive(*(file(f"f{index}") for index in range(100))))
    finally:
        umount(str(arena.target))


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_damaged_streams_are_data_loss(arena: Any, compression: str) -> None:
    data = archive(file("f", os.urandom(100_000)))
    whole = gzip.compress(data) if compression == "gzip" else _zstd(data)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for broken in (whole[:-1], whole[: len(whole) // 2], bytes(flipped), b"not it" * 9, b"", whole + b"trailing"):
        with pytest.raises(DataLoss):
            arena.apply(broken, compression=compression)


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def test_a_cut_archive_is_data_loss(arena: Any) -> None:
    with pytest.raises(DataLoss, match="ends in the middle"):
        arena.apply(archive(file("f", bytes(10_000)))[:5000])


def test_unpacking_ends_at_its_deadline(arena: Any) -> None:
    with pytest.raises(DeadlineExceeded, match="longer than 0 seconds"):
        arena.apply(archive(file("f")), limits=Limits(seconds=0))


def test_cancelling_kills_the_child(arena: Any, tmp_path: Path) -> None:
    """The layer is a fifo that never says more, so only the cancellation can end it."""
    fifo = tmp_path / "layer"
    os.mkfifo(fifo)
    keep = os.open(fifo, os.O_RDWR)

    async def run() -> None:
        with os.fdopen(os.open(fifo, os.O_RDONLY), "rb") as layer:
            work = asyncio.ensure_future(ChildApplier().apply(layer, "none", arena.mounts()))
            os.write(keep, file("f", b"x") * 2)
            while "f" not in arena.tree() and not work.done():  # noqa: ASYNC110 - another process makes the file
                await asyncio.sleep(0.01)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work

    try:
        asyncio.run(run())
    finally:
        os.close(keep)
    me = str(os.getpid())
    children = Path(f"/proc/{me}/task/{me}/children").read_text().split()
    for child in children:
        assert b"cortend.diff.unpack" not in Path(f"/proc/{child}/cmdline").read_bytes()


def test_every_code_of_the_child_is_a_class() -> None:
    assert {"invalid_argument", "data_loss", "resource_exhausted", "internal"} <= CLASSES.keys()


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_layers_never_write_outside_nor_break_the_child(arena: Any, data: st.DataObject) -> None:
    """Names, links and types shuffled between members: it loads or is refused, and never as an internal error."""
    names = st.sampled_from(
        ["a", "a/b", "a/b/c", "l", "l/x", "../outside/file", "/", ".wh.a", "a/.wh..wh..opq", "a/../l", "."]
    )
    targets = st.sampled_from(["a", "l", "..", "/", "../outside", "../../../../etc", "a/b", "/a"])
    kinds = st.sampled_from([b"0", b"1", b"2", b"3", b"5", b"6"])
    blocks = []
    for _ in range(data.draw(st.integers(1, 8))):
        kind = data.draw(kinds)
        content = b"x" if kind == b"0" else b""
        blocks.append(member(data.draw(names), kind, content, target=data.draw(targets), mode=0o777, major=1, minor=3))
    try:
        arena.apply(archive(*blocks), overlay=data.draw(st.booleans()))
    except (InvalidArgument, DataLoss, ResourceExhausted) as error:
        assert error.message.isprintable()
