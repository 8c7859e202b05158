"""`ArchiveReader`: the members of an image archive, found as it comes (runs in the daemon)."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import BinaryIO

from corten_shared.errors import InvalidArgument, ResourceExhausted
from cortend.core.archives import Keeper, Kept, Members, Part
from cortend.core.limits import MAX_ARCHIVE_LINKS, MAX_ARCHIVE_MEMBERS, MAX_ARCHIVE_NAME
from cortend.diff.limits import Limits
from cortend.diff.refusal import Refusal, damaged, exhausted, invalid, quote
from cortend.diff.stream import Reader
from cortend.diff.tar import DIRECTORY, HARD_LINK, REGULAR, SYMLINK, Archive, Member

LARGE = 1 << 20
"""Bytes from which a file is no document, and not spooled."""
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class TarIndexer:
    """core.archives.ArchiveReader; `limits.data` bounds the unpacked archive, `limits.entries` its members."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits(entries=MAX_ARCHIVE_MEMBERS)

    def take(self, chunks: Iterable[bytes], spool: BinaryIO, keeper: Keeper) -> Members:
        """See ArchiveReader."""
        try:
            stream = iter(chunks)
            members = Members(spool, {})
            keeper.begin(members)
            self._read(Archive(Reader(stream), self._limits), members, keeper)
            spool.flush()
            for _ in stream:  # what comes after the end; whoever sends it waits until it is read
                pass
            return members
        except Refusal as error:
            message = error.message.replace("layer entry", "entry", 1)
            raise InvalidArgument(f"the image archive is refused: {message}") from None
        except OSError as error:
            if error.errno in _DISK_FULL:
                raise ResourceExhausted("no space left on device while an image archive came in") from error
            raise

    def normal(self, name: str) -> str:
        """See ArchiveReader."""
        try:
            return _normal(name.encode("utf-8", "surrogateescape"))
        except (Refusal, UnicodeEncodeError):
            raise InvalidArgument(f"the image archive names a path that leads out of it: {name[:200]!r}") from None

    def _read(self, archive: Archive, members: Members, keeper: Keeper) -> None:
        parts = members.parts
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
                parts[name] = _content(archive, member, name, members.file, keeper)
            else:
                links[name] = _target(member, name)
        if not count:
            raise damaged("it has no members")
        parts.update(_resolved(parts, links))


def _content(archive: Archive, member: Member, name: str, spool: BinaryIO, keeper: Keeper) -> Part | Kept:
    """Where the member's content went."""
    if member.size >= LARGE and (digest := keeper.keep(name, member.size, lambda: archive.content(member.size))):
        return Kept(digest, member.size)
    offset = spool.seek(0, 2)
    for piece in archive.content(member.size):
        spool.write(piece)
    return Part(offset, member.size)


def _checked(member: Member) -> str:
    """The member's normal name, if it is a kind of member that an image archive may have."""
    if len(member.name) > MAX_ARCHIVE_NAME or len(member.link) > MAX_ARCHIVE_NAME:
        raise invalid(f"{quote(member.name)}: a name longer than {MAX_ARCHIVE_NAME} bytes")
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


def _resolved(parts: dict[str, Part | Kept], links: dict[str, str]) -> dict[str, Part | Kept]:
    """The files behind the links; a link to nothing is left out, and missed only where somebody needs it."""
    found: dict[str, Part | Kept] = {}
    for name in links:
        at = name
        for _ in range(MAX_ARCHIVE_LINKS):
            if at not in links:
                break
            at = links[at]
        else:
            raise invalid(f"the link {quote(name.encode('utf-8', 'surrogateescape'))} leads in a circle")
        if at in parts:
            found[name] = parts[at]
    return found
