"""inotify(7): be told when a directory's files change, on the event loop."""

from __future__ import annotations

import asyncio
import ctypes
import os
from typing import Self

IN_MODIFY = 0x2
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_CLOEXEC = 0o2000000
IN_NONBLOCK = 0o4000

_libc = ctypes.CDLL(None, use_errno=True)


def inotify_init1(flags: int) -> int:
    """A new inotify descriptor; raises OSError (EMFILE when the user's instances are used up)."""
    fd: int = _libc.inotify_init1(flags)
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "inotify_init1")
    return fd


def inotify_add_watch(fd: int, path: str, mask: int) -> int:
    """Watch `path`; raises OSError with it."""
    watch: int = _libc.inotify_add_watch(fd, os.fsencode(path), mask)
    if watch < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return watch


class DirectoryWatch:
    """Awaits changes of the files in one directory. A context manager; use it on one event loop.

    The watch exists from construction on, so that a change between a look at the files and
    `changed()` is not missed.
    """

    def __init__(self, path: str) -> None:
        self._fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)
        self._event = asyncio.Event()
        try:
            inotify_add_watch(self._fd, path, IN_MODIFY | IN_CREATE | IN_MOVED_TO)
            asyncio.get_running_loop().add_reader(self._fd, self._readable)
        except BaseException:
            os.close(self._fd)
            raise

    def _readable(self) -> None:
        try:
            while os.read(self._fd, 64 << 10):
                pass
        except BlockingIOError:
            self._event.set()

    async def changed(self) -> None:
        """Return at the next change, or at once when there was one since the last call."""
        await self._event.wait()
        self._event.clear()

    def wake(self) -> None:
        """Make `changed` return, for a reason of the caller's own."""
        self._event.set()

    def close(self) -> None:
        """Stop watching."""
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
