"""A layer in an EROFS image is the layer that the other way makes of files: same tree, or refused alike."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archives import archive, directory, file, hard_link, member, pax
from corten_shared.errors import CortenError, ResourceExhausted
from corten_shared.models.snapshot import Mount
from cortend.core.snapshots import LAYER_IMAGE, OVERLAY_MARKS
from cortend.diff.apply import ChildApplier
from cortend.diff.limits import Limits
from cortend.linux.mount import MS_RDONLY, mount, unmount_all
from trees import facts

from .test_hostile import LAYERS
from .test_layers import LOWER, UPPER, source

__all__ = ["source"]


class Pair:
    """Two ways of keeping one layer."""

    def __init__(self, arena: Any, base: Path) -> None:
        self.arena = arena
        self.image = base / "image.erofs"
        self.empty = base / "empty"
        self.shown = base / "shown"
        self.empty.mkdir()
        self.shown.mkdir()

    def outcome(self, data: bytes, *, marks: bool = True, limits: Limits | None = None) -> tuple[str, object]:
        """(`refused`, code) or (`tree`, facts) of the image; the image is whole by fsck.erofs."""
        layer = self.image.with_name("layer")
        layer.write_bytes(data)
        options = ["rw", "rbind", *([OVERLAY_MARKS] if marks else []), f"{LAYER_IMAGE}{self.image}"]
        mounts = [Mount(type="bind", source=str(self.empty), options=options)]
        before = self.arena.world()
        try:
            with layer.open("rb") as opened:
                asyncio.run(ChildApplier(limits).apply(opened, "none", mounts))
        except CortenError as error:
            assert error.message.isprintable()
            return "refused", error.code
        finally:
            assert self.arena.world() == before
            assert os.listdir(self.empty) == []
        checked = subprocess.run(["fsck.erofs", self.image], capture_output=True, timeout=60)
        assert checked.returncode == 0, checked.stderr
        with self.mounted():
            return "tree", _facts(self.shown)

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        mount(str(self.image), str(self.shown), "erofs", MS_RDONLY)
        try:
            yield self.shown
        finally:
            unmount_all(self.shown)

    def other(self, data: bytes, *, marks: bool = True) -> tuple[str, object]:
        """The same of files."""
        try:
            self.arena.apply(data, overlay=marks)
        except CortenError as error:
            return "refused", error.code
        return "tree", _facts(self.arena.target)


def _facts(top: Path) -> dict[str, tuple[object, ...]]:
    """Without the times that no archive gave: of directories that it does not list, and of marks."""
    found = facts(top)
    for name, (*others, mtime, content, same, attributes) in list(found.items()):
        path = top / name
        given = None if mtime == 0 or time.time() - path.lstat().st_mtime < 3600 else mtime
        found[name] = (*others, given, content, same, attributes)
    return found


@pytest.fixture
def pair(arena: Any, tmp_path: Path) -> Pair:
    return Pair(arena, tmp_path)


@pytest.mark.parametrize("case", LAYERS)
def test_hostile_layers(pair: Pair, case: str) -> None:
    if case == "deep tree":
        pytest.skip("too deep to compare by path")
    members, _, _ = LAYERS[case]
    data = archive(*members)
    assert pair.outcome(data) == pair.other(data)


@pytest.mark.parametrize("case", UPPER)
def test_whiteouts(pair: Pair, case: str) -> None:
    """As overlayfs's marks, the very same as in directories."""
    data = archive(*UPPER[case][0])
    assert pair.outcome(data) == pair.other(data)


def test_the_lowest_layer_has_no_marks(pair: Pair) -> None:
    data = archive(*LOWER, file(".wh.never"), file("etc/.wh.keep"), file("opt/.wh..wh..opq"), file(".wh..wh..opq"))
    assert pair.outcome(data, marks=False) == pair.other(data, marks=False)


@pytest.mark.parametrize(
    "options", [["--format=gnu", "--sparse"], ["--format=pax", "--xattrs", "--sparse"]], ids=" ".join
)
def test_everything_that_gnu_tar_packs(pair: Pair, source: Path, options: list[str]) -> None:
    packed = subprocess.run(["tar", "-C", source, "-c", *options, "."], capture_output=True, check=True).stdout
    assert pair.outcome(packed) == pair.other(packed)


def test_attributes_of_overlayfs_are_left_out_and_others_kept(pair: Pair) -> None:
    capability = b"\1\0\0\2\0\x20\0\0" + bytes(12)
    records = {
        "SCHILY.xattr.security.capability": capability, "SCHILY.xattr.user.note": b"v" * 3000,
        "SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.security.selinux": "other",
    }  # fmt: skip
    kind, found = pair.outcome(archive(pax(records), file("f", b"x" * 2000), pax(records), directory("d")))
    assert kind == "tree"
    for name in ("f", "d"):
        assert found[name][-1] == {"security.capability": capability, "user.note": b"v" * 3000}  # type: ignore[index]


def test_a_hard_links_header_counts_as_on_disk(pair: Pair) -> None:
    data = archive(file("f", b"x", mode=0o600), hard_link("h", "f", mode=0o4755, uid=7, gid=8))
    assert pair.outcome(data) == pair.other(data)


def test_a_full_disk_is_told(pair: Pair, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount("tmpfs", str(small), "tmpfs", 0, "size=1m")
    try:
        pair.image = small / "image.erofs"
        layer = tmp_path / "layer"
        layer.write_bytes(archive(file("f", bytes(3_000_000))))
        options = ["rw", "rbind", f"{LAYER_IMAGE}{pair.image}"]
        with layer.open("rb") as opened, pytest.raises(ResourceExhausted, match=r"'f'.*No space"):
            mounts = [Mount(type="bind", source=str(pair.empty), options=options)]
            asyncio.run(ChildApplier().apply(opened, "none", mounts))
    finally:
        unmount_all(small)


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_layers(pair: Pair, data: st.DataObject) -> None:
    names = st.sampled_from(
        ["a", "a/b", "a/b/c", "l", "l/x", "../outside/file", "/", ".wh.a", "a/.wh..wh..opq", "a/.wh.b", "a/../l", "."]
    )
    targets = st.sampled_from(["a", "l", "..", "/", "../outside", "../../../../etc", "a/b", "/a"])
    kinds = st.sampled_from([b"0", b"1", b"2", b"3", b"5", b"6"])
    blocks = []
    for _ in range(data.draw(st.integers(1, 8))):
        kind = data.draw(kinds)
        content = b"x" if kind == b"0" else b""
        blocks.append(member(data.draw(names), kind, content, target=data.draw(targets), mode=0o777, major=1, minor=3))
    layer = archive(*blocks)
    subprocess.run(["rm", "-rf", pair.arena.target], check=True)
    pair.arena.target.mkdir()
    assert pair.outcome(layer) == pair.other(layer)
