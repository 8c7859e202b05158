"""What the engine is made of: parts that could be others, and why one is not there."""

from __future__ import annotations

import shutil

from corten_shared.models.api import PluginInfo
from cortend.core.runtime import RuntimeInfo
from cortend.services.all import Services

_SNAPSHOTTERS = {
    "overlayfs": "the kernel has no overlayfs that works on the daemon's root",
    "native": "it was left out",
    "erofs": "mkfs.erofs is not installed (package erofs-utils), or the kernel has no erofs",
}
"""Every snapshotter there could be, and what its absence means."""


def plugins(services: Services) -> list[PluginInfo]:
    """Every part; cheap, but it may look for programs."""
    default = services.snapshots.named("").name
    here = services.snapshots.names()
    found = [PluginInfo(type="content", id="local", status="ok", default=True)]
    for name in sorted({*here, *_SNAPSHOTTERS}):
        reason = "" if name in here else _SNAPSHOTTERS[name]
        found.append(
            PluginInfo(
                type="snapshotter", id=name, status="skip" if reason else "ok", default=name == default, reason=reason
            )
        )
    found.append(PluginInfo(type="differ", id="walking", status="ok", default=True))
    runtimes = services.runtime.runtimes()
    chosen = next((runtime.name for runtime in runtimes if runtime.usable), "")
    found += [_runtime(runtime, chosen) for runtime in runtimes]
    known = {runtime.name for runtime in runtimes}
    found += [_absent(name) for name in ("crun", "runc") if name not in known]
    found.append(PluginInfo(type="network", id="bridge", status="ok", default=True))
    return found


def _runtime(runtime: RuntimeInfo, chosen: str) -> PluginInfo:
    return PluginInfo(
        type="runtime", id=runtime.name, status="ok" if runtime.usable else "error", default=runtime.name == chosen,
        version=runtime.version, path=runtime.path, reason="" if runtime.usable else runtime.reason,
    )  # fmt: skip


def _absent(name: str) -> PluginInfo:
    reason = f"it is installed ({path}) but not configured" if (path := shutil.which(name)) else "it is not installed"
    return PluginInfo(type="runtime", id=name, status="skip", reason=reason)
