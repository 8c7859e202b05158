"""Every bound on what others control, in one table: registries, archives, images and clients.

One line per limit: its name, its value, what it bounds. What a user may want to change is a setting in `config.py` and
takes its default from here.
"""

from __future__ import annotations

from typing import Final

MAX_INGEST_REF: Final = 1024
"""Characters of an ingest's name."""
