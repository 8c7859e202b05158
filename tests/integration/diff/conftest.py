"""A target with a world around it that no layer may change."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corten_shared.models.snapshot import Mount
from cortend.core.diff import Applied
from cortend.core.snapshots import OVERLAY_MARKS
from cortend.diff.apply import ChildApplier
from cortend.diff.limits import Limits
from cortend.linux.files import remove_tree

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.root)


class Arena:
    """`outside/` holds what is not the layer's; `target/` is unpacked into."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.outside = base / "outside"
        self.target = base / "target"
        self.outside.mkdir()
        self.target.mkdir()
        (self.outside / "file").write_bytes(b"precious")
        (self.outside / "file").chmod(0o600)
        (self.outside / "dir").mkdir()
        (self.outside / "dir" / "inner").write_bytes(b"inner")

    def world(self) -> dict[str, tuple[object, ...]]:
        """Everything below `base` but the target's content."""
        found: dict[str, tuple[object, ...]] = {}
        for root, directories, files in os.walk(self.base):
            if Path(root) == self.base:
                directories.remove("target")
            for name in [*directories, *files, "."]:
                path = Path(root) / name
                info = path.lstat()
                content = hashlib.sha256(path.read_bytes()).digest() if stat.S_ISREG(info.st_mode) else b""
                found[str(path)] = (info.st_mode, info.st_uid, info.st_gid, info.st_nlink, content,
                                    info.st_mtime_ns, os.listxattr(path, follow_symlinks=False))  # fmt: skip
        return found

    def apply(
        self, data: bytes, *, overlay: bool = False, compression: str = "none", limits: Limits | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Applied:  # fmt: skip
        """Unpack `data`; whatever comes of it, nothing outside has changed."""
        layer = self.base.parent / f"{self.base.name}-layer"
        layer.write_bytes(data)
        before = self.world()
        try:
            with layer.open("rb") as file:
                work = ChildApplier(limits).apply(file, compression, self.mounts(overlay), progress=progress)
                return asyncio.run(work)
        finally:
            layer.unlink()
            assert self.world() == before

    def mounts(self, overlay: bool = False) -> list[Mount]:
        options = ["rw", "rbind", OVERLAY_MARKS] if overlay else ["rw", "rbind"]
        return [Mount(type="bind", source=str(self.target), options=options)]

    def tree(self) -> set[str]:
        """What is in the target."""
        return {
            os.path.relpath(Path(root) / name, self.target)
            for root, directories, files in os.walk(self.target)
            for name in [*directories, *files]
        }


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    base = tmp_path / "arena"
    base.mkdir()
    yield Arena(base)
    remove_tree(str(base))  # some trees are too deep for pytest's own cleaning
