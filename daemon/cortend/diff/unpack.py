"""The child that unpacks one layer: started by `apply`, confined before it reads a byte of the layer.

    python -I -S -c START package_path site_path target MARKS compression limits parent_pid  < layer

MARKS says what becomes of whiteouts: `overlay` (overlayfs's marks), `native` (they remove), or, with the layer written
to an EROFS image while the target stays empty, `erofs:IMAGE` and `erofs-lowest:IMAGE` (there is nothing below).

It leaves the host's mount, network and IPC namespaces, makes the target its root and unmounts everything else, drops
all capabilities but those for making files, and can gain none. On stdout: lines `{"read": N}`, then one
`{"diff_id": …, "read": …, "size": …, "entries": …}` or `{"error": CODE, "message": …, "hint": …}`.

Once confined nothing may be imported or loaded: a name like /usr/lib/python3 would mean the image's file
(CVE-2019-14271 was this). So everything is imported first, then the import system is emptied.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import sys

from cortend.diff.erofs import Erofs
from cortend.diff.extract import Extractor, Native, Overlay
from cortend.diff.limits import Limits
from cortend.diff.refusal import Refusal
from cortend.diff.stream import Layer, Reader
from cortend.diff.tar import Archive
from cortend.linux import privileges as priv
from cortend.linux.erofs import Image
from cortend.linux.mount import MS_BIND, make_private, mount
from cortend.linux.namespaces import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, enter_root, unshare

_STEP = 1 << 20
_OPEN_FILES = 1024
_IMAGE = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
KEEP = {
    priv.CAP_CHOWN, priv.CAP_DAC_OVERRIDE, priv.CAP_FOWNER, priv.CAP_FSETID, priv.CAP_MKNOD, priv.CAP_SETFCAP,
}  # fmt: skip


def main(argv: list[str]) -> None:
    """Do it and leave, without the interpreter's shutdown (which may load code)."""
    target, marks, compression, limits, parent = argv
    with contextlib.suppress(OSError):
        # glibc loads this on demand when a thread ends: load it while the name means the host's.
        ctypes.CDLL("libgcc_s.so.1")
    gc.disable()  # a process of seconds that makes no cycles in number
    try:
        priv.die_with_parent(9, int(parent))
        _say(_unpack(target, marks, compression, Limits.decode(limits)))
    except Refusal as refusal:
        _fail(refusal.code, refusal.message, refusal.hint)
    except MemoryError:
        _fail("resource_exhausted", "unpacking the layer takes more memory than allowed")
    except OSError as error:
        _fail("internal", f"unpack into {target}: {error}")
    except Exception as error:
        # Never a traceback: printing one reads source files by name, and those names mean the image's by now.
        _fail("internal", f"unpack into {target}: {type(error).__name__}: {error}")
    os._exit(0)


def _unpack(target: str, marks: str, compression: str, limits: Limits) -> str:
    layer = Layer(0, compression, limits, _Progress())
    archive = Archive(Reader(layer.chunks()), limits)
    form, _, image = marks.partition(":")
    extractor: Extractor
    if image:
        fd = os.open(image, _IMAGE, 0o400)
        extractor = Erofs(archive, limits, Image(fd), marks=form == "erofs")
    else:
        extractor = (Overlay if form == "overlay" else Native)(archive, limits)
    confine(target, form == "overlay", limits)
    extractor.run()
    archive.drain()
    return (
        f'{{"diff_id": "{layer.diff_id}", "read": {layer.read}, "size": {extractor.size}, '
        f'"entries": {extractor.entries}}}'
    )


def confine(target: str, overlay: bool, limits: Limits) -> None:
    """Shut this process into `target`. Only a mark for overlayfs (trusted.*) takes CAP_SYS_ADMIN."""
    unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC)
    make_private("/")
    mount(target, target, None, MS_BIND)
    enter_root(target)
    seal(KEEP | {priv.CAP_SYS_ADMIN} if overlay else KEEP, limits)


def seal(capabilities: set[int], limits: Limits, *, files: int = _OPEN_FILES) -> None:
    """Give up everything but `capabilities`, and importing: names mean the new root's files from here on."""
    os.umask(0)
    priv.set_no_new_privs()
    priv.drop_capabilities(capabilities)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_AS, limits.memory)
    _lower(resource.RLIMIT_NOFILE, files)
    sys.path[:] = []
    sys.meta_path[:] = []
    sys.path_hooks[:] = []
    sys.path_importer_cache.clear()


def _lower(kind: int, limit: int) -> None:
    """Set a limit; one that is lower already stays."""
    hard = resource.getrlimit(kind)[1]
    value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (value, value))


class _Progress:
    """Says how much was read, now and then."""

    def __init__(self) -> None:
        self._next = _STEP

    def __call__(self, read: int) -> None:
        if read >= self._next:
            self._next = read + _STEP
            _say(f'{{"read": {read}}}')


def _say(line: str) -> None:
    data = line.encode("utf-8", "replace") + b"\n"
    while data:
        data = data[os.write(1, data) :]


def _fail(code: str, message: str, hint: str = "") -> None:
    _say(f'{{"error": "{code}", "message": {_json(message)}, "hint": {_json(hint)}}}')


def _json(text: str) -> str:
    """A JSON string: importing json would double the start; control characters cannot be here but never pass."""
    plain = "".join(char if char >= " " else "?" for char in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
