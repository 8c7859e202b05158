"""What an image archive holds, on its way into the content store: every byte checked against its digest."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping

from corten_shared import digest as digests
from corten_shared.errors import AlreadyExists, DataLoss, InvalidArgument, NotFound, Unavailable
from corten_shared.models.oci import Descriptor
from cortend.core import limits
from cortend.core.archives import ArchiveReader, Kept, Members, Part
from cortend.core.content import ContentStore
from cortend.services.image_documents import DocumentStore

BLOBS = "blobs/sha256/"
"""Where an OCI layout has its blobs, named by the hex digits of their digests."""

_PIECE = 1 << 20
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


class LayerKeeper:
    """Makes blobs of an archive's large files while it comes, under the load's lease. Blocks; for one thread.

    `ahead` is called once, with the members so far, before the first of them: an archive whose documents come first
    can be made out then. `arrived` is told of each blob.
    """

    def __init__(
        self,
        content: ContentStore,
        ns: str,
        lease: str,
        *,
        ahead: Callable[[Members], None],
        arrived: Callable[[str], None],
    ) -> None:
        self._content = content
        self._ns = ns
        self._lease = lease
        self._ahead = ahead
        self._arrived = arrived
        self._members: Members | None = None
        self._count = 0

    def begin(self, members: Members) -> None:
        """See core.archives.Keeper."""
        self._members = members

    def keep(self, name: str, size: int, read: Callable[[], Iterable[memoryview]]) -> str:
        """See core.archives.Keeper. A file of a layout's `blobs` must be what its name says, and is not read when the
        store has it."""
        if self._members is not None:
            self._ahead(self._members)
            self._members = None
        digest = self._keep(name, size, read)
        self._arrived(digest)
        return digest

    def _keep(self, name: str, size: int, read: Callable[[], Iterable[memoryview]]) -> str:
        expected = _digest_named(name)
        if expected is not None and self._content.adopt(self._ns, expected, lease=self._lease):
            stored = self._content.info(self._ns, expected).size
            if stored != size:
                raise InvalidArgument(f"the archive is damaged: {name} has {size} bytes, not {stored}")
            return expected
        self._count += 1
        ref = f"load-{self._lease}-{self._count}"
        return _ingested(self._content, self._ns, ref, self._lease, read(), size, expected)


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
        self._taken: dict[Part | Kept, str] = {}

    def has(self, name: str) -> bool:
        """Whether the archive has a file of that (normal) name."""
        return name in self._members.parts

    def has_blob(self, digest: str) -> bool:
        """Whether the archive has the blob where OCI layouts have it."""
        return self.has(blob_name(digest))

    def document(self, name: str) -> bytes:
        """A small file; raises InvalidArgument when it is missing or has more bytes than a document may."""
        part = self._part(self._reader.normal(name))
        if part.size > (most := limits.images().document_size):
            raise InvalidArgument(f"{name[:200]} of the archive has {part.size} bytes, more than {most}")
        if isinstance(part, Kept):
            return self._documents.read(self._ns, part.digest)
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

    def _part(self, name: str) -> Part | Kept:
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

    def _compression(self, part: Part | Kept) -> str:
        if isinstance(part, Kept):
            with self._content.open(self._ns, part.digest) as blob:
                head = blob.read(8)
        else:
            self._members.file.seek(part.offset)
            head = self._members.file.read(min(8, part.size))
        return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "none")

    def _take(self, part: Part | Kept, expected: str | None) -> str:
        """The part's digest, once it is a blob under the lease; what the store has is not written again."""
        if isinstance(part, Kept):
            if expected not in (None, part.digest):
                raise InvalidArgument(f"the archive is damaged: a file in it is not {expected}")
            return part.digest
        if (known := self._taken.get(part)) is not None and expected in (None, known):
            return known
        if expected is None or not self._adopt(expected, part.size):
            ref = f"load-{self._lease}-at-{part.offset}"
            pieces = self._pieces(part)
            expected = _ingested(self._content, self._ns, ref, self._lease, pieces, part.size, expected)
        self._taken[part] = expected
        return expected

    def _adopt(self, digest: str, size: int) -> bool:
        if not self._content.adopt(self._ns, digest, lease=self._lease):
            return False
        if (stored := self._content.info(self._ns, digest).size) != size:
            raise InvalidArgument(f"the archive is damaged: {digest} has {stored} bytes, not {size}")
        return True


class Preview(ArchiveContents):
    """The part of an archive that has come: documents are read and kept; layers may come later."""

    def take_blob(self, descriptor: Descriptor) -> None:
        """It is looked at when everything has come."""

    def take_file(self, name: str, diff_id: str) -> tuple[Descriptor, str]:
        """What a docker archive's layer is, only its content says."""
        raise NotFound(f"{name[:200]} has not come yet")


def _ingested(
    content: ContentStore,
    ns: str,
    ref: str,
    lease: str,
    pieces: Iterable[bytes | memoryview],
    size: int,
    expected: str | None,
) -> str:
    """The digest of what was written; what comes of an ingest that fails is dropped."""
    try:
        with content.writer(ns, ref, lease=lease, expected=expected, size=size) as writer:
            writer.truncate(0)
            for piece in pieces:
                writer.write(piece)
            return writer.commit(size, expected)
    except AlreadyExists as error:
        digest = expected or digests.parse(error.subject)
        content.adopt(ns, digest, lease=lease)
        return digest
    except BaseException as error:
        with contextlib.suppress(NotFound, Unavailable):
            content.abort(ns, ref)
        if isinstance(error, DataLoss):
            raise InvalidArgument(f"the archive is damaged: a file in it is not {expected}") from error
        raise


def _digest_named(name: str) -> str | None:
    """The digest that a file of a layout's `blobs` is called by."""
    try:
        return digests.parse(f"sha256:{name.removeprefix(BLOBS)}") if name.startswith(BLOBS) else None
    except InvalidArgument:
        return None


def blob_name(digest: str) -> str:
    """A blob's place in an OCI layout."""
    return BLOBS + digests.hex_part(digest)


