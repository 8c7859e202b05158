"""Mounts of a new container: `--mount`, `-v`, `--tmpfs`."""

from __future__ import annotations

import os

from corten import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_BARE_KEYS = ("readonly", "ro", "volume-nocopy", "bind-nonrecursive")
_RECURSIVE = ("enabled", "disabled", "writable", "readonly")


def parse_mount(text: str) -> dict[str, Any]:
    """`type=bind,source=/a,target=/b,readonly` as the API's Mount object; raises ValueError."""
    mount: dict[str, Any] = {"Type": "volume"}
    sections: dict[str, dict[str, Any]] = {}
    for field in values.csv_fields(text):
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        if not equals:
            if key not in _BARE_KEYS:
                raise ValueError(f"invalid field '{field}' must be a key=value pair")
            value = "true"
        _apply(mount, sections, key, value, field)
    _check(mount, sections)
    return _ordered(mount, sections)


def _apply(
    mount: dict[str, Any], sections: dict[str, dict[str, Any]], key: str, value: str, field: str
) -> None:
    def section(name: str) -> dict[str, Any]:
        if name == "Volume":
            return sections.setdefault(name, {"DriverConfig": {}})
        return sections.setdefault(name, {})

    if key == "type":
        mount["Type"] = value.lower()
    elif key in ("source", "src"):
        mount["Source"] = _local_path(value)
    elif key in ("target", "dst", "destination"):
        mount["Target"] = value
    elif key in ("readonly", "ro"):
        mount["ReadOnly"] = _flag(key, value)
    elif key == "consistency":
        mount["Consistency"] = value.lower()
    elif key == "bind-propagation":
        section("Bind")["Propagation"] = value.lower()
    elif key == "bind-nonrecursive":
        section("Bind")["NonRecursive"] = _flag(key, value)
    elif key == "bind-recursive":
        _recursion(section("Bind"), value)
    elif key == "volume-subpath":
        section("Volume")["Subpath"] = value
    elif key == "volume-nocopy":
        section("Volume")["NoCopy"] = _flag(key, value)
    elif key == "volume-label":
        _pair(section("Volume").setdefault("Labels", {}), value)
    elif key == "volume-driver":
        section("Volume")["DriverConfig"]["Name"] = value
    elif key == "volume-opt":
        _pair(section("Volume")["DriverConfig"].setdefault("Options", {}), value)
    elif key == "image-subpath":
        section("Image")["Subpath"] = value
    elif key == "tmpfs-size":
        section("Tmpfs")["SizeBytes"] = _converted(key, value, values.size(value) if value else 0)
    elif key == "tmpfs-mode":
        section("Tmpfs")["Mode"] = _octal(key, value)
    else:
        raise ValueError(f"unexpected key '{key}' in '{field}'")


def _local_path(text: str) -> str:
    """A source that starts with `.` is a path from here."""
    return os.path.abspath(text) if text.startswith(".") else text


def _flag(key: str, text: str) -> bool:
    try:
        return values.boolean(text)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {text}") from None


def _converted(key: str, text: str, value: int) -> int:
    if not text:
        raise ValueError(f"invalid value for {key}: {text}")
    return value


def _octal(key: str, text: str) -> int:
    if not text or text.strip("01234567") or len(text) > 10:
        raise ValueError(f"invalid value for {key}: {text}")
    return int(text, 8)


def _pair(target: dict[str, str], text: str) -> None:
    name, _, value = text.partition("=")
    target[name] = value


def _recursion(section: dict[str, Any], text: str) -> None:
    if text not in _RECURSIVE:
        raise ValueError(f"invalid value for bind-recursive: {text}")
    if text == "disabled":
        section["NonRecursive"] = True
    elif text == "writable":
        section["ReadOnlyNonRecursive"] = True
    elif text == "readonly":
        section["ReadOnlyForceRecursive"] = True


def _check(mount: dict[str, Any], sections: dict[str, dict[str, Any]]) -> None:
    kind = mount["Type"]
    if not kind:
        raise ValueError("type is required")
    if not mount.get("Target"):
        raise ValueError("target is required")
    for name in sections:
        if kind != name.lower():
            raise ValueError(f"cannot mix '{name.lower()}-*' options with mount type '{kind}'")


def _ordered(mount: dict[str, Any], sections: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Without the members that the API leaves out when they are empty."""
    result = {key: mount[key] for key in ("Type", "Source", "Target") if mount.get(key)}
    if mount.get("ReadOnly"):
        result["ReadOnly"] = True
    if mount.get("Consistency"):
        result["Consistency"] = mount["Consistency"]
    for name, section in sections.items():
        result[f"{name}Options"] = {key: value for key, value in section.items() if value not in ("", 0)}
    return result


def split_volumes(volumes: Iterable[str]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """`-v` values as (Binds, anonymous Volumes). Relative host paths are made absolute here."""
    binds: list[str] = []
    anonymous: dict[str, dict[str, Any]] = {}
    for text in volumes:
        if not text:
            raise ValueError("invalid empty volume spec")
        source, colon, rest = text.partition(":")
        if not colon or not rest or not source:
            anonymous[text] = {}
        elif source.startswith("."):
            binds.append(f"{os.path.abspath(source)}:{rest}")
        else:
            binds.append(text)
    return list(dict.fromkeys(binds)), anonymous


def split_tmpfs(entries: Iterable[str]) -> dict[str, str]:
    """`--tmpfs /path[:options]` values as the API's map."""
    return {path: options for path, _, options in (entry.partition(":") for entry in entries)}
