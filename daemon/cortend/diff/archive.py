"""`ArchiveReader`: the members of an image archive, found without unpacking it (runs in the daemon)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from typing import BinaryIO

from corten_shared.errors import InvalidArgument, ResourceExhausted
from cortend.core.archives import Members, Part
from cortend.diff.limits import Limits
from cortend.diff.refusal import Refusal, damaged, exhausted, invalid, quote
from cortend.diff.stream import Layer, Reader
from cortend.diff.tar import DIRECTORY, HARD_LINK, REGULAR, SYMLINK, Archive, Member

MAX_MEMBERS = 10_000
"""Members of an image archive: 512 layers with three files each are far below."""
MAX_NAME = 1024
"""Bytes of a member's name or link; with MAX_MEMBERS it bounds the memory that an index takes."""
MAX_WINDOW = 1 << 24
"""Bytes that a compressed archive's zstd decoder may keep: it runs in the daemon. What `zstd -19` makes needs 8 MiB."""
MAX_HOPS = 16
"""Links that may lead from a name to its file."""

_BLOCK = 1 << 14
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_REFUSED_MAGIC = {b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class TarIndexer:
    """core.archives.ArchiveReader; `limits.data` bounds the unpacked archive, `limits.entries` its members."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits(entries=MAX_MEMBERS, window=MAX_WINDOW)

    def index(self, file: BinaryIO, scratch: Callable[[], BinaryIO]) -> Members:
        """See ArchiveReader."""
        try:
            plain = self._plain(file, scratch)
            try:
                return Members(plain, self._members(plain))
            except BaseException:
                plain.close()
                raise
        except Refusal as error:
            message = error.message.replace("layer entry", "entry", 1)
            raise InvalidArgument(f"the image archive is refused: {message}") from None
        except OSError as error:
            if error.errno in _DISK_FULL:
                raise ResourceExhausted("no space left on device while unpacking an image archive") from error
            raise

    def normal(self, name: str) -> str:
        """See ArchiveReader."""
        try:
            return _normal(name.encode("utf-8", "surrogateescape"))
        except (Refusal, UnicodeEncodeError):
            raise InvalidArgument(f"the image archive names a path that leads out of it: {name[:200]!r}") from None

    def _plain(self, file: BinaryIO, scratch: Callable[[], BinaryIO]) -> BinaryIO:
        fd = file.fileno()
        head = os.pread(fd, 8, 0)
        for magic, name in _REFUSED_MAGIC.items():
            if head.startswith(magic):
                raise Refusal("invalid_argument", f"compressed with {name}, use gzip or zstd")
        compression = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")
        if not compression:
            return file
        os.lseek(fd, 0, os.SEEK_SET)
        plain = scratch()
        try:
            for chunk in Layer(fd, compression, self._limits, lambda read: None).chunks():
                plain.write(chunk)
            plain.flush()
        except BaseException:
            plain.close()
            raise
        return plain

    def _members(self, file: BinaryIO) -> dict[str, Part]:
        reader = _SeekingReader(file.fileno())
        archive = Archive(reader, self._limits)
        parts: dict[str, Part] = {}
        links: dict[str, str] = {}
        count = 0
        while (member := archive.next()) is not None:
            count += 1
            if count > self._limits.entries:
                raise exhausted(f"more than {self._limits.entries} members")
            name = _checked(member)
            if member.kind == DIRECTORY:
                continue
            if name in parts or name in links:
                raise invalid(f"{quote(member.name)} comes twice")
            if member.kind == REGULAR:
                parts[name] = Part(reader.position, member.size)
            else:
                links[name] = _target(member, name)
        if not count:
            raise damaged("it has no members")
        return {**parts, **_resolved(parts, links)}


class _SeekingReader(Reader):
    """Reads a file from its start, and passes over content without reading it."""

    def __init__(self, fd: int) -> None:
        super().__init__(self._blocks())
        self._fd = fd
        self._offset = 0
        self._size = os.fstat(fd).st_size

    def skip(self, size: int) -> None:
        """Pass over `size` bytes; damage when the file ends before."""
        target = self.position + size
        if target > self._size:
            raise damaged("archive ends in the middle of a member")
        self._at += size
        if self._at > len(self._chunk):
            self._chunk, self._at = b"", 0
            self._offset = target
        self.position = target

    def _blocks(self) -> Iterator[bytes]:
        while block := os.pread(self._fd, _BLOCK, self._offset):
            self._offset += len(block)
            yield block


def _checked(member: Member) -> str:
    """The member's normal name, if it is a kind of member that an image archive may have."""
    if len(member.name) > MAX_NAME or len(member.link) > MAX_NAME:
        raise invalid(f"{quote(member.name)}: a name longer than {MAX_NAME} bytes")
    if member.kind not in (REGULAR, DIRECTORY, SYMLINK, HARD_LINK):
        raise invalid(f"{quote(member.name)} is a device or a pipe, which image archives do not have")
    if member.holes is not None:
        raise invalid(f"{quote(member.name)} is a sparse file, which image archives do not have")
    name = _normal(member.name)
    if not name and member.kind != DIRECTORY:
        raise invalid(f"{quote(member.name)} is no name of a file")
    return name


def _normal(name: bytes) -> str:
    if name.startswith(b"/"):
        raise invalid(f"{quote(name)} is an absolute path")
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise invalid(f"{quote(name)} leads out of its directory")
    return b"/".join(parts).decode("utf-8", "surrogateescape")


def _target(member: Member, name: str) -> str:
    """The name that a link stands for: a symbolic one counts from its own directory, a hard one from the root."""
    if member.link.startswith(b"/"):
        raise invalid(f"the link {quote(member.name)} leads out of the archive")
    at = name.split("/")[:-1] if member.kind == SYMLINK else []
    for part in member.link.decode("utf-8", "surrogateescape").split("/"):
        if part == "..":
            if not at:
                raise invalid(f"the link {quote(member.name)} leads out of the archive")
            at.pop()
        elif part not in ("", "."):
            at.append(part)
    return "/".join(at)


def _resolved(parts: dict[str, Part], links: dict[str, str]) -> dict[str, Part]:
    """The files behind the links; a link to nothing is left out, and missed only where somebody needs it."""
    found: dict[str, Part] = {}
    for name in links:
        at = name
        for _ in range(MAX_HOPS):
            if at not in links:
                break
            at = links[at]
        else:
            raise invalid(f"the link {quote(name.encode('utf-8', 'surrogateescape'))} leads in a circle")
        if at in parts:
            found[name] = parts[at]
    return found
