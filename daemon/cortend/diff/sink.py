"""Where a layer's tar goes: hashed, compressed, hashed again and written, in large pieces."""

from __future__ import annotations

import hashlib
import os

from cortend.diff.refusal import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BATCH = 1 << 20
_GZIP = 31
"""zlib's window bits for a gzip header, which has no name and no time: the same layer gives the same bytes."""
_GZIP_LEVEL = 2
_ZSTD_LEVEL = 3


class LayerSink:
    """Takes a tar and writes the layer to `fd`; `finish` says what came out."""

    def __init__(self, fd: int, compression: str) -> None:
        self._fd = fd
        self._compressor = _compressor(compression)
        self._batch = bytearray()
        self._plain = hashlib.sha256()
        self._packed = self._plain if self._compressor is None else hashlib.sha256()
        self._unpacked = 0
        self._size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """More of the tar."""
        self._batch += data
        if len(self._batch) >= _BATCH:
            self._flush()

    def finish(self) -> dict[str, Any]:
        """Write what is left; digests and sizes of both forms."""
        self._flush()
        if self._compressor is not None:
            self._out(self._compressor.flush())
        return {
            "digest": f"sha256:{self._packed.hexdigest()}", "diff_id": f"sha256:{self._plain.hexdigest()}",
            "size": self._size, "unpacked": self._unpacked,
        }  # fmt: skip

    def _flush(self) -> None:
        data, self._batch = self._batch, bytearray()
        self._unpacked += len(data)
        self._plain.update(data)
        if self._compressor is None:
            self._out(data)
        else:
            self._out(self._compressor.compress(data))

    def _out(self, data: bytes | bytearray) -> None:
        if self._compressor is not None:
            self._packed.update(data)
        self._size += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]


def _compressor(compression: str) -> Any:
    if compression == "none":
        return None
    if compression == "gzip":
        from isal import isal_zlib  # loaded already: the child cannot import once it is confined

        return isal_zlib.compressobj(_GZIP_LEVEL, isal_zlib.DEFLATED, _GZIP)
    if compression == "zstd":
        import zstandard  # as above

        return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj()
    raise invalid(f"unknown layer compression {compression!r}")
