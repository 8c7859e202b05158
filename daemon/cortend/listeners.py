"""Sockets that the API is served on, and the locks that keep a second daemon away.

Sockets come from systemd (sd_listen_fds(3)), which keeps them, and clients queueing on them, over a restart; or the
daemon makes its own. Locks are flock(2)s: they end with the process, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import logging
import os
import socket
import stat
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from corten_shared.errors import AlreadyExists, InvalidArgument, PermissionDenied, Unavailable
from cortend.config import Api
from cortend.linux.files import make_directory

log = logging.getLogger(__name__)

FIRST_FD = 3
"""SD_LISTEN_FDS_START."""
BACKLOG = 1024


def from_systemd(environ: MutableMapping[str, str] | None = None) -> list[socket.socket]:
    """The stream sockets that systemd passed, or none. The variables are taken out of the environment."""
    environ = os.environ if environ is None else environ
    pid = environ.pop("LISTEN_PID", "")
    count = environ.pop("LISTEN_FDS", "0")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    sockets = []
    for fd in range(FIRST_FD, FIRST_FD + int(count)):
        sock = socket.socket(fileno=fd)
        sock.set_inheritable(False)
        if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise InvalidArgument(
                f"the socket that systemd passed as descriptor {fd} is not a listening stream socket",
                hint="cortend.socket needs ListenStream=",
            )
        sockets.append(sock)
    return sockets


@contextlib.contextmanager
def unix_socket(api: Api) -> Iterator[socket.socket]:
    """A listening socket as configured; its file is removed at the end.

    A file left by a daemon that died is replaced. Raises AlreadyExists when somebody listens there, or when it is
    no socket.
    """
    path = api.socket
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        # Held while the file is looked at and replaced, so that of two daemons starting at once one gives way.
        stack.enter_context(lock(path.with_name(path.name + ".lock"), f"the socket {path}"))
        _clear_stale(path)
        sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC))
        _bind(sock, path, api)
        stack.callback(_unlink_ours, path, path.stat().st_ino)
        sock.listen(BACKLOG)
        yield sock


def _bind(sock: socket.socket, path: Path, api: Api) -> None:
    before = os.umask(0o177)  # nobody gets in before owner and mode are right
    try:
        sock.bind(str(path))
    except OSError as error:
        raise Unavailable(f"cannot listen on {path}: {error.strerror or error}") from None
    finally:
        os.umask(before)
    gid = group_id(api.group)
    if gid is None:
        log.info("group %s does not exist: only root can use %s", api.group, path)
    else:
        os.chown(path, -1, gid)
    path.chmod(int(api.mode, 8))


def group_id(name: str) -> int | None:
    """The group's number, or None when there is no such group."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def _clear_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise AlreadyExists(f"{path} is in the way: it is not a socket", hint="remove it, or set another api.socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise AlreadyExists(f"another program listens on {path}", hint="stop it, or give this daemon another --socket")


def _unlink_ours(path: Path, inode: int) -> None:
    with contextlib.suppress(OSError):
        if path.lstat().st_ino == inode:
            path.unlink()


@contextlib.contextmanager
def lock(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path`; raises AlreadyExists, naming the process that holds it.

    The file stays when the lock is given back: removing it would let two processes lock two files of one name.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, 0o600)
    except PermissionError:
        raise PermissionDenied(f"cannot open {path}: permission denied", hint="cortend runs as root") from None
    except OSError as error:
        raise Unavailable(f"cannot open {path}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            raise AlreadyExists(
                f"another cortend (pid {owner or 'unknown'}) uses {what}",
                hint="stop it, or give this daemon its own --root and --state",
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def locked_roots(root: Path, state: Path, group: str) -> Iterator[None]:
    """Make the data and the state root, and hold both for this daemon alone."""
    for directory in (root, state):
        try:
            make_directory(directory, 0o710)
        except OSError as error:
            raise Unavailable(f"cannot make {directory}: {error.strerror}") from None
    _let_group_pass(state, group)
    with lock(root / "lock", str(root)), lock(state / "lock", str(state)):
        yield


def _let_group_pass(state: Path, group: str) -> None:
    """The group reaches the socket inside. A directory of any other mode is somebody's own arrangement."""
    found = state.stat()
    gid = group_id(group)
    if gid is not None and stat.S_IMODE(found.st_mode) == 0o710 and found.st_uid == os.geteuid():
        os.chown(state, -1, gid)
