"""Files by descriptor: openat2(2), renameat2(2), syncfs(2), copies that share blocks, removal."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
import sys

from cortend.linux.libc import AT_FDCWD, LIBC, SYS_OPENAT2, check, encode, syscall

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

RENAME_NOREPLACE = 0x1
RENAME_EXCHANGE = 0x2

_WALKED = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

FALLOC_FL_KEEP_SIZE = 0x01

FICLONE = 0x40049409
FS_IOC_GETFLAGS = 0x80086601
FS_IOC_SETFLAGS = 0x40086602
FS_TOPDIR_FL = 0x00020000
_NOT_CLONABLE = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS}
_NO_FLAGS = {errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EPERM, errno.ENOSYS}
_COPY_CHUNK = 1 << 30
_DEEP = 64


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def openat2(
    path: str | bytes, flags: int, *, mode: int = 0, resolve: int = 0, dir_fd: int = AT_FDCWD
) -> int:
    """openat2(2), close-on-exec; tried again while a rename nearby makes the kernel unsure (EAGAIN)."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    raw = ctypes.c_char_p(encode(path))
    for attempt in range(1, 129):
        try:
            return syscall(SYS_OPENAT2, dir_fd, raw, ctypes.byref(how), ctypes.sizeof(how), path=path)
        except BlockingIOError:
            if attempt == 128:
                raise
    raise AssertionError("unreachable")


def renameat2(
    old: str | bytes, new: str | bytes, flags: int, *, old_dir: int = AT_FDCWD, new_dir: int = AT_FDCWD
) -> None:
    """Rename with RENAME_NOREPLACE (FileExistsError instead of replacing) or RENAME_EXCHANGE."""
    raw_old, raw_new = ctypes.c_char_p(encode(old)), ctypes.c_char_p(encode(new))
    check(LIBC.renameat2(old_dir, raw_old, new_dir, raw_new, ctypes.c_uint(flags)), old, new)


def reserve(descriptor: int, size: int) -> None:
    """Have the file's first `size` bytes of disk at hand, whatever its length is and stays (fallocate(2))."""
    length = ctypes.c_int64(size)
    check(LIBC.fallocate64(descriptor, FALLOC_FL_KEEP_SIZE, ctypes.c_int64(0), length), descriptor)


def syncfs(path: str | bytes | int) -> None:
    """Return once everything written to the file system of `path` (or an open descriptor) is on stable storage."""
    if isinstance(path, int):
        check(LIBC.syncfs(path), path)
        return
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        check(LIBC.syncfs(fd), path)
    finally:
        os.close(fd)


def spread_children(directory: str | bytes) -> None:
    """Tell the file system that the directory's children have nothing to do with each other (chattr +T).

    ext4 then puts each into a block group of its own choice, instead of all near to their parent. Where a file system
    does not know the flag, nothing happens.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = int.from_bytes(fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(8))[:4], sys.byteorder)
        if not flags & FS_TOPDIR_FL:
            fcntl.ioctl(fd, FS_IOC_SETFLAGS, (flags | FS_TOPDIR_FL).to_bytes(8, sys.byteorder))
    except OSError as error:
        if error.errno not in _NO_FLAGS:
            raise
    finally:
        os.close(fd)


def sync_directory(path: str | bytes | os.PathLike[str]) -> None:
    """Put the names in a directory on stable storage."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: str | os.PathLike[str], mode: int = 0o700) -> None:
    """Make a directory, and those above it (0755), so that a power cut leaves them; one that exists is fine."""
    missing: list[str] = []
    current = os.path.abspath(path)
    while not os.path.isdir(current):
        missing.append(current)
        current = os.path.dirname(current)
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, mode if directory == missing[0] else 0o755)
        sync_directory(os.path.dirname(directory))


def write_durably(path: str | os.PathLike[str], data: bytes, mode: int = 0o600) -> None:
    """Have the file say `data`, or what it said before, whatever happens: synced, renamed, the directory synced."""
    draft = f"{os.fspath(path)}.new"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    os.rename(draft, path)
    sync_directory(os.path.dirname(os.path.abspath(path)))


def copy_content(source: int, target: int) -> None:
    """Fill the empty file `target` with `source`'s content: shared blocks where possible, holes kept, else copied."""
    try:
        fcntl.ioctl(target, FICLONE, source)
        return
    except OSError as error:
        if error.errno not in _NOT_CLONABLE:
            raise
    size = os.fstat(source).st_size
    position = 0
    while position < size:
        try:
            start = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # nothing but a hole up to the end
                raise
            break
        position = os.lseek(source, start, os.SEEK_HOLE)
        _copy_range(source, target, start, position)
    os.ftruncate(target, size)


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        try:
            count = os.copy_file_range(source, target, min(end - start, _COPY_CHUNK), start, start)
        except OSError as error:
            if error.errno not in _NOT_CLONABLE:
                raise
            count = os.pwrite(target, os.pread(source, min(end - start, 1 << 20), start), start)
        if count == 0:  # the source shrank meanwhile
            return
        start += count


def copy_xattrs(source: int | str | bytes, target: int | str | bytes, *, follow: bool = True) -> None:
    """Copy every extended attribute; those that the target's file system does not have are left out."""
    for name in os.listxattr(source, follow_symlinks=follow):
        value = os.getxattr(source, name, follow_symlinks=follow)
        try:
            os.setxattr(target, name, value, follow_symlinks=follow)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise


def remove_tree(name: str | bytes, *, dir_fd: int | None = None) -> None:
    """Remove a file or a whole directory tree, by descriptor: no link is ever followed. Missing is fine.

    Trees of any depth: what lies deep is hung under the top first, so few descriptors and no deep recursion are needed.
    """
    try:
        top = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=dir_fd)
        return
    try:
        hoisted = [0]
        while _empty(top, top, 0, hoisted):
            pass
    finally:
        os.close(top)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=dir_fd)


def _empty(fd: int, top: int, depth: int, hoisted: list[int]) -> bool:
    """Remove what is in directory `fd`; whether deep directories were moved to `top` meanwhile."""
    moved = False
    with os.scandir(fd) as entries:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_dir in names:
        try:
            if not is_dir:
                os.unlink(name, dir_fd=fd)
            elif depth >= _DEEP:
                hoisted[0] += 1
                os.rename(name, f".corten-hoisted-{hoisted[0]}", src_dir_fd=fd, dst_dir_fd=top)
                moved = True
            else:
                moved |= _empty_child(fd, name, top, depth, hoisted)
        except FileNotFoundError:  # another remover was faster
            continue
    return moved


def _empty_child(fd: int, name: str, top: int, depth: int, hoisted: list[int]) -> bool:
    child = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    try:
        moved = _empty(child, top, depth + 1, hoisted)
    finally:
        os.close(child)
    os.rmdir(name, dir_fd=fd)
    return moved


def kind_of(mode: int) -> str:
    """A word for a file's type, for error texts."""
    names = {
        stat.S_IFREG: "a regular file", stat.S_IFDIR: "a directory", stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a fifo", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    }  # fmt: skip
    return names.get(stat.S_IFMT(mode), "of an unknown type")


def tree_usage(path: str) -> tuple[int, int]:
    """Bytes on disk and inodes of a tree, hard links counted once, without leaving its file system.

    One directory is open at a time, and nothing recurses: how deep a tree is, an image or a container decides. What
    vanishes or moves meanwhile is passed over.
    """
    top = os.lstat(path)
    if not stat.S_ISDIR(top.st_mode):
        return top.st_blocks * 512, 1
    fd = os.open(path, _WALKED)
    try:
        tally = _Tally(os.fstat(fd))
        above = [(tally.top, tally.scan(fd))]
        while above:
            if above[-1][1]:
                child = _enter(above[-1][1].pop(), fd, tally)
                if child >= 0:
                    os.close(fd)
                    fd = child
                    above.append((os.fstat(fd).st_ino, tally.scan(fd)))
                continue
            above.pop()
            if above:
                fd = _leave(fd)
                if os.fstat(fd).st_ino != above[-1][0]:
                    break  # the directory was moved while we were in it
        return tally.size, tally.inodes
    finally:
        os.close(fd)


class _Tally:
    """What was found of one file system."""

    def __init__(self, top: os.stat_result) -> None:
        self.device, self.top = top.st_dev, top.st_ino
        self.size = self.inodes = 0
        self._linked: set[int] = set()
        self.add(top)

    def add(self, found: os.stat_result) -> None:
        """Count an inode."""
        self.size += found.st_blocks * 512
        self.inodes += 1

    def scan(self, fd: int) -> list[str]:
        """Count what is in a directory; the names of the directories there, which are counted when they are opened."""
        directories: list[str] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.name)
                    continue
                with contextlib.suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    if found.st_dev != self.device or found.st_ino in self._linked:
                        continue
                    if found.st_nlink > 1:
                        self._linked.add(found.st_ino)
                    self.add(found)
        return directories


def _enter(name: str, fd: int, tally: _Tally) -> int:
    """The directory, opened and counted; -1 when it is none any more, or of another file system."""
    try:
        child = os.open(name, _WALKED, dir_fd=fd)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return -1
        raise
    found = os.fstat(child)
    if found.st_dev != tally.device:
        os.close(child)
        return -1
    tally.add(found)
    return child


def _leave(fd: int) -> int:
    """The directory above, in its place."""
    parent = os.open("..", _WALKED, dir_fd=fd)
    os.close(fd)
    return parent


def disk_usage(path: str) -> int:
    """Bytes on disk of a tree; none of one that is not there."""
    try:
        return tree_usage(path)[0]
    except FileNotFoundError:
        return 0


