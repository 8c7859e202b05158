"""Content digests: `sha256:<64 lower-case hex>`.

The grammar is checked before a digest is used for anything, above all before it becomes part
of a path (OCI image-spec, descriptor.md, "Digests"). Only sha256 is accepted: it is the one
algorithm that every registry and engine speaks; sha512 gets a clear word.
"""

from __future__ import annotations

import hashlib
import re

from corten_shared.errors import InvalidArgument

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}\Z")


def is_digest(text: str) -> bool:
    """Whether `text` is a well-formed sha256 digest."""
    return _SHA256.match(text) is not None


def parse(text: object) -> str:
    """`text` itself when it is a digest we accept; raises InvalidArgument otherwise."""
    if isinstance(text, str) and is_digest(text):
        return text
    shown = repr(text)[:100]
    if isinstance(text, str) and text.startswith("sha512:"):
        raise InvalidArgument(f"unsupported digest algorithm: {shown}", hint="corten stores sha256 content only")
    raise InvalidArgument(f"invalid digest {shown}", hint="a digest is 'sha256:' and 64 lower-case hex digits")


def hex_part(digest: str) -> str:
    """The 64 hex digits of a digest (validated)."""
    return parse(digest)[7:]


def of(data: bytes) -> str:
    """The digest of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def chain_ids(diff_ids: list[str]) -> list[str]:
    """The chain id of every prefix of `diff_ids` (OCI image-spec, config.md, "Layer ChainID").

    The first is the first diff id itself; each further one is the digest of
    "<previous chain id> <diff id>". Chain ids name the committed snapshots of an image.
    """
    chain: list[str] = []
    for diff_id in diff_ids:
        parse(diff_id)
        chain.append(of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain
