"""Seccomp profiles: docker's format, with its conditions, resolved to OCI `linux.seccomp` for one container.

A profile lists system calls with an action; `includes` and `excludes` say for which capabilities,
architectures and kernels an entry holds. The default profile is the data file beside this module: everything
is refused (EPERM) but what is listed.

Unlike docker's it does not know x32, whose calls are then killed: nobody ships programs for it, Debian's kernel
switches it off, and compiling the filter for a third architecture costs every start and exec 5 to 20 ms (two
noisy cores).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from functools import cache
from importlib import resources
from typing import Any

from corten_shared.errors import InvalidArgument

MAX_PROFILE = 1 << 20
"""Bytes of a profile that a client may send."""

_MACHINES = {
    "x86_64": ("amd64", "X86_64"),
    "aarch64": ("arm64", "AARCH64"),
    "riscv64": ("riscv64", "RISCV64"),
    "s390x": ("s390x", "S390X"),
    "ppc64le": ("ppc64le", "PPC64LE"),
    "loongarch64": ("loong64", "LOONGARCH64"),
    "mips64": ("mips64", "MIPS64"),
}


def default_profile() -> dict[str, Any]:
    """The default profile (do not change it)."""
    return _load_default()


@cache
def _load_default() -> dict[str, Any]:
    text = resources.files("cortend.core").joinpath("data/seccomp.json").read_text()
    profile: dict[str, Any] = json.loads(text)
    return profile


def parse_profile(text: str) -> dict[str, Any]:
    """A profile that a client sent as JSON; raises InvalidArgument."""
    if len(text) > MAX_PROFILE:
        raise InvalidArgument("seccomp profile is larger than 1 MiB")
    try:
        profile = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"Decoding seccomp profile failed: {str(error)[:200]}") from error
    if not isinstance(profile, dict) or not isinstance(profile.get("defaultAction"), str):
        raise InvalidArgument(
            "seccomp profile has no defaultAction", hint="see docker's default.json for the format"
        )
    if profile.get("architectures") and profile.get("archMap"):
        raise InvalidArgument(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, use either"
        )
    return profile


def resolve(
    profile: Mapping[str, Any], *, capabilities: Collection[str], machine: str, kernel: tuple[int, int]
) -> dict[str, Any]:
    """OCI `linux.seccomp` for a container with these (bounding) capabilities on this machine.

    `machine` and `kernel` are as uname says. Raises InvalidArgument for a malformed profile.
    """
    arch, native = _MACHINES.get(machine, (machine, machine.upper()))
    try:
        entries = [
            _entry(entry)
            for entry in profile.get("syscalls") or []
            if _applies(entry, capabilities, arch, kernel)
        ]
        architectures = profile.get("architectures") or _architectures(profile, f"SCMP_ARCH_{native}")
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InvalidArgument(f"malformed seccomp profile: {error!r}"[:200]) from error
    result: dict[str, Any] = {"defaultAction": profile["defaultAction"]}
    for key in ("defaultErrnoRet", "flags", "listenerPath", "listenerMetadata"):
        if profile.get(key) is not None:
            result[key] = profile[key]
    result["architectures"] = architectures
    # Runtimes refuse an entry without names, and an empty list of entries is the same as none.
    result["syscalls"] = [entry for entry in entries if entry["names"]]
    return result


def _applies(entry: Mapping[str, Any], caps: Collection[str], arch: str, kernel: tuple[int, int]) -> bool:
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
    if includes.get("arches") and arch not in includes["arches"]:
        return False
    if any(cap not in caps for cap in includes.get("caps") or []):
        return False
    if includes.get("minKernel") and kernel < _version(includes["minKernel"]):
        return False
    if arch in (excludes.get("arches") or []):
        return False
    if any(cap in caps for cap in excludes.get("caps") or []):
        return False
    return not (excludes.get("minKernel") and kernel >= _version(excludes["minKernel"]))


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    names = list(entry.get("names") or [])
    if entry.get("name"):
        names.append(entry["name"])
    if not all(isinstance(name, str) for name in names):
        raise ValueError("a system call's name is not text")
    result: dict[str, Any] = {"names": names, "action": entry["action"]}
    if entry.get("errnoRet") is not None:
        result["errnoRet"] = int(entry["errnoRet"])
    if args := entry.get("args"):
        result["args"] = [
            {
                "index": int(arg["index"]),
                "value": int(arg["value"]),
                "valueTwo": int(arg.get("valueTwo") or 0),
                "op": str(arg["op"]),
            }
            for arg in args
        ]
    return result


def _architectures(profile: Mapping[str, Any], native: str) -> list[str]:
    for entry in profile.get("archMap") or []:
        if entry["architecture"] == native:
            return [native, *(entry.get("subArchitectures") or [])]
    return []


def _version(text: str) -> tuple[int, int]:
    major, _, minor = str(text).partition(".")
    return int(major), int(minor.partition(".")[0] or 0)
