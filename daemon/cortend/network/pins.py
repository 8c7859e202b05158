"""Network namespaces by name: files below one directory, each with a namespace mounted on it.

    <directory>/<name>     bind mount of nsfs

The directory is the daemon's own, so whatever is in it and not wanted any more can be removed.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from corten_shared.errors import InvalidArgument, Unavailable
from cortend.linux.netns import pin_netns, run_in_new_netns, set_interface_up, unpin_netns
from cortend.network import sysctls

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z")


class NamespacePins:
    """The pinned namespaces of one daemon."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, name: str) -> str:
        """Where `create(name)` pins; raises InvalidArgument for a name that is not one plain file's."""
        if not _NAME.match(name):
            raise InvalidArgument(f"invalid network namespace name {name[:60]!r}")
        return str(self.directory / name)

    def create(self, name: str) -> str:
        """A new namespace with `lo` up; what an earlier crash left under the name is replaced."""
        path = self.path(name)
        self.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        unpin_netns(path)

        def prepare() -> None:
            sysctls.write(sysctls.CONTAINER)
            set_interface_up("lo")
            pin_netns(path)

        try:
            run_in_new_netns(prepare)
        except OSError as error:
            raise Unavailable(
                f"cannot create a network namespace: {error}",
                hint="cortend needs root, a kernel with CONFIG_NET_NS, and room below user.max_net_namespaces",
                subject=name,
            ) from error
        return path

    def delete(self, path: str) -> None:
        """Unpin the namespace at `path`, which must be one of ours; missing is fine."""
        if Path(path).parent != self.directory or not _NAME.match(Path(path).name):
            raise InvalidArgument(f"not a network namespace of this daemon: {path[:200]!r}", subject=path)
        unpin_netns(path)

    def sweep(self, keep: Collection[str]) -> list[str]:
        """Unpin every namespace whose path is not in `keep`; the paths removed."""
        if not self.directory.is_dir():
            return []
        stale = [path for entry in sorted(self.directory.iterdir()) if (path := str(entry)) not in keep]
        return [path for path in stale if unpin_netns(path)]
