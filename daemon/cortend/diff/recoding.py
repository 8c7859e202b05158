"""The child that packs an archive anew: started by `recoder`, for a stream from outside.

    python -I -S -c START package_path site_path shared_path REQUEST   < archive   > the same, in another compression

Decoding what a stranger compressed may take memory (xz asks for as much as it was told to), so the daemon does not do
it. Whatever came in, gzip, bzip2, xz, zstd or plain, is found out from its first bytes. REQUEST is JSON: compression
(of what goes out: none, gzip, zstd), limits, parent. Digests come last, as a JSON line on stderr; so does an error.
"""

from __future__ import annotations

import bz2
import contextlib
import ctypes
import json
import lzma
import os

import zstandard
from isal import igzip_lib, isal_zlib

from cortend.diff.limits import Limits
from cortend.diff.refusal import Refusal
from cortend.diff.sink import LayerSink
from cortend.diff.unpack import seal
from cortend.diff.upload import Upload
from cortend.linux import privileges as priv
from cortend.linux.namespaces import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, unshare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LOADED = (bz2, lzma, zstandard, igzip_lib, isal_zlib)
"""Used once nothing can be imported any more."""


def main(argv: list[str]) -> None:
    """Do it and leave."""
    request: dict[str, Any] = json.loads(argv[0])
    with contextlib.suppress(OSError):
        ctypes.CDLL("libgcc_s.so.1")  # as in `unpack`
    try:
        limits = Limits.decode(request["limits"])
        priv.die_with_parent(9, request["parent"])
        unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC)
        seal(set(), limits)
        _say(_recoded(limits, request["compression"]))
    except Refusal as refusal:
        _fail(refusal.code, refusal.message.replace("layer", "archive", 1))
    except MemoryError:
        _fail("resource_exhausted", "unpacking the archive takes more memory than allowed")
    except BrokenPipeError:
        os._exit(1)
    except Exception as error:
        # Never a traceback: printing one reads source files by name.
        _fail("internal", f"unpacking an archive: {type(error).__name__}: {error}")
    os._exit(0)


def _recoded(limits: Limits, compression: str) -> dict[str, Any]:
    sink = LayerSink(1, compression)
    for chunk in Upload(0, limits).chunks():
        sink.write(chunk)
    return {**sink.finish(), "entries": 0}


def _say(message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        os.write(2, json.dumps(message).encode() + b"\n")


def _fail(code: str, message: str) -> None:
    _say({"error": code, "message": message})
    os._exit(1)
