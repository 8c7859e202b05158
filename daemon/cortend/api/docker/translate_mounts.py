"""Mounts in docker's three notations: `Binds` (`-v`), `Mounts` (`--mount`), `Tmpfs` (`--tmpfs`)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from corten_shared.errors import InvalidArgument, Unimplemented
from corten_shared.models.container import MountSpec
from cortend.api.docker.models.create import HostConfig, Mount

_ACCESS = frozenset({"rw", "ro"})
_LABELS = frozenset({"z", "Z"})
_COPY = frozenset({"nocopy", "copy"})
_CONSISTENCY = frozenset({"consistent", "cached", "delegated"})
_PROPAGATION = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_GROUPS = (_ACCESS, _LABELS, _COPY, _CONSISTENCY, _PROPAGATION)

VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")
"""docker's names of local volumes."""


def mounts_of(host: HostConfig) -> list[MountSpec]:
    """Every mount of a request."""
    return [
        *(parse_bind(text) for text in host.binds),
        *(_mount(mount) for mount in host.mounts),
        *(_tmpfs(target, options) for target, options in host.tmpfs.items()),
    ]


def volumes_of(volumes: Iterable[str]) -> list[str]:
    """Config.Volumes: paths that get an anonymous volume each."""
    paths = list(volumes)
    for path in paths:
        if not path.startswith("/") or ":" in path:
            raise InvalidArgument(f"invalid volume specification: '{path[:200]}'")
    return paths


def parse_bind(text: str) -> MountSpec:
    """`SOURCE:TARGET[:MODE]` as a mount; a source that is a path is a bind, another one a volume."""
    parts = text.split(":")
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise InvalidArgument(f"invalid volume specification: '{text[:200]}'")
    if len(parts) == 1:
        return MountSpec(type="volume", target=_target("volume", text, text))
    source, target, *mode = parts
    options = parse_mode(mode[0]) if mode else frozenset()
    is_path = source.startswith(("/", "~"))
    if not is_path and not VOLUME_NAME.match(source):
        raise InvalidArgument(
            f'create {source[:80]}: "{source[:80]}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )
    return MountSpec(
        type="bind" if is_path else "volume",
        source=source,
        target=_target("bind" if is_path else "volume", target, text),
        read_only="ro" in options,
        propagation=next(iter(options & _PROPAGATION), ""),
        no_copy="nocopy" in options,
        create_source=is_path,
    )


def parse_mode(mode: str) -> frozenset[str]:
    """The options after the second colon; each kind at most once."""
    options = mode.split(",")
    known = all(any(option in group for group in _GROUPS) for option in options)
    if not known or any(sum(option in group for option in options) > 1 for group in _GROUPS):
        raise InvalidArgument(f"invalid mode: {mode[:80]}")
    return frozenset(options)


def _target(kind: str, target: str, whole: str) -> str:
    if not target.startswith("/"):
        raise InvalidArgument(
            f"invalid volume specification: '{whole[:200]}': invalid mount config for type \"{kind}\": invalid mount "
            f"path: '{target[:200]}' mount path must be absolute"
        )
    if not target.strip("/"):
        raise InvalidArgument(
            f"invalid volume specification: '{whole[:200]}': invalid mount config for type \"{kind}\": invalid "
            "specification: destination can't be '/'"
        )
    return target


def _mount(mount: Mount) -> MountSpec:
    if not mount.target:
        raise InvalidArgument(f'invalid mount config for type "{mount.type[:20]}": field Target must not be empty')
    match mount.type:
        case "bind":
            return _bind_mount(mount)
        case "volume":
            return _volume_mount(mount)
        case "tmpfs":
            return _tmpfs_mount(mount)
        case "image" | "cluster" | "npipe":
            raise Unimplemented(f"mounts of type {mount.type} are not supported")
        case _:
            raise InvalidArgument(f'invalid mount config for type "{mount.type[:20]}": mount type unknown')


def _bind_mount(mount: Mount) -> MountSpec:
    if not mount.source:
        raise InvalidArgument('invalid mount config for type "bind": field Source must not be empty')
    options = mount.bind_options
    return MountSpec(
        type="bind",
        source=mount.source,
        target=mount.target,
        read_only=mount.read_only,
        propagation=options.propagation if options else "",
        options=["bind"] if options and options.non_recursive else [],
        create_source=bool(options and options.create_mountpoint),
    )


def _volume_mount(mount: Mount) -> MountSpec:
    options = mount.volume_options
    if mount.source and not VOLUME_NAME.match(mount.source):
        raise InvalidArgument(
            f'create {mount.source[:80]}: "{mount.source[:80]}" includes invalid characters for a local volume name, '
            'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )
    if options and options.subpath:
        raise Unimplemented("volume subpaths are not supported", hint="mount the whole volume")
    if options and options.driver_config and options.driver_config.name not in ("", "local"):
        driver = options.driver_config.name[:40]
        raise InvalidArgument(f'error looking up volume plugin {driver}: plugin "{driver}" not found')
    return MountSpec(
        type="volume",
        source=mount.source,
        target=mount.target,
        read_only=mount.read_only,
        no_copy=bool(options and options.no_copy),
    )


def _tmpfs_mount(mount: Mount) -> MountSpec:
    if mount.source:
        raise InvalidArgument('invalid mount config for type "tmpfs": field Source must not be specified')
    options = mount.tmpfs_options
    flags = []
    if options and options.size_bytes:
        flags.append(f"size={options.size_bytes}")
    if options and options.mode:
        flags.append(f"mode={options.mode:o}")
    flags += ["=".join(pair) for pair in options.options] if options else []
    return MountSpec(type="tmpfs", target=mount.target, read_only=mount.read_only, options=flags)


def _tmpfs(target: str, options: str) -> MountSpec:
    return MountSpec(type="tmpfs", target=target, options=[option for option in options.split(",") if option])
