"""Network namespaces: run code inside one, pin one to a path, unpin it.

A thread that entered a namespace is never used again: it ends. So no thread of the process can be left
in the wrong namespace by an error, and nothing forks.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cortend.linux.mount import MNT_DETACH, MS_BIND, UMOUNT_NOFOLLOW, mount, umount
from cortend.linux.namespaces import CLONE_NEWNET, setns, unshare

T = TypeVar("T")

THREAD_NETNS = "/proc/thread-self/ns/net"
"""The calling thread's own namespace; `/proc/self/ns/net` is the main thread's."""

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def run_in_netns(path: str, work: Callable[[], T]) -> T:
    """The result of `work()`, run in the namespace pinned at `path`; its exception is raised here."""

    def enter() -> None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(fd, CLONE_NEWNET)
        finally:
            os.close(fd)

    return _in_thread(enter, work)


def run_in_new_netns(work: Callable[[], T]) -> T:
    """The result of `work()`, run in a namespace that ends with it, unless `work` keeps it (see `pin_netns`)."""
    return _in_thread(lambda: unshare(CLONE_NEWNET), work)


def run_apart(work: Callable[[], T]) -> T:
    """The result of `work()`, run in a new thread of the same namespace: for what must not meet this thread's state."""
    return _in_thread(lambda: None, work)


def pin_netns(path: str) -> None:
    """Keep the calling thread's namespace alive at `path`, a new file; raises FileExistsError."""
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    try:
        mount(THREAD_NETNS, path, None, MS_BIND)
    except OSError:
        Path(path).unlink()
        raise


def unpin_netns(path: str) -> bool:
    """Undo `pin_netns`, also half of it; False when nothing was there."""
    while True:
        try:
            umount(path, MNT_DETACH | UMOUNT_NOFOLLOW)
        except FileNotFoundError:
            return False
        except OSError:
            break  # EINVAL: not, or no longer, a mount point
    try:
        Path(path).unlink()
    except FileNotFoundError:
        return False
    return True


def set_interface_up(name: str) -> None:
    """Bring an interface of the calling thread's namespace up (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        request = struct.pack("16sH14x", name.encode(), 0)
        flags = struct.unpack_from("H", fcntl.ioctl(sock, _SIOCGIFFLAGS, request), 16)[0]
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", name.encode(), flags | _IFF_UP))


def _in_thread(enter: Callable[[], None], work: Callable[[], T]) -> T:
    result: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            enter()
            result.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=body, name="netns", daemon=True)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]
