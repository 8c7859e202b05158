"""Which OCI runtimes work on this host: each makes a tiny container once, which is not started.

A version says little: crun 1.8 refuses hybrid control groups, a runtime may miss a library or a capability.
So each one makes namespaces, mounts and a control group for real; the answer is kept under the state root
for this program file, this boot and this layout of controllers.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corten_shared.errors import CortenError
from cortend.core.runtime import RuntimeInfo
from cortend.linux.process import boot_id
from cortend.runtime import process
from cortend.runtime.cgroups import Cgroups
from cortend.runtime.oci import OciRuntime, last_error

log = logging.getLogger(__name__)

_FIXED = {"runc": (1, 1, 12), "crun": (1, 14, 3)}
"""First versions without the known escapes; distributions patch older ones without changing the number."""


async def probe_all(candidates: Mapping[str, str], *, state: Path, cgroups: Cgroups, parent: str) -> list[RuntimeInfo]:
    """What became of each candidate (name to path or program name), in their order. Never raises for one
    that fails."""
    cache = state / "runtimes.json"
    known = _load(cache)
    found, kept = [], {}
    for name, program in candidates.items():
        path = shutil.which(program, path=process.ENVIRONMENT["PATH"])
        if path is None:
            found.append(RuntimeInfo(name, program, "", False, f"{program} is not installed"))
            continue
        stamp = _stamp(path, cgroups)
        info = RuntimeInfo(*known[stamp]) if stamp in known else await _probe(name, path, state, cgroups, parent)
        kept[stamp] = list(info._replace(name=name))
        found.append(info._replace(name=name))
        _warn_if_old(info)
    cache.write_text(json.dumps(kept))
    return found


def _stamp(path: str, cgroups: Cgroups) -> str:
    status = Path(path).stat()
    return f"{path} {status.st_mtime_ns} {status.st_size} {boot_id()} {cgroups.fingerprint()}"


def _load(cache: Path) -> dict[str, list[Any]]:
    try:
        known = json.loads(cache.read_text())
    except (OSError, ValueError):
        return {}
    fields = len(RuntimeInfo._fields)
    return {key: value for key, value in known.items() if isinstance(value, list) and len(value) == fields}


async def _probe(name: str, path: str, state: Path, cgroups: Cgroups, parent: str) -> RuntimeInfo:
    runtime = OciRuntime(name, path, state / "probe" / name)
    try:
        version = await runtime.version()
        reason = await _try(runtime, state, cgroups, parent)
    except CortenError as error:
        version, reason = "", error.message
    return RuntimeInfo(name, path, version, not reason, reason)


async def _try(runtime: OciRuntime, state: Path, cgroups: Cgroups, parent: str) -> str:
    """Make a container and remove it; why it could not be made, else empty."""
    id = f"probe-{os.getpid()}-{secrets.token_hex(4)}"
    group = f"{parent}/{id}"
    with tempfile.TemporaryDirectory(prefix="probe-", dir=state) as directory:
        bundle = Path(directory)
        _write_bundle(bundle, group)
        errors = bundle / "log"
        argv = [runtime.path, *runtime.global_args(errors), "create", "--bundle", directory, id]
        try:
            result = await process.run(argv, timeout=10, capture=False)
            if result.code == 0:
                return ""
            return last_error(_read(errors)) or f"it ended with code {result.code}"
        finally:
            try:
                await runtime.delete(id)
            except CortenError as error:
                log.warning("the probe of %s cannot be removed: %s", runtime.name, error)
            cgroups.remove(group)
            shutil.rmtree(runtime.root, ignore_errors=True)


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _write_bundle(bundle: Path, group: str) -> None:
    root = bundle / "rootfs"
    for name in ("dev", "proc", "sys"):
        (root / name).mkdir(parents=True)
    (root / "init").touch(mode=0o755)  # looked up by the runtime, never run
    config = {
        "ociVersion": "1.0.2",
        "process": {"args": ["/init"], "cwd": "/", "env": [], "user": {"uid": 0, "gid": 0}},
        "root": {"path": str(root), "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        ],
        "linux": {
            "cgroupsPath": group,
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network", "cgroup")],
            "resources": {"pids": {"limit": 8}},
        },
    }
    (bundle / "config.json").write_text(json.dumps(config))


def _warn_if_old(info: RuntimeInfo) -> None:
    numbers = tuple(int(part) for part in re.findall(r"\d+", info.version.split("+")[0])[:3])
    fixed = _FIXED.get(Path(info.path).name)
    if info.usable and fixed and numbers and numbers < fixed:
        log.warning(
            "%s %s is older than %s: make sure that your distribution patches it",
            info.path, info.version, ".".join(map(str, fixed)),
        )  # fmt: skip
