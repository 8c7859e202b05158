"""inotify(7): be told when a directory's files change, on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import struct
from collections.abc import Hashable, Iterator
from typing import Generic, Self, TypeVar

IN_MODIFY = 0x2
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_CLOEXEC = 0o2000000
IN_NONBLOCK = 0o4000

IN_Q_OVERFLOW = 0x4000
_CHANGES = IN_MODIFY | IN_CREATE | IN_MOVED_TO
_EVENT = struct.Struct("iIII")

K = TypeVar("K", bound=Hashable)

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


def inotify_rm_watch(fd: int, watch: int) -> None:
    """Stop watching; raises OSError."""
    if _libc.inotify_rm_watch(fd, watch) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "inotify_rm_watch")


class DirectoriesWatch(Generic[K]):
    """Awaits changes of the files in many directories, each known by a key. Use it on one event loop.

    One inotify instance for all of them. Events are read when somebody asks, and the same one is queued once only: a
    file that changes all the time costs nothing between two calls of `changed`.
    """

    def __init__(self) -> None:
        self._fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)
        self._keys: dict[int, K] = {}
        self._watches: dict[K, int] = {}
        self._fresh: set[K] = set()
        self._wake = asyncio.Event()

    def add(self, key: K, path: str) -> None:
        """Watch `path`; it counts as changed at first. Raises OSError."""
        self.discard(key)
        watch = inotify_add_watch(self._fd, path, _CHANGES)
        self._keys[watch] = key
        self._watches[key] = watch
        self._fresh.add(key)
        self._wake.set()

    def discard(self, key: K) -> None:
        """Stop watching; unknown keys are fine."""
        self._fresh.discard(key)
        watch = self._watches.pop(key, None)
        if watch is not None:
            del self._keys[watch]
            with contextlib.suppress(OSError):  # the directory has gone
                inotify_rm_watch(self._fd, watch)

    async def changed(self) -> set[K]:
        """The keys whose directories changed since the last call; waits for the first."""
        loop = asyncio.get_running_loop()
        while True:
            found = self._fresh | self._read()
            self._fresh.clear()
            if found:
                return found
            self._wake.clear()
            loop.add_reader(self._fd, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                loop.remove_reader(self._fd)

    def _read(self) -> set[K]:
        found: set[K] = set()
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._fd, 64 << 10):
                for watch, mask in _events(data):
                    if mask & IN_Q_OVERFLOW:
                        return set(self._watches)
                    if watch in self._keys:
                        found.add(self._keys[watch])
        return found

    def close(self) -> None:
        """Stop watching everything."""
        os.close(self._fd)


def _events(data: bytes) -> Iterator[tuple[int, int]]:
    """Watch and mask of each `struct inotify_event` (inotify(7))."""
    at = 0
    while at < len(data):
        watch, mask, _, length = _EVENT.unpack_from(data, at)
        yield watch, mask
        at += _EVENT.size + length


class DirectoryWatch:
    """Awaits changes of the files in one directory. A context manager; use it on one event loop.

    The watch exists from construction on, so that a change between a look at the files and
    `changed()` is not missed.
    """

    def __init__(self, path: str) -> None:
        self._fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)
        self._event = asyncio.Event()
        try:
            inotify_add_watch(self._fd, path, _CHANGES)
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
