"""What an image archive holds, on its way into the content store: every byte checked against its digest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from corten_shared import digest as digests
from corten_shared.errors import AlreadyExists, DataLoss, InvalidArgument, NotFound, Unavailable
from corten_shared.models.oci import Descriptor
from cortend.core.archives import ArchiveReader, Members, Part
from cortend.core.content import ContentStore, IngestWriter
from cortend.services.image_documents import MAX_DOCUMENT, DocumentStore

BLOBS = "blobs/sha256/"
"""Where an OCI layout has its blobs, named by the hex digits of their digests."""

_PIECE = 1 << 20
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


class ArchiveContents:
    """One archive, read for one load: what is kept goes under the lease. Blocks; for one thread at a time."""

    def __init__(
        self,
        members: Members,
        reader: ArchiveReader,
        content: ContentStore,
        documents: DocumentStore,
        ns: str,
        lease: str,
    ) -> None:
        self._members = members
        self._reader = reader
        self._content = content
        self._documents = documents
        self._ns = ns
        self._lease = lease
        self._taken: dict[Part, str] = {}

    def has(self, name: str) -> bool:
        """Whether the archive has a file of that (normal) name."""
        return name in self._members.parts

    def has_blob(self, digest: str) -> bool:
        """Whether the archive has the blob where OCI layouts have it."""
        return self.has(blob_name(digest))

    def document(self, name: str) -> bytes:
        """A small file; raises InvalidArgument when it is missing or has more than MAX_DOCUMENT bytes."""
        part = self._part(self._reader.normal(name))
        if part.size > MAX_DOCUMENT:
            raise InvalidArgument(f"{name[:200]} of the archive has {part.size} bytes, more than {MAX_DOCUMENT}")
        return b"".join(self._pieces(part))

    def described(self, descriptor: Descriptor) -> bytes:
        """The document that a descriptor names; raises InvalidArgument when it is not what the descriptor says."""
        name = blob_name(descriptor.digest)
        self._check_size(descriptor)
        data = self.document(name)
        if digests.of(data) != descriptor.digest:
            raise InvalidArgument(f"the archive is damaged: {name} has the digest {digests.of(data)}")
        return data

    def keep(self, digest: str, data: bytes, labels: Mapping[str, str]) -> None:
        """Keep a document that was read here, or made of what was."""
        self._documents.store(self._ns, digest, data, labels, self._lease)

    def take_blob(self, descriptor: Descriptor) -> None:
        """Have a layout's blob in the content store. Raises InvalidArgument: missing, or not what it is said to be."""
        self._check_size(descriptor)
        self._take(self._part(blob_name(descriptor.digest)), descriptor.digest)

    def take_file(self, name: str, diff_id: str) -> tuple[Descriptor, str]:
        """Have a docker archive's layer in the content store; its descriptor (of no media type yet), and compression.

        A layer that is not compressed must have `diff_id`. Raises as take_blob.
        """
        part = self._part(self._reader.normal(name))
        compression = self._compression(part)
        digest = self._take(part, diff_id if compression == "none" else None)
        return Descriptor(mediaType="", digest=digest, size=part.size), compression

    # -- bytes ------------------------------------------------------------------------------------------------------

    def _part(self, name: str) -> Part:
        part = self._members.parts.get(name)
        if part is None:
            raise InvalidArgument(f"the archive is not whole: {name[:200]!r} is missing")
        return part

    def _check_size(self, descriptor: Descriptor) -> None:
        name = blob_name(descriptor.digest)
        if (size := self._part(name).size) != descriptor.size:
            raise InvalidArgument(f"the archive is damaged: {name} has {size} bytes, not {descriptor.size}")

    def _pieces(self, part: Part) -> Iterator[bytes]:
        file, left = self._members.file, part.size
        file.seek(part.offset)
        while left:
            piece = file.read(min(_PIECE, left))
            if not piece:
                raise InvalidArgument("the archive became shorter while it was read")
            left -= len(piece)
            yield piece

    def _compression(self, part: Part) -> str:
        self._members.file.seek(part.offset)
        head = self._members.file.read(min(8, part.size))
        return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "none")

    def _take(self, part: Part, expected: str | None) -> str:
        """The part's digest, once it is a blob under the lease; what the store has is not written again."""
        if (known := self._taken.get(part)) is not None and expected in (None, known):
            return known
        if expected is None or not self._adopt(expected, part.size):
            expected = self._copy(part, expected)
        self._taken[part] = expected
        return expected

    def _adopt(self, digest: str, size: int) -> bool:
        if not self._content.adopt(self._ns, digest, lease=self._lease):
            return False
        if (stored := self._content.info(self._ns, digest).size) != size:
            raise InvalidArgument(f"the archive is damaged: {digest} has {stored} bytes, not {size}")
        return True

    def _copy(self, part: Part, expected: str | None) -> str:
        ref = f"load-{self._lease}-{part.offset}"
        try:
            with (
                self._dropped(ref),
                self._content.writer(self._ns, ref, lease=self._lease, expected=expected, size=part.size) as writer,
            ):
                return self._fill(writer, part, expected)
        except AlreadyExists as error:
            digest = expected or digests.parse(error.subject)
            self._content.adopt(self._ns, digest, lease=self._lease)
            return digest
        except DataLoss as error:
            raise InvalidArgument(f"the archive is damaged: a file in it is not {expected}") from error

    def _fill(self, writer: IngestWriter, part: Part, expected: str | None) -> str:
        writer.truncate(0)
        for piece in self._pieces(part):
            writer.write(piece)
        return writer.commit(part.size, expected)

    @contextlib.contextmanager
    def _dropped(self, ref: str) -> Iterator[None]:
        """What came of an ingest that fails is not worth keeping."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(NotFound, Unavailable):
                self._content.abort(self._ns, ref)
            raise


def blob_name(digest: str) -> str:
    """A blob's place in an OCI layout."""
    return BLOBS + digests.hex_part(digest)


