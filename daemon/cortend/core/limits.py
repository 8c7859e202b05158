"""Every bound on what others control, in one table: registries, archives, images and clients.

One line per limit: its name, its value, what it bounds. What a user may want to change is a setting in `config.py` and
takes its default from here.
"""

from __future__ import annotations

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
