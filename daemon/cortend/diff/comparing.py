"""The child that compares two trees: started by `comparer`, confined before it looks at one.

    python -I -S -c START package_path site_path shared_path REQUEST

In a mount namespace of its own it mounts both trees, read-only and with nothing that could run, below a root that has
nothing else. REQUEST is JSON: op (layer, list), upper, lower, marked, staging, skip, compression, limits, parent.

On stdout a JSON line: empty, or an error. Then for `layer` the layer's tar, compressed; its digests come last, as a
line on stderr. For `list` a letter of `CAD` and a path, ended by a zero byte, for each difference; sorted by path.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os

import zstandard
from isal import isal_zlib

from cortend.diff.differences import ADDED, DELETED, MODIFIED, OPAQUE, Walk
from cortend.diff.limits import Limits
from cortend.diff.refusal import Refusal, invalid, quote
from cortend.diff.sink import LayerSink
from cortend.diff.tarwriter import WHITEOUT, TarWriter
from cortend.diff.unpack import seal
from cortend.linux import mount as mounting
from cortend.linux import privileges as priv
from cortend.linux.namespaces import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, enter_root, unshare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LOADED = (zstandard, isal_zlib)
"""Used by `sink` once nothing can be imported any more."""
_OPEN_FILES = 8192
"""Two for each directory within another."""
_QUIET = (
    mounting.MOUNT_ATTR_NODEV | mounting.MOUNT_ATTR_NOSUID | mounting.MOUNT_ATTR_NOEXEC | mounting.MOUNT_ATTR_RDONLY
)
_KINDS = {MODIFIED: b"C", ADDED: b"A", DELETED: b"D"}
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class _Mount:
    """A mount as `mounting` takes it."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self.type: str = entry["type"]
        self.source: str = entry["source"]
        self.options: list[str] = entry["options"]


class _Stream:
    begun = False
    """Whether stdout carries something else than lines by now."""


def main(argv: list[str]) -> None:
    """Do it and leave, without the interpreter's shutdown (which may load code)."""
    request: dict[str, Any] = json.loads(argv[0])
    with contextlib.suppress(OSError):
        ctypes.CDLL("libgcc_s.so.1")  # as in `unpack`
    try:
        priv.die_with_parent(9, request["parent"])
        walk = _prepare(request)
        _emit(b"{}\n")
        _Stream.begun = True
        _OPERATIONS[request["op"]](walk, request)
    except Refusal as refusal:
        _fail(refusal.code, refusal.message)
    except MemoryError:
        _fail("resource_exhausted", "comparing takes more memory than allowed")
    except BrokenPipeError:
        os._exit(1)
    except OSError as error:
        _fail("internal", f"comparing two trees: {error}")
    except Exception as error:
        # Never a traceback: printing one reads source files by name.
        _fail("internal", f"comparing two trees: {type(error).__name__}: {error}")
    os._exit(0)


def _prepare(request: dict[str, Any]) -> Walk:
    """Both trees below a root of ours, and everything else given up. Only overlayfs's marks take CAP_SYS_ADMIN."""
    limits = Limits.decode(request["limits"])
    unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC)
    mounting.make_private("/")
    staging: str = request["staging"]
    mounting.mount("tmpfs", staging, "tmpfs", mounting.MS_NOSUID | mounting.MS_NODEV, "mode=0700,size=64k")
    os.chdir(staging)
    for name in ("upper", "lower"):
        os.mkdir(name, 0o700)
        mounting.mount_all([_Mount(entry) for entry in request[name]], name)
    mounting.mount_setattr(staging, flags=mounting.AT_RECURSIVE, attr_set=_QUIET)
    enter_root(staging)
    capabilities = {priv.CAP_DAC_OVERRIDE}
    seal(capabilities | {priv.CAP_SYS_ADMIN} if request["marked"] else capabilities, limits, files=_OPEN_FILES)
    upper = os.open("/upper", _DIRECTORY)
    lower = os.open("/lower", _DIRECTORY) if request["lower"] else -1
    skip = {os.fsencode(path).strip(b"/") for path in request["skip"]}
    return Walk(
        upper, lower, marked=request["marked"], skip=skip, limit=limits.entries, listing=request["op"] == "list"
    )


def _layer(walk: Walk, request: dict[str, Any]) -> None:
    sink = LayerSink(1, request["compression"])
    tar = TarWriter(sink.write)
    for found in walk.run():
        if found.path.rpartition(b"/")[2].startswith(WHITEOUT):
            raise invalid(f"{quote(found.path)} cannot be in a layer: names that begin with .wh. mean deletions there")
        if found.kind == DELETED:
            tar.white_out(found.path)
        elif found.kind == OPAQUE:
            tar.make_opaque(found.path)
        elif not found.name:
            tar.directory(found.fd, found.path)
        else:
            try:
                tar.entry(found.fd, found.name, found.path)
            except FileNotFoundError:
                continue  # it went while we walked
    tar.finish()
    _report({**sink.finish(), "entries": tar.entries})


def _list(walk: Walk, request: dict[str, Any]) -> None:
    del request
    lines: list[bytes] = []
    for found in walk.run():
        if found.path and found.kind in _KINDS:
            lines.append(b"/" + found.path + b"\0" + _KINDS[found.kind])
    lines.sort()
    for at in range(0, len(lines), 4096):
        _emit(b"".join(line[-1:] + line[:-1] for line in lines[at : at + 4096]))


_OPERATIONS = {"layer": _layer, "list": _list}


def _emit(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def _report(message: dict[str, Any]) -> None:
    os.write(2, json.dumps(message).encode() + b"\n")


def _fail(code: str, message: str) -> None:
    """An error instead of the first line, or after it: on stderr when the answer has begun."""
    line = json.dumps({"error": code, "message": message}).encode() + b"\n"
    with contextlib.suppress(OSError):
        os.write(2 if _Stream.begun else 1, line)
    os._exit(1)
