"""The one way to touch files of a root file system that somebody else wrote.

Names resolve inside the root only, whatever links are there and however they change meanwhile: openat2(2) with
RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS, or a walk of descriptors where directories are made on the way. An absolute
link means the root's `/`, and `..` stops there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from types import TracebackType
from typing import Self

from cortend.linux.files import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, kind_of, openat2

_INSIDE = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_MAX_LINKS = 40
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class SafeRoot:
    """A directory as a root. Errors are OSError with the path as given; close it, or use it as a context manager."""

    def __init__(self, root: str | bytes | os.PathLike[str]) -> None:
        self.fd = os.open(root, _DIRECTORY)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the root; idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def open(self, path: str, flags: int = os.O_RDONLY, mode: int = 0, *, follow: bool = True) -> int:
        """A descriptor (close it). Without `follow` a final link is an error (ELOOP), or itself with O_PATH.

        Opening a device or fifo does what it does: for content use `read_file` or `open_regular`.
        """
        if not follow:
            flags |= os.O_NOFOLLOW
        return openat2(path, flags, mode=mode, resolve=_INSIDE, dir_fd=self.fd)

    def open_regular(self, path: str, flags: int = os.O_RDONLY) -> int:
        """A descriptor of an existing regular file; EINVAL for anything else, which is never opened."""
        handle = self.open(path, os.O_PATH)
        try:
            mode = os.fstat(handle).st_mode
            if not stat.S_ISREG(mode):
                raise OSError(errno.EINVAL, f"not a regular file but {kind_of(mode)}", path)
            # The handle pins what was checked; a second look at the name could find something else.
            return os.open(f"/proc/self/fd/{handle}", flags | os.O_NONBLOCK | os.O_CLOEXEC)
        finally:
            os.close(handle)

    def read_file(self, path: str, limit: int) -> bytes:
        """A regular file's content; EFBIG when longer than `limit` bytes, EINVAL for a fifo, device or directory."""
        fd = self.open_regular(path)
        try:
            if os.fstat(fd).st_size > limit:
                raise OSError(errno.EFBIG, f"longer than {limit} bytes", path)
            with os.fdopen(fd, "rb", closefd=False) as file:
                content = file.read(limit + 1)
        finally:
            os.close(fd)
        if len(content) > limit:  # it grew
            raise OSError(errno.EFBIG, f"longer than {limit} bytes", path)
        return content

    def write_file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Replace or make the file (its directory exists): a temporary file renamed over it, links not followed."""
        parent, name = self.open_parent(path)
        temporary = f".{name[:200]}.corten-{os.getpid()}"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            fd = os.open(temporary, flags, mode, dir_fd=parent)
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(content)
                    os.fchmod(fd, mode)
                os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=parent)
                raise
        finally:
            os.close(parent)

    def stat(self, path: str, *, follow: bool = True) -> os.stat_result:
        """What `path` (or, without `follow`, a final link itself) is."""
        fd = self.open(path, os.O_PATH, follow=follow)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def exists(self, path: str) -> bool:
        """Whether `path` leads to something."""
        try:
            self.stat(path)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return False
            raise
        return True

    def is_real_directory(self, path: str) -> bool:
        """Whether `path` is a directory and its last part no link: what may be mounted on."""
        try:
            return stat.S_ISDIR(self.stat(path, follow=False).st_mode)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return False
            raise

    def listdir(self, path: str = "/") -> list[str]:
        """Names in a directory, sorted."""
        fd = self.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def open_parent(self, path: str) -> tuple[int, str]:
        """(descriptor of the directory that holds `path`, last part): for *at calls. Close the descriptor."""
        head, _, name = path.rstrip("/").rpartition("/")
        if name in ("", ".", ".."):
            raise OSError(errno.EINVAL, "a name is needed", path)
        return self.open(head or "/", os.O_PATH | os.O_DIRECTORY), name

    def mkdirs(self, path: str, mode: int = 0o755, *, owner: tuple[int, int] | None = None) -> int:
        """Make the directory and those above it (as mkdir -p); an O_PATH descriptor of it, to close.

        Links on the way, dangling ones too, lead inside the root. `owner` (uid, gid) applies to what is made here.
        """
        walk = _Walk(self.fd)
        try:
            walk.go(path, mode, owner)
            return os.dup(walk.here)
        except OSError as error:
            error.filename = path
            raise
        finally:
            walk.close()


class _Walk:
    """A walk down a tree, one descriptor per step, so that `..` goes back where we came from."""

    def __init__(self, root: int) -> None:
        self._steps = [os.dup(root)]
        self._links = 0

    @property
    def here(self) -> int:
        return self._steps[-1]

    def close(self) -> None:
        while self._steps:
            os.close(self._steps.pop())

    def go(self, path: str, mode: int, owner: tuple[int, int] | None) -> None:
        """Walk `path`, making what is missing."""
        todo = path.split("/")[::-1]
        while todo:
            name = todo.pop()
            if name in ("", "."):
                continue
            if name == "..":
                self._up(1)
            elif (target := self._enter(name, mode, owner)) is not None:
                self._links += 1
                if self._links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                if target.startswith("/"):
                    self._up(len(self._steps))
                todo.extend(target.split("/")[::-1])

    def _up(self, count: int) -> None:
        for _ in range(min(count, len(self._steps) - 1)):
            os.close(self._steps.pop())

    def _make(self, name: str, mode: int, owner: tuple[int, int] | None) -> None:
        """A directory with exactly `mode`, whatever the umask; only ever changes a directory, never a link's target."""
        os.mkdir(name, mode, dir_fd=self.here)
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.here)
        try:
            if owner:
                os.fchown(fd, *owner)
            os.fchmod(fd, mode)
        finally:
            os.close(fd)

    def _enter(self, name: str, mode: int, owner: tuple[int, int] | None) -> str | None:
        """Step into `name`, made if missing; or, when it is a link, where it leads."""
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, dir_fd=self.here)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                self._make(name, mode, owner)
            fd = os.open(name, flags, dir_fd=self.here)
        kind = os.fstat(fd).st_mode
        if stat.S_ISDIR(kind):
            self._steps.append(fd)
            return None
        try:
            if not stat.S_ISLNK(kind):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)
            return os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)
