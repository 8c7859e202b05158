"""What a client uploads into a container: any compression that docker takes, decoded in this process.

No decompressor is ever started as a program: in a container's root its name would mean the container's file.
"""

from __future__ import annotations

import bz2
import lzma
import os
import stat

from cortend.diff.extract import Extractor, clean
from cortend.diff.limits import Limits
from cortend.diff.refusal import damaged, invalid
from cortend.diff.stream import INFLATE_SIZE, READ_SIZE, Layer
from cortend.diff.tar import DIRECTORY, Archive, Member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_XZ_MEMORY = 256 << 20
_LONGEST_MAGIC = 6


class Upload(Layer):
    """As Layer, with the compression found out from the first bytes; bzip2 and xz too."""

    def __init__(self, fd: int, limits: Limits) -> None:
        super().__init__(fd, "none", limits, lambda read: None)
        self._ahead = b""
        while len(self._ahead) < _LONGEST_MAGIC and (more := os.read(fd, _LONGEST_MAGIC - len(self._ahead))):
            self._ahead += more
        self.read = len(self._ahead)
        self._decoded = self._decoder()

    def _decoder(self) -> Iterator[bytes]:
        head = self._ahead
        if head.startswith(b"\x1f\x8b"):
            return self._gzip()
        if head.startswith(b"\x28\xb5\x2f\xfd"):
            return self._zstd()
        if head.startswith(b"BZh"):
            return self._standard("bzip2", bz2.BZ2Decompressor)
        if head.startswith(b"\xfd7zXZ\0"):
            return self._standard("xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY))
        return self._raw()

    def _pull(self, size: int = READ_SIZE) -> bytes:
        if self._ahead:
            block, self._ahead = self._ahead, b""
            return block
        return super()._pull(size)

    def _standard(
        self, name: str, start: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]
    ) -> Iterator[bytes]:
        """Every stream of a file that one of Python's own decompressors reads."""
        block = self._pull()
        while block:
            stream = start()
            while not stream.eof:
                if stream.needs_input and not (block := block or self._pull()):
                    raise damaged(f"{name} stream ends early")
                try:
                    out = stream.decompress(block, INFLATE_SIZE)
                except (lzma.LZMAError, OSError, ValueError) as error:
                    raise damaged(f"{name} stream is damaged: {error}") from None
                block = b""
                if out:
                    yield out
            block = (stream.unused_data or self._pull()).lstrip(b"\0")


class InPlace(Extractor):
    """Unpacks over what is there: no whiteouts, whatever the names; `owner` (uid, gid) owns everything made."""

    def __init__(self, archive: Archive, limits: Limits, *, keep_kinds: bool, owner: tuple[int, int] | None) -> None:
        super().__init__(archive, limits)
        self._keep_kinds = keep_kinds
        self._owner = owner

    def _is_alone(self) -> bool:
        """Never: the container lives on."""
        return False

    def _place(self, member: Member) -> None:
        path = clean(member.name)
        if path == b"." and member.kind == DIRECTORY:
            return  # the directory that was asked for stays as it is
        if self._keep_kinds:
            _check_kind(path, member)
        if self._owner:
            member.uid, member.gid = self._owner
        self._write(path, member)


def _check_kind(path: bytes, member: Member) -> None:
    try:
        is_directory = stat.S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return
    if is_directory and member.kind != DIRECTORY:
        raise invalid("cannot overwrite directory with non-directory")
    if not is_directory and member.kind == DIRECTORY:
        raise invalid("cannot overwrite non-directory with directory")
