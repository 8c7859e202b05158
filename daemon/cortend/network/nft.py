"""libnftables (libnftables(3)): applies rules as `nft -f` would, in this process, in a fraction of a millisecond."""

from __future__ import annotations

import ctypes
import os
import threading
from typing import Any

from corten_shared.errors import Internal, Unavailable

_ERRORS_MAX = 400
_OUTPUT_MAX = 1 << 20
_PARSER = threading.Lock()
"""The library's parser keeps global state: one call at a time in the whole process, whatever the context."""


class RulesRefused(Internal):
    """The kernel or the parser refused a transaction; nothing of it was done."""


class Nftables:
    """A context of the library, in the network namespace of the thread that first uses it.

    The library ends the process when it cannot open its netlink socket, so the socket is opened once and
    kept, and a descriptor is known to be free before.
    """

    def __init__(self) -> None:
        self._library: Any = None
        self._context: int | None = None

    def run(self, commands: str) -> str:
        """Run commands as one transaction and return what they print; raises RulesRefused."""
        with _PARSER:
            context = self._open()
            code = self._library.nft_run_cmd_from_buffer(context, commands.encode("ascii"))
            output: bytes = self._library.nft_ctx_get_output_buffer(context) or b""
            errors: bytes = self._library.nft_ctx_get_error_buffer(context) or b""
        if code:
            reason = " ".join(errors.decode("utf-8", "replace").split())[:_ERRORS_MAX]
            raise RulesRefused(f"nftables refused the rules: {reason}", hint="is the nf_tables kernel module there?")
        return output[:_OUTPUT_MAX].decode("utf-8", "replace")

    def close(self) -> None:
        """Free the context and its socket."""
        with _PARSER:
            if self._context is not None:
                self._library.nft_ctx_free(self._context)
                self._context = None

    def _open(self) -> int:
        if self._context is None:
            self._library = self._library or _load()
            os.close(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
            context = self._library.nft_ctx_new(0)
            if not context:
                raise Unavailable("cannot start libnftables", hint="the daemon needs CAP_NET_ADMIN")
            self._library.nft_ctx_buffer_output(context)
            self._library.nft_ctx_buffer_error(context)
            self._context = context
        assert self._context is not None
        return self._context


def _load() -> Any:
    try:
        library = ctypes.CDLL("libnftables.so.1")
    except OSError as error:
        raise Unavailable(f"libnftables is missing: {error}", hint="apt-get install nftables") from error
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    for name in ("nft_ctx_free", "nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
        getattr(library, name).restype = ctypes.c_char_p
    return library
