"""The child that reads or writes a container's files: started by `archiver`, confined before it touches one.

    python -I -S -c START package_path site_path shared_path REQUEST

In a mount namespace of its own it mounts the container's root, puts the container's volumes on it, makes it its root
and unmounts everything else. So nothing stays mounted when it ends, and every link, swapped or not, leads inside. The
container's own namespaces are not entered, and nothing of its root is loaded or run (see `unpack`).

REQUEST is JSON: op (stat, read, export, write), mounts, placed, staging, name, read_only, path, and for write
keep_kinds and owner; limits, parent. On stdout a JSON line: the path's stat, or an error; then for read and export the
tar. write reads the archive from stdin after its first line and says a second one when it is done.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import posixpath
import stat

import zstandard
from isal import igzip_lib

from corten_shared.errors import CortenError
from cortend.core.users import MAX_FILE, resolve
from cortend.diff.limits import Limits
from cortend.diff.pack import Packer
from cortend.diff.refusal import Refusal, invalid
from cortend.diff.stream import Reader
from cortend.diff.tar import Archive
from cortend.diff.unpack import KEEP, seal
from cortend.diff.upload import InPlace, Upload
from cortend.linux import mount as mounting
from cortend.linux import privileges as priv
from cortend.linux.namespaces import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, enter_root, unshare
from cortend.linux.saferoot import SafeRoot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LOADED = (zstandard, igzip_lib)
"""Used by `stream` once nothing can be imported any more."""
_AT_EMPTY_PATH = 0x1000
_QUIET = mounting.MOUNT_ATTR_NODEV | mounting.MOUNT_ATTR_NOSUID | mounting.MOUNT_ATTR_NOEXEC
_MISSING = (FileNotFoundError, NotADirectoryError)


class _Mount:
    """A mount as `mounting` takes it."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self.type: str = entry["type"]
        self.source: str = entry["source"]
        self.options: list[str] = entry["options"]


def main(argv: list[str]) -> None:
    """Do it and leave, without the interpreter's shutdown (which may load code)."""
    request: dict[str, Any] = json.loads(argv[0])
    with contextlib.suppress(OSError):
        ctypes.CDLL("libgcc_s.so.1")  # as in `unpack`
    try:
        priv.die_with_parent(9, request["parent"])
        _enter(request)
        _OPERATIONS[request["op"]](request)
    except Refusal as refusal:
        _fail(refusal.code, refusal.message.replace("layer", "archive", 1))
    except CortenError as error:
        _fail(error.code, error.message)
    except MemoryError:
        _fail("resource_exhausted", "copying takes more memory than allowed")
    except BrokenPipeError:
        os._exit(1)
    except OSError as error:
        _fail("internal", f"{request['op']} {request['path']}: {error.strerror or error}")
    except Exception as error:
        # Never a traceback: printing one reads source files by name.
        _fail("internal", f"{request['op']} {request['path']}: {type(error).__name__}: {error}")
    os._exit(0)


# -- the root ---------------------------------------------------------------------------------------------------------


def _enter(request: dict[str, Any]) -> None:
    """Make the container's root ours, and give up the rest."""
    limits = Limits.decode(request["limits"])
    writes = request["op"] == "write"
    staging: str = request["staging"]
    unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC)
    mounting.make_private("/")
    # Before the staging directory is covered: host files of the container lie in it.
    placed = [(entry, _take(entry)) for entry in request["placed"]]
    mounting.mount_all([_Mount(entry) for entry in request["mounts"]], staging)
    with SafeRoot(staging) as root:
        for entry, tree in sorted(placed, key=lambda pair: posixpath.normpath(pair[0]["target"]).count("/")):
            _put(root, entry["target"], tree)
    flags = _QUIET | (mounting.MOUNT_ATTR_RDONLY if request["read_only"] or not writes else 0)
    mounting.mount_setattr(staging, attr_set=flags)
    enter_root(staging)
    seal(KEEP if writes else {priv.CAP_DAC_OVERRIDE}, limits)


def _take(entry: dict[str, Any]) -> int:
    """A detached copy of the mounts at a source on the host; -1 when that is gone."""
    flags = mounting.OPEN_TREE_CLONE | mounting.AT_RECURSIVE
    try:
        tree = mounting.open_tree(entry["source"], flags=flags)
    except FileNotFoundError:
        return -1
    attributes = _QUIET | (mounting.MOUNT_ATTR_RDONLY if entry["read_only"] else 0)
    mounting.mount_setattr("", dir_fd=tree, flags=_AT_EMPTY_PATH | mounting.AT_RECURSIVE, attr_set=attributes)
    return tree


def _put(root: SafeRoot, target: str, tree: int) -> None:
    """Attach `tree` to what `target` means inside the root now: by descriptor, so no swapped name can redirect it."""
    if tree < 0:
        return
    is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
    try:
        try:
            where = root.open(target, os.O_PATH)
        except FileNotFoundError:
            if not is_directory:
                return
            try:
                where = root.mkdirs(target)
            except OSError:
                return  # a root that cannot be written: the container has not had this mount point yet
        try:
            if stat.S_ISDIR(os.fstat(where).st_mode) == is_directory:
                mounting.move_mount(tree, where)
        finally:
            os.close(where)
    finally:
        os.close(tree)


# -- operations -------------------------------------------------------------------------------------------------------


def _missing(request: dict[str, Any]) -> Refusal:
    return Refusal("not_found", f"Could not find the file {request['path']} in container {request['name']}")


def _locate(request: dict[str, Any]) -> tuple[bytes, bytes]:
    """(path with its directories resolved, the name that answers carry): the last part of the path stays a link."""
    asked = os.fsencode(request["path"])
    whole = posixpath.normpath(b"/" + asked.lstrip(b"/"))
    name = posixpath.basename(whole) or b"/"
    if asked.endswith((b"/", b"/.")):
        path = posixpath.realpath(whole)
        if not os.path.isdir(path):
            raise _missing(request)
        return path, b"." if asked.endswith(b"/.") else name
    return posixpath.join(posixpath.realpath(posixpath.dirname(whole)), posixpath.basename(whole)), name


def _found(request: dict[str, Any]) -> tuple[bytes, bytes, os.stat_result]:
    path, name = _locate(request)
    try:
        return path, name, os.lstat(path)
    except _MISSING:
        raise _missing(request) from None


def _report(path: bytes, name: bytes, found: os.stat_result) -> None:
    link = posixpath.realpath(path) if stat.S_ISLNK(found.st_mode) else b""
    _say(
        {
            "name": name.decode("utf-8", "replace"), "size": found.st_size, "mode": found.st_mode,
            "mtime": found.st_mtime_ns, "link_target": link.decode("utf-8", "replace"),
        }
    )  # fmt: skip


def _stat(request: dict[str, Any]) -> None:
    _report(*_found(request))


def _read(request: dict[str, Any]) -> None:
    path, name, found = _found(request)
    _report(path, name, found)
    _Stream.begun = True
    packer = Packer(_emit)
    parent = os.open(posixpath.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    packer.add(parent, posixpath.basename(path) or b".", name)
    packer.finish()


def _export(request: dict[str, Any]) -> None:
    _say({})
    _Stream.begun = True
    packer = Packer(_emit)
    packer.add_content(os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), b"")
    packer.finish()


def _write(request: dict[str, Any]) -> None:
    target = posixpath.realpath(b"/" + os.fsencode(request["path"]).lstrip(b"/"))
    try:
        os.chdir(target)
    except FileNotFoundError:
        raise _missing(request) from None
    except NotADirectoryError:
        raise invalid("extraction point is not a directory") from None
    if os.statvfs(".").f_flag & os.ST_RDONLY:
        same = os.stat(".").st_dev == os.stat("/").st_dev
        what = "container rootfs" if same else "mounted volume"
        raise Refusal("permission_denied", f"{what} is marked read-only")
    owner = _owner(request["owner"]) if request["owner"] is not None else None
    limits = Limits.decode(request["limits"])
    _say({})
    archive = Archive(Reader(Upload(0, limits).chunks()), limits)
    InPlace(archive, limits, keep_kinds=request["keep_kinds"], owner=owner).run()
    archive.drain()
    _say({"done": True})


def _owner(user: str) -> tuple[int, int]:
    with SafeRoot("/") as root:
        found = resolve(user, _account(root, "/etc/passwd"), _account(root, "/etc/group"))
    return found.uid, found.gid


def _account(root: SafeRoot, path: str) -> bytes:
    try:
        fd = root.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return b""
    try:
        return os.read(fd, MAX_FILE) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)


_OPERATIONS = {"stat": _stat, "read": _read, "export": _export, "write": _write}


# -- saying -----------------------------------------------------------------------------------------------------------


class _Stream:
    begun = False
    """Whether stdout carries a tar by now."""


def _emit(data: bytes | bytearray | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def _say(message: dict[str, Any]) -> None:
    _emit(json.dumps(message).encode() + b"\n")


def _fail(code: str, message: str) -> None:
    """An error instead of the first line, or after it: on stderr when a tar has begun."""
    line = json.dumps({"error": code, "message": message}).encode() + b"\n"
    with contextlib.suppress(OSError):
        os.write(2 if _Stream.begun else 1, line)
    os._exit(1)
