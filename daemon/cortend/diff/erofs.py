"""A layer's members become an EROFS image instead of files: see `linux.erofs` and `extract`, whose rules these are.

The tree is kept in memory, by name; contents go into the image as they come. Nothing of the host's file system is
touched but the image, which is open by then, so the child needs no capability at all. The names in a member's path
follow links as they would on disk, within this tree.
"""

from __future__ import annotations

import errno
import os
import stat

from cortend.diff.extract import Extractor, clean
from cortend.diff.limits import Limits
from cortend.diff.refusal import invalid, quote
from cortend.diff.tar import BLOCK_DEVICE, CHAR, DIRECTORY, FIFO, HARD_LINK, REGULAR, SYMLINK, Archive, Member
from cortend.linux import erofs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_TYPES = {
    REGULAR: stat.S_IFREG, SYMLINK: stat.S_IFLNK, CHAR: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO,
    DIRECTORY: stat.S_IFDIR,
}  # fmt: skip
_OPAQUE = b"trusted.overlay.opaque"
_KEPT_XATTRS = (b"user.", b"security.capability", b"system.posix_acl_")
_DROPPED_XATTRS = (b"user.overlay.",)
_WHITEOUT = erofs.entry(0, erofs.UNKNOWN)
"""A name that hides one below; its inode is written in the end."""
_LINKS_MAX = 40


class Erofs(Extractor):
    """Fills an image; `marks` as False: nothing lies below, so whiteouts are left out."""

    def __init__(self, archive: Archive, limits: Limits, image: erofs.Image, *, marks: bool) -> None:
        super().__init__(archive, limits)
        self._image = image
        self._marks = marks
        self._root = _directory()
        self._targets: dict[int, bytes] = {}

    def run(self) -> None:
        """Everything, to the archive's end; then the image is whole."""
        super().run()
        self._hide(self._root)
        self._image.finish(self._root)

    # -- members ----------------------------------------------------------------------------------------------------

    def _write(self, path: bytes, member: Member) -> None:
        if path == b"." and member.kind != DIRECTORY:
            raise invalid("would replace the root")
        try:
            if member.kind == DIRECTORY:
                self._make_directory(path, member)
            elif member.kind == HARD_LINK:
                self._make_link(path, member)
            else:
                self._put(path, self._inode(member))
        except ValueError as error:
            raise invalid(f"is {error}" if member.kind == REGULAR else f"has {error}") from None

    def _inode(self, member: Member) -> int:
        """The member's inode, written; as an entry."""
        mode = _TYPES[member.kind] | member.mode if member.kind != SYMLINK else stat.S_IFLNK | 0o777
        attributes = erofs.Attributes(mode, member.uid, member.gid, member.mtime, _kept(member))
        if member.kind == SYMLINK:
            if not member.link:
                raise invalid("is a symbolic link to nothing")
            nid = self._image.symlink(attributes, member.link)
            self._targets[nid] = member.link
            return erofs.entry(nid, erofs.SYMLINK)
        if member.kind != REGULAR:
            return erofs.entry(self._image.node(attributes, self._device(member)), erofs.KINDS[_TYPES[member.kind]])
        self.size += member.size
        if member.holes is None:
            return erofs.entry(
                self._image.file(attributes, member.size, self._archive.content(member.size)), erofs.FILE
            )
        pieces = self._pieces(member.holes)
        return erofs.entry(self._image.sparse(attributes, member.length, pieces), erofs.FILE)

    def _pieces(self, holes: list[tuple[int, int]]) -> Iterator[tuple[int, memoryview]]:
        for start, count in holes:
            offset = start
            for piece in self._archive.content(count):
                yield offset, piece
                offset += len(piece)

    def _make_directory(self, path: bytes, member: Member) -> None:
        """A directory that is there keeps what it has."""
        found = self._root if path == b"." else self._at(path)
        if not isinstance(found, erofs.Directory):
            hidden = found == _WHITEOUT
            found = _directory()
            self._put(path, found)
            if hidden:
                found.opaque = True
        mode = stat.S_IFDIR | member.mode
        found.attributes = erofs.Attributes(mode, member.uid, member.gid, member.mtime, _kept(member))

    def _make_link(self, path: bytes, member: Member) -> None:
        target = clean(member.link)
        found = self._root if target == b"." else self._at(target)
        if found is None or found == _WHITEOUT:
            raise invalid(f"is a hard link to {quote(member.link)}, which the layer does not have")
        if isinstance(found, erofs.Directory):
            raise invalid(f"is a hard link to the directory {quote(member.link)}")
        nid, kind = found >> 3, found & 7
        types = {number: bits for bits, number in erofs.KINDS.items()}
        mode = types[kind] | (0o777 if kind == erofs.SYMLINK else member.mode)
        # Extended attributes stay those of the first name: an inode cannot grow.
        self._image.change(nid, erofs.Attributes(mode, member.uid, member.gid, member.mtime))
        if self._at(path) != found:
            self._image.linked(nid, 1)
            self._put(path, found)
            if self._at(target) != found:
                raise invalid(f"is a hard link to {quote(member.link)}, which it replaces")

    # -- names ------------------------------------------------------------------------------------------------------

    def _at(self, path: bytes) -> erofs.Directory | int | None:
        """What is there; None for nothing."""
        try:
            parent, name = self._parent(path, make=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return parent.entries.get(name)

    def _put(self, path: bytes, found: erofs.Directory | int) -> None:
        """Give the name to what is new; what has it goes."""
        parent, name = self._parent(path, make=True)
        if len(name) > erofs.NAME_MAX:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        old = parent.entries.get(name)
        if old is not None:
            self._forget(old)
        parent.entries[name] = found

    def _forget(self, old: erofs.Directory | int) -> None:
        """An inode has a name less; one without any stays in the image as waste."""
        todo = [old]
        while todo:
            found = todo.pop()
            if isinstance(found, erofs.Directory):
                todo.extend(found.entries.values())
            elif found != _WHITEOUT:
                self._image.linked(found >> 3, -1)

    def _parent(self, path: bytes, *, make: bool) -> tuple[erofs.Directory, bytes]:
        """The directory that a path's last name is in; `make`: made where it misses, but never behind a link."""
        *above, name = path.split(b"/")
        here = self._root
        for part in above:
            found = here.entries.get(part)
            if not isinstance(found, erofs.Directory):
                return self._parent_by_links(above, path, make=make), name
            here = found
        return here, name

    def _parent_by_links(self, above: list[bytes], path: bytes, *, make: bool) -> erofs.Directory:
        """The way of a path that is not all directories."""
        pending = [(part, False) for part in reversed(above)]
        trail, links = [self._root], 0
        while pending:
            part, linked = pending.pop()
            if part == b"..":
                trail = trail[:-1] or trail
                continue
            if part in (b"", b"."):
                continue
            found = trail[-1].entries.get(part)
            if isinstance(found, int) and found & 7 == erofs.SYMLINK:
                links += 1
                if links > _LINKS_MAX:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                target = self._targets[found >> 3]
                trail = [self._root] if target.startswith(b"/") else trail
                pending.extend((step, True) for step in reversed(target.split(b"/")))
            else:
                trail.append(self._step(trail[-1], part, found, path, make=make and not linked))
        return trail[-1]

    def _step(
        self, here: erofs.Directory, part: bytes, found: erofs.Directory | int | None, path: bytes, *, make: bool
    ) -> erofs.Directory:
        if isinstance(found, erofs.Directory):
            return found
        if not make:
            if found is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if found is not None and found != _WHITEOUT:
            raise invalid(f"lies below {quote(part)}, which is no directory")
        if len(part) > erofs.NAME_MAX:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        made = here.entries[part] = _directory()
        if found == _WHITEOUT:
            made.opaque = True
        return made

    # -- what lies below --------------------------------------------------------------------------------------------

    def white_out(self, path: bytes) -> None:
        """A mark in place of the name; a directory of this layer stays, and hides what is below it."""
        if not self._marks:
            return
        found = self._at(path)
        if found is None:
            self._put(path, _WHITEOUT)
        elif isinstance(found, erofs.Directory):
            found.opaque = True

    def make_opaque(self, path: bytes) -> None:
        """Mark the directory; it is made when missing."""
        if path == b".":
            if self._marks:
                raise invalid("would hide everything below, which overlayfs cannot do for a root")
            return
        directory, _ = self._parent(path + b"/.", make=True)
        if self._marks:
            directory.opaque = True

    def _hide(self, root: erofs.Directory) -> None:
        """Put the marks in: whiteouts as devices 0:0, opaque directories by an attribute."""
        todo = [root]
        while todo:
            directory = todo.pop()
            if directory.opaque:
                attributes = directory.attributes
                attributes.xattrs = {**(attributes.xattrs or {}), _OPAQUE: b"y"}
            for name, found in directory.entries.items():
                if isinstance(found, erofs.Directory):
                    todo.append(found)
                elif found == _WHITEOUT:
                    nid = self._image.node(erofs.Attributes(stat.S_IFCHR))
                    directory.entries[name] = erofs.entry(nid, erofs.CHAR)

    def _set_times(self) -> None:
        """Nothing that is written changes a time."""


def _directory() -> erofs.Directory:
    return erofs.Directory(erofs.Attributes(stat.S_IFDIR | 0o755))


def _kept(member: Member) -> dict[bytes, bytes] | None:
    """As on disk: no commands to overlayfs, no labels of another host."""
    if not member.xattrs:
        return None
    return {
        name: value
        for name, value in member.xattrs.items()
        if name.startswith(_KEPT_XATTRS) and not name.startswith(_DROPPED_XATTRS)
    }
