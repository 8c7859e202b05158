"""Every bound on what others control, in one table: registries, archives, images and clients.

One line per limit: its name, its value, what it bounds. What a user may want to change is a setting in `config.py` and
takes its default from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_INGEST_REF: Final = 1024
"""Characters of an ingest's name."""

# -- registries

MAX_MANIFEST: Final = 4 << 20
"""Bytes of a manifest, index or config (distribution-spec, "Pushing Manifests")."""
MAX_TOKEN_ANSWER: Final = 1 << 20
"""Bytes of a token server's answer."""
MAX_TOKEN: Final = 32 << 10
"""Characters of a token."""
MAX_TOKENS_KEPT: Final = 256
"""Tokens remembered."""
MAX_ERROR_BODY: Final = 64 << 10
"""Bytes of an error's body that are read."""
MAX_CHALLENGE: Final = 8 << 10
"""Characters of a WWW-Authenticate header that are looked at."""
MAX_REDIRECTS: Final = 10
"""How often one request is sent on to another address."""
MAX_HOSTS_FILE: Final = 256 << 10
"""Bytes of a hosts.toml."""
MAX_VERIFIER_OUTPUT: Final = 32 << 10
"""Bytes of an image verifier's output that are looked at (containerd's figure)."""

MAX_PULLED_DOCUMENTS: Final = 2048
"""Indexes, manifests and configs that one pull reads: an index names 1024 at most, and indexes nest."""

MAX_REMOTE_TAGS: Final = 10_000
"""Tags of a repository that are listed."""

PULL_PATIENCE: Final = 120.0
"""Seconds that one pull waits altogether before it goes on with downloads that broke off."""

# -- image documents and archives

MAX_NESTING: Final = 64
"""How deep arrays and objects of a document may be nested."""
MAX_VALUES: Final = 100_000
"""How many values a document may have, by a count of its commas and brackets: a 4 MiB document of nothing else
becomes 200 MB of objects, while an index of 1,024 manifests has some 10,000."""
MAX_ARCHIVED_IMAGES: Final = 1024
"""Images of one docker archive."""
MAX_ARCHIVE_MEMBERS: Final = 10_000
"""Members of an image archive: 512 layers with three files each are far below."""
MAX_ARCHIVE_NAME: Final = 1024
"""Bytes of a member's name or link; with the number of members it bounds the memory that an index takes."""
MAX_ARCHIVE_LINKS: Final = 16
"""Links of an archive that may lead from a name to its file."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What an image may ask for, as far as it is a setting (`[pull.limits]` of the configuration)."""

    document_size: int = MAX_MANIFEST
    """Bytes of a manifest, index or config."""
    index_depth: int = 4
    """How many indexes may stand between a tag and its manifest."""
    layers: int = 512
    """Layers of an image; overlay mounts fewer, in one mount."""
    layer_size: int = 16 << 30
    """Bytes of one unpacked layer."""
    layer_entries: int = 2_000_000
    """Files, directories and links of one layer."""
    layer_ratio: int = 2_000
    """Uncompressed to compressed bytes of a layer that is larger than a gigabyte; gzip cannot exceed 1,032."""


_images = ImageLimits()


def images() -> ImageLimits:
    """The limits in force."""
    return _images


def use(limits: ImageLimits) -> None:
    """Put the configuration's limits in force: called once, before anything is served."""
    global _images
    _images = limits
