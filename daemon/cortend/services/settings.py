"""What the services need to know of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cortend.services.log_options import LogDefaults


@dataclass(frozen=True, slots=True)
class ContainerSettings:
    """Paths and defaults for containers. `data` is `<root>/containers`; times in seconds; `dns` replaces the
    host's resolvers where it is not empty; `log` holds for containers that ask for nothing else."""

    data: Path
    snapshotter: str = "overlayfs"
    stop_timeout: int = 10
    dns: tuple[str, ...] = ()
    init_path: str = ""
    log: LogDefaults = LogDefaults()  # noqa: RUF009 - an immutable tuple

    def directory(self, ns: str, container_id: str) -> Path:
        """Where a container keeps what is not in its snapshot: host files and logs."""
        return self.data / ns / container_id

    def logs(self, ns: str, container_id: str) -> Path:
        """The directory of a container's log files."""
        return self.directory(ns, container_id) / "log"
