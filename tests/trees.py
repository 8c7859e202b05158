"""What is known of a file tree: two trees are the same when their facts are."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path


def facts(top: Path) -> dict[str, tuple[object, ...]]:
    """Everything about every file below `top`; inode numbers become the first name that has them."""
    first: dict[int, str] = {}
    found: dict[str, tuple[object, ...]] = {}
    for root, directories, files in os.walk(top):
        for name in sorted([*directories, *files, "."]):
            path = Path(root) / name
            relative = os.path.relpath(path, top)
            info = path.lstat()
            content: object = None
            if stat.S_ISREG(info.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            elif stat.S_ISLNK(info.st_mode):
                content = path.readlink()
            same = first.setdefault(info.st_ino, relative) if info.st_nlink > 1 and not path.is_dir() else relative
            attributes = {key: os.getxattr(path, key, follow_symlinks=False)
                          for key in os.listxattr(path, follow_symlinks=False)}  # fmt: skip
            found[relative] = (info.st_mode, info.st_uid, info.st_gid, info.st_rdev, info.st_mtime_ns,
                               content, same, attributes)  # fmt: skip
    return found
