"""Archive members become files below the current root, which the child has made the layer's target.

Names are made relative and cleaned lexically; a name that climbs above the root is refused. Links inside the tree are
followed by the kernel for the directories of a name (they cannot lead out: nothing else is mounted), never for its
last part. A member replaces what has its name, except that a directory keeps an existing directory's content.

Whiteouts (OCI image-spec, layer.md): `.wh.NAME` removes NAME of the layers below, `.wh..wh..opq` all that they have in
its directory; neither touches what this layer brings. `Native` removes; `Overlay` writes overlayfs's own marks.
"""

from __future__ import annotations

import errno
import os
import stat

from cortend.diff.limits import Limits
from cortend.diff.refusal import Refusal, exhausted, invalid, quote
from cortend.diff.tar import (
    BLOCK_DEVICE,
    CHAR,
    DIRECTORY,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    Archive,
    Member,
)
from cortend.linux.files import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_WHITEOUT = b".wh."
_AUFS = b".wh..wh."
_OPAQUE = b".wh..wh..opq"
_OVERLAY_OPAQUE = "trusted.overlay.opaque"
_DIRECTORY_MODE = 0o755
_DEFAULT_ACL = b"system.posix_acl_default"
_PERMISSIONS = 0o777
_KEPT_XATTRS = (b"user.", b"security.capability", b"system.posix_acl_")
_DROPPED_XATTRS = (b"user.overlay.",)
_NO_XATTR = {errno.EOPNOTSUPP, errno.EPERM}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Extractor:
    """Writes an archive's members; `size` and `entries` count what was written."""

    def __init__(self, archive: Archive, limits: Limits) -> None:
        self.size = 0
        self.entries = 0
        self._archive = archive
        self._limits = limits
        self._times: dict[bytes, int] = {}
        self._bequeathed = True
        """Whether a new file's group and mode may come from its directory (setgid, a default ACL)."""

    def run(self) -> None:
        """Everything, to the archive's end."""
        self._bequeathed = not self._is_alone()
        while (member := self._archive.next()) is not None:
            self.entries += 1
            if self.entries > self._limits.entries:
                raise exhausted(f"layer has more than {self._limits.entries} entries")
            try:
                self._place(member)
            except OSError as error:
                raise self._explain(member, error) from error
            except Refusal as error:
                raise Refusal(error.code, f"layer entry {quote(member.name)}: {error.message}", error.hint) from None
        self._set_times()

    def _place(self, member: Member) -> None:
        path = clean(member.name)
        if _WHITEOUT not in path:
            self._write(path, member)
            return
        *above, base = path.split(b"/")
        if any(part.startswith(_AUFS) for part in above) or (base.startswith(_AUFS) and base != _OPAQUE):
            return  # AUFS's own bookkeeping, in images of long ago
        if any(part.startswith(_WHITEOUT) for part in above):
            raise invalid("lies below a whiteout")
        if base == _OPAQUE:
            self.make_opaque(b"/".join(above) or b".")
        elif base.startswith(_WHITEOUT):
            if base[len(_WHITEOUT) :] in (b"", b".", b".."):
                raise invalid("is a malformed whiteout")
            self.white_out(b"/".join([*above, base[len(_WHITEOUT) :]]))
        else:
            self._write(path, member)

    def _write(self, path: bytes, member: Member) -> None:
        if path == b"." and member.kind != DIRECTORY:
            raise invalid("would replace the root")
        self._times.pop(path, None)
        if member.kind == REGULAR:
            self._regular(path, member)
        else:
            self._special(path, member)
        self.note(path)

    def _is_alone(self) -> bool:
        """Whether this archive makes every directory there will be, so that what they bequeath is known."""
        return not os.listdir(b".") and not _bequeaths(os.stat(b"."), os.listxattr(b"."))

    def _regular(self, path: bytes, member: Member) -> None:
        # As most files are: root's, without special bits. Such a one is made as it shall be, without two more calls.
        plain = not (member.uid or member.gid or self._bequeathed or member.mode & ~_PERMISSIONS)
        mode = member.mode if plain else 0o600
        try:
            fd = os.open(path, _CREATE, mode)
        except (FileNotFoundError, NotADirectoryError, FileExistsError):
            fd = self._create(path, lambda: os.open(path, _CREATE, mode))
        try:
            self._fill(fd, member)
            if not plain:
                os.fchown(fd, member.uid, member.gid)
                os.fchmod(fd, member.mode)
            if member.xattrs:
                self._xattrs(fd, member, follow=True)
            os.utime(fd, ns=(member.mtime, member.mtime))
        finally:
            os.close(fd)

    def _fill(self, fd: int, member: Member) -> None:
        if member.holes is None:
            for piece in self._archive.content(member.size):
                _write_all(fd, piece)
        else:
            for offset, count in member.holes:
                os.lseek(fd, offset, os.SEEK_SET)
                for piece in self._archive.content(count):
                    _write_all(fd, piece)
            os.ftruncate(fd, member.length)
        self.size += member.size

    def _special(self, path: bytes, member: Member) -> None:
        """Everything that has no content. Modes are set on what is no link, so chmod cannot follow one."""
        kind = member.kind
        if kind == DIRECTORY:
            self._directory(path)
        elif kind == SYMLINK:
            if not member.link:
                raise invalid("is a symbolic link to nothing")
            self._create(path, lambda: os.symlink(member.link, path))
        elif kind == HARD_LINK:
            self._hard_link(path, member)
        else:
            device = self._device(member)
            types = {CHAR: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}
            self._create(path, lambda: os.mknod(path, types[kind] | 0o600, device))
        self._attributes(path, member)

    def _attributes(self, path: bytes, member: Member) -> None:
        os.chown(path, member.uid, member.gid, follow_symlinks=False)
        if not stat.S_ISLNK(os.lstat(path).st_mode):
            os.chmod(path, member.mode)
        if member.xattrs:
            self._xattrs(path, member, follow=False)
        if member.kind == DIRECTORY:
            self._times[path] = member.mtime  # at the end: writing into it changes it
            if member.gid or member.mode & stat.S_ISGID or _DEFAULT_ACL in member.xattrs:
                self._bequeathed = True
        else:
            os.utime(path, ns=(member.mtime, member.mtime), follow_symlinks=False)

    def _directory(self, path: bytes) -> None:
        try:
            if path == b"." or stat.S_ISDIR(os.lstat(path).st_mode):
                return
        except (FileNotFoundError, NotADirectoryError):
            pass
        self._create(path, lambda: os.mkdir(path, 0o700))

    def _device(self, member: Member) -> int:
        if member.kind == FIFO:
            return 0
        if not 0 <= member.major < 1 << 12 or not 0 <= member.minor < 1 << 20:
            raise invalid(f"has the impossible device number {member.major}:{member.minor}")
        if member.kind == CHAR and not member.major and not member.minor:
            raise invalid("is a device 0:0, which overlayfs reads as a deleted file")
        return os.makedev(member.major, member.minor)

    def _hard_link(self, path: bytes, member: Member) -> None:
        target = clean(member.link)
        try:
            found = os.lstat(target)
        except (FileNotFoundError, NotADirectoryError):
            found = None
        if found is None or _is_whiteout(found):
            raise invalid(f"is a hard link to {quote(member.link)}, which the layer does not have")
        if stat.S_ISDIR(found.st_mode):
            raise invalid(f"is a hard link to the directory {quote(member.link)}")
        if _same(path, found):
            return
        self._create(path, lambda: os.link(target, path, follow_symlinks=False))

    def _xattrs(self, where: int | bytes, member: Member, *, follow: bool) -> None:
        for name, value in member.xattrs.items():
            if name.startswith(_DROPPED_XATTRS) or not name.startswith(_KEPT_XATTRS):
                continue  # trusted.overlay.* would be commands to overlayfs; labels of another host mean nothing here
            try:
                os.setxattr(where, name, value, follow_symlinks=follow)
            except OSError as error:
                if error.errno not in _NO_XATTR:
                    raise

    def _create(self, path: bytes, make: Callable[[], Any]) -> Any:
        """Make something new at `path`: parents first if they miss, what is there removed."""
        for _ in range(3):
            try:
                return make()
            except FileNotFoundError:
                self.parents(path)
            except NotADirectoryError:
                self.parents(path)
            except FileExistsError:
                self.replace(path)
        return make()

    def parents(self, path: bytes) -> None:
        """Make the directories above `path`."""
        parts = path.split(b"/")[:-1]
        for count in range(1, len(parts) + 1):
            parent = b"/".join(parts[:count])
            try:
                mode = os.stat(parent).st_mode
            except FileNotFoundError:
                mode = 0
            if not mode or not stat.S_ISDIR(mode):
                self.make_parent(parent)

    def make_parent(self, path: bytes) -> None:
        """One directory that the archive does not list (or not yet); nothing is replaced by it."""
        try:
            os.mkdir(path, _DIRECTORY_MODE)
        except FileExistsError:
            raise invalid(f"lies below {quote(path)}, which is no directory") from None
        self.note(path)

    def replace(self, path: bytes) -> None:
        """Remove what a member takes the name of."""
        remove_tree(path)

    def note(self, path: bytes) -> None:
        """`path` is this layer's."""

    def white_out(self, path: bytes) -> None:
        """Delete `path` as the layers below have it."""
        raise AssertionError(path)

    def make_opaque(self, path: bytes) -> None:
        """Delete what the layers below have in the directory `path`."""
        raise AssertionError(path)

    def _set_times(self) -> None:
        for path, mtime in self._times.items():
            try:
                if stat.S_ISDIR(os.lstat(path).st_mode):
                    os.utime(path, ns=(mtime, mtime), follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                continue  # replaced or removed by a later member

    def _explain(self, member: Member, error: OSError) -> Refusal:
        name = f"layer entry {quote(member.name)}"
        if error.errno in _FULL:
            return exhausted(f"{name}: {error.strerror}", "free space or inodes, then try again")
        if error.errno in (errno.EIO, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
            return Refusal("internal", f"{name}: {error.strerror}")
        return invalid(f"{name}: {error.strerror or error}")


class Native(Extractor):
    """The target holds the layers below as well: whiteouts remove, except what this layer brought."""

    def __init__(self, archive: Archive, limits: Limits) -> None:
        super().__init__(archive, limits)
        self._mine: set[bytes] = set()

    def note(self, path: bytes) -> None:
        """Remember the path, and the directories above it: listed or not, they hold what is this layer's."""
        while path and path not in self._mine:
            self._mine.add(path)
            path = path.rpartition(b"/")[0]

    def replace(self, path: bytes) -> None:
        """Removing forgets; what was below a removed directory may linger in the set, and only ever spares files."""
        self._mine.discard(path)
        remove_tree(path)

    def white_out(self, path: bytes) -> None:
        """Remove the path, or the older part of a directory that is this layer's."""
        try:
            if path not in self._mine:
                remove_tree(path)
            elif stat.S_ISDIR(os.lstat(path).st_mode):
                self._clear(path)
        except NotADirectoryError:
            return

    def make_opaque(self, path: bytes) -> None:
        """Empty the directory; it is made when missing."""
        if path != b".":
            self.parents(path + b"/.")
        self._clear(path)

    def _clear(self, path: bytes) -> None:
        todo = [path]
        while todo:
            directory = todo.pop()
            for name in os.listdir(directory):
                child = clean(directory + b"/" + name)
                if child not in self._mine:
                    remove_tree(child)
                elif stat.S_ISDIR(os.lstat(child).st_mode):
                    todo.append(child)


class Overlay(Extractor):
    """The target is one overlay layer: whiteouts become devices 0:0, opaque directories get overlayfs's attribute."""

    _deleted = b""

    def white_out(self, path: bytes) -> None:
        """A mark in place of the name; a directory of this layer stays, and hides what is below it."""
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            self._create(path, lambda: os.mknod(path, stat.S_IFCHR, 0))
            return
        if stat.S_ISDIR(found.st_mode):
            self._mark(path)

    def make_opaque(self, path: bytes) -> None:
        """Mark the directory; it is made when missing."""
        if path == b".":
            raise invalid("would hide everything below, which overlayfs cannot do for a root")
        self.parents(path + b"/.")
        self._mark(path)

    def make_parent(self, path: bytes) -> None:
        """As the base; a whiteout makes way, and stays in force as the new directory's mark."""
        if os.path.lexists(path) and _is_whiteout(os.lstat(path)):
            os.unlink(path)
            os.mkdir(path, _DIRECTORY_MODE)
            self._mark(path)
        else:
            super().make_parent(path)

    def replace(self, path: bytes) -> None:
        """As the base; a directory in a whiteout's place stays cut off from the layers below."""
        whiteout = _is_whiteout(os.lstat(path))
        super().replace(path)
        if whiteout:
            self._deleted = path

    def _directory(self, path: bytes) -> None:
        self._deleted = b""
        super()._directory(path)
        if self._deleted == path and path != b".":
            self._mark(path)

    def _mark(self, path: bytes) -> None:
        os.setxattr(path, _OVERLAY_OPAQUE, b"y", follow_symlinks=False)


def clean(name: bytes) -> bytes:
    """`name` relative to the root, without empty parts, `.` and `..`; the root itself is `.`."""
    if b"/." not in name and b"//" not in name and name[:1] not in b"/." and name[-1:] != b"/":
        return name  # as nearly all are
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise invalid(f"{quote(name)} leads out of the root")
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts) or b"."


def _write_all(fd: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(fd, piece) :]


def _bequeaths(directory: os.stat_result, xattrs: list[str]) -> bool:
    """Whether files made in the directory differ from what their maker says: setgid or `-o grpid`, a default ACL."""
    return bool(directory.st_gid or directory.st_mode & stat.S_ISGID or _DEFAULT_ACL.decode() in xattrs)


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _same(path: bytes, found: os.stat_result) -> bool:
    """Whether `path` is the very file already."""
    try:
        here = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return (here.st_dev, here.st_ino) == (found.st_dev, found.st_ino)
