"""A layer's bytes: read, inflated, hashed, counted, and handed out without needless copies."""

from __future__ import annotations

import hashlib
import os

from cortend.diff.limits import Limits
from cortend.diff.refusal import Refusal, damaged, exhausted, invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

READ_SIZE = 1 << 18
INFLATE_SIZE = 1 << 19
_ZSTD_EXPANSION = 1 << 15
"""zstd has no bound on what one call returns, but its input has: a block of 4 bytes stands for 128 KiB at most."""
_GZIP_MAGIC = b"\x1f\x8b"


class Layer:
    """The uncompressed bytes of the layer on `fd`, in chunks; `diff_id` is final once they are exhausted."""

    def __init__(self, fd: int, compression: str, limits: Limits, progress: Callable[[int], None]) -> None:
        self.read = 0
        self.size = 0
        self._fd = fd
        self._limits = limits
        self._progress = progress
        self._hash = hashlib.sha256()
        decoders = {"none": self._raw, "gzip": self._gzip, "zstd": self._zstd}
        if compression not in decoders:
            raise invalid(f"unknown layer compression {compression!r}")
        self._decoded = decoders[compression]()

    @property
    def diff_id(self) -> str:
        """`sha256:…` of the uncompressed bytes handed out so far."""
        return f"sha256:{self._hash.hexdigest()}"

    def chunks(self) -> Iterator[bytes]:
        """The bytes; each chunk is counted and hashed before it is given away."""
        limits = self._limits
        for chunk in self._decoded:
            self.size += len(chunk)
            if self.size > limits.data:
                raise exhausted(f"layer is larger than {limits.data} bytes unpacked")
            if self.size > limits.ratio_floor and self.size > self.read * limits.ratio:
                raise exhausted(f"layer expands more than {limits.ratio} times")
            self._hash.update(chunk)
            yield chunk

    def _pull(self, size: int = READ_SIZE) -> bytes:
        block = os.read(self._fd, size)
        self.read += len(block)
        self._progress(self.read)
        return block

    def _raw(self) -> Iterator[bytes]:
        while block := self._pull():
            yield block

    def _gzip(self) -> Iterator[bytes]:
        from isal import igzip_lib  # now: the child cannot import once it is confined

        return self._gzip_members(igzip_lib)

    def _gzip_members(self, isal: Any) -> Iterator[bytes]:
        """Every member; zeros after the last one are padding, anything else is damage."""
        block = self._pull()
        while True:
            member = isal.IgzipDecompressor(flag=isal.DECOMP_GZIP)
            while not member.eof:
                if member.needs_input and not (block := block or self._pull()):
                    raise damaged("gzip stream ends early")
                try:
                    out = member.decompress(block, INFLATE_SIZE)
                except isal.IsalError as error:
                    raise damaged(f"gzip stream is damaged: {error}") from None
                block = b""
                if out:
                    yield out
            block = self._after(member.unused_data, _GZIP_MAGIC, "gzip")
            if not block:
                return

    def _zstd(self) -> Iterator[bytes]:
        import zstandard  # now, as above

        decoder = zstandard.ZstdDecompressor(max_window_size=self._limits.window)
        return self._zstd_frames(decoder, zstandard.ZstdError)

    def _zstd_frames(self, decoder: Any, error_type: type[Exception]) -> Iterator[bytes]:
        """Every frame, skippable ones too."""
        step = self._limits.window // _ZSTD_EXPANSION
        block = self._pull()
        while True:
            frame, at = decoder.decompressobj(), 0
            while not frame.eof:
                if at >= len(block):
                    block, at = self._pull(), 0
                if not block:
                    raise damaged("zstd stream ends early")
                try:
                    out = frame.decompress(block[at : at + step])
                except error_type as error:
                    raise self._undecodable(error) from None
                at += step
                if out:
                    yield out
            block = self._after(frame.unused_data + block[at:], b"", "zstd")
            if not block:
                return

    def _undecodable(self, error: Exception) -> Refusal:
        if "memory" in str(error):
            return invalid(f"its zstd stream needs a window of more than {self._limits.window} bytes")
        return damaged(f"zstd stream is damaged: {error}")

    def _after(self, rest: bytes, magic: bytes, name: str) -> bytes:
        """What follows a finished member: the next one's start, or nothing (after padding of zeros)."""
        while len(rest) < 4:
            block = self._pull()
            if not block:
                break
            rest += block
        if not rest.startswith(b"\0") and rest:
            if not rest.startswith(magic):
                raise damaged(f"{name} stream is followed by something else")
            return rest
        while rest:
            if rest.strip(b"\0"):
                raise damaged(f"{name} stream is followed by something else")
            rest = self._pull()
        return b""


class Reader:
    """Exact reads over chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._at = 0
        self.position = 0

    def take(self, size: int) -> bytes:
        """Exactly `size` bytes (small: a copy); damage when the stream ends before."""
        data = self.take_or_end(size)
        if len(data) < size:
            raise damaged("archive ends in the middle of a member")
        return data

    def take_or_end(self, size: int) -> bytes:
        """`size` bytes, fewer only at the stream's end."""
        at = self._at
        data = self._chunk[at : at + size]
        if len(data) == size:  # nearly always: a chunk is long
            self._at = at + size
            self.position += size
            return data
        self._at = at + len(data)
        while len(data) < size and self._fill():
            more = self._chunk[: size - len(data)]
            self._at = len(more)
            data += more
        self.position += len(data)
        return data

    def pieces(self, size: int) -> Iterable[memoryview]:
        """`size` bytes as views of whole chunks."""
        at = self._at
        if not 0 < size <= len(self._chunk) - at:
            return self._pieces(size)
        self._at = at + size
        self.position += size
        return (memoryview(self._chunk)[at : at + size],)

    def _pieces(self, size: int) -> Iterator[memoryview]:
        while size:
            if self._at >= len(self._chunk) and not self._fill():
                raise damaged("archive ends in the middle of a member")
            piece = memoryview(self._chunk)[self._at : self._at + size]
            self._at += len(piece)
            self.position += len(piece)
            size -= len(piece)
            yield piece

    def skip(self, size: int) -> None:
        """Pass over `size` bytes."""
        if size <= len(self._chunk) - self._at:
            self._at += size
            self.position += size
            return
        for _ in self._pieces(size):
            pass

    def drain(self) -> None:
        """Read, and so hash, everything that is left."""
        self._at = len(self._chunk)
        while self._fill():
            pass

    def _fill(self) -> bool:
        """The next chunk that is not empty, from its start; False at the end."""
        for chunk in self._chunks:
            if chunk:
                self._chunk, self._at = chunk, 0
                return True
        self._chunk, self._at = b"", 0
        return False
