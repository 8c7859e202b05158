"""The child that makes an EROFS image of a directory (an overlay's upper one): started by `erofs`.

    python -I -S -c START package_path source image parent_pid

It reads by descriptor, follows no link and opens nothing but regular files and directories. Holes stay holes, hard
links stay links, whiteouts and opaque marks stay as overlayfs wrote them; the rest of what overlayfs notes in
attributes (`origin`, `impure`) would be wrong in a lower layer and is left out.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

from cortend.linux import erofs
from cortend.linux.privileges import die_with_parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OVERLAY, _OPAQUE = "trusted.overlay.", "trusted.overlay.opaque"
_BLOCK = 1 << 20


def main(argv: list[str]) -> None:
    """Make it; 74 (EX_IOERR) for a full disk, 1 for anything else, the reason on stderr."""
    source, image, parent = argv
    try:
        die_with_parent(9, int(parent))
        fd = os.open(image, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o400)
        pack(source, fd)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(os.EX_IOERR if error.errno in (errno.ENOSPC, errno.EDQUOT) else 1)
    except (ValueError, MemoryError) as error:
        sys.exit(str(error) or "out of memory")


def pack(source: str, fd: int) -> None:
    """Write an image of what is in the directory `source` to the empty file `fd`."""
    image = erofs.Image(fd)
    top = os.open(source, _DIRECTORY)
    root = erofs.Directory(_attributes(os.fstat(top), _xattrs_of(top)))
    _Packer(image).run(top, root)
    image.finish(root)


class _Packer:
    def __init__(self, image: erofs.Image) -> None:
        self._image = image
        self._seen: dict[tuple[int, int], int] = {}

    def run(self, top: int, root: erofs.Directory) -> None:
        """An explicit stack: the depth of the tree is a container's choice. A level holds one descriptor."""
        levels = [(top, root, iter(os.listdir(top)))]
        try:
            while levels:
                fd, directory, names = levels[-1]
                name = next(names, None)
                if name is None:
                    os.close(levels.pop()[0])
                    continue
                found = os.lstat(name, dir_fd=fd)
                if stat.S_ISDIR(found.st_mode):
                    below = os.open(name, _DIRECTORY, dir_fd=fd)
                    made = erofs.Directory(_attributes(found, _xattrs_of(below)))
                    directory.entries[os.fsencode(name)] = made
                    levels.append((below, made, iter(os.listdir(below))))
                else:
                    directory.entries[os.fsencode(name)] = self._entry(fd, name, found)
        finally:
            for fd, _, _ in levels:
                os.close(fd)

    def _entry(self, directory: int, name: str, found: os.stat_result) -> int:
        key = (found.st_dev, found.st_ino)
        kind = erofs.KINDS[stat.S_IFMT(found.st_mode)]
        if found.st_nlink > 1 and key in self._seen:
            self._image.linked(self._seen[key], 1)
            return erofs.entry(self._seen[key], kind)
        nid = self._inode(directory, name, found)
        if found.st_nlink > 1:
            self._seen[key] = nid
        return erofs.entry(nid, kind)

    def _inode(self, directory: int, name: str, found: os.stat_result) -> int:
        if stat.S_ISREG(found.st_mode):
            fd = os.open(name, _READ, dir_fd=directory)
            try:
                return self._file(fd)
            finally:
                os.close(fd)
        # Not opened, so named through its directory: /proc/self/fd is the only way to the attributes of such a file.
        attributes = _attributes(found, _xattrs_of(f"/proc/self/fd/{directory}/{name}", follow=False))
        if stat.S_ISLNK(found.st_mode):
            return self._image.symlink(attributes, os.fsencode(os.readlink(name, dir_fd=directory)))
        return self._image.node(attributes, found.st_rdev)

    def _file(self, fd: int) -> int:
        found = os.fstat(fd)
        attributes = _attributes(found, _xattrs_of(fd))
        size = found.st_size
        if size and found.st_blocks * 512 < size and os.lseek(fd, 0, os.SEEK_HOLE) < size:
            return self._image.sparse(attributes, size, _pieces(fd, size))
        if size < erofs.BLOCK:
            return self._image.file(attributes, size, [os.pread(fd, size, 0).ljust(size, b"\0")])
        return self._image.copied(attributes, size, lambda image, at: _copy(fd, image, at, size))


def _copy(source: int, image: int, at: int, size: int) -> None:
    """By the kernel, which shares blocks where the file system can; a file that shrinks meanwhile ends in zeros."""
    position = 0
    while position < size:
        count = os.copy_file_range(source, image, min(size - position, 1 << 30), position, at + position)
        if not count:
            return
        position += count


def _pieces(fd: int, size: int) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < size:
        try:
            position = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            raise
        end = min(os.lseek(fd, position, os.SEEK_HOLE), size)
        while position < end:
            piece = os.pread(fd, min(end - position, _BLOCK), position)
            if not piece:
                return
            yield position, piece
            position += len(piece)


def _attributes(found: os.stat_result, xattrs: dict[bytes, bytes]) -> erofs.Attributes:
    return erofs.Attributes(found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns, xattrs)


def _xattrs_of(where: int | str, *, follow: bool = True) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name in os.listxattr(where, follow_symlinks=follow):
        if name.startswith(_OVERLAY) and name != _OPAQUE:
            continue
        found[os.fsencode(name)] = os.getxattr(where, name, follow_symlinks=follow)
    return found
