"""What a check of the store says: findings as they are made, how far it is, and a summary at the end."""

from __future__ import annotations

from typing import Literal

from corten_shared.models.base import Record

Problem = Literal[
    "database-damaged",
    "row-damaged",
    "row-dangling",
    "row-wrong",
    "blob-damaged",
    "blob-missing",
    "blob-extra",
    "image-incomplete",
    "label-dangling",
    "snapshot-missing",
    "snapshot-damaged",
    "snapshot-orphan",
    "ingest-stale",
    "container-incomplete",
    "leftover",
]


class Finding(Record):
    """Something in the store that is not as it should be.

    `repaired` is None when nothing was tried; `outcome` says what was done, or why it could not be.
    """

    problem: Problem
    subject: str
    namespace: str = ""
    detail: str
    repaired: bool | None = None
    outcome: str = ""


class CheckProgress(Record):
    """How far a part of the check is; `total` is 0 where it is not known."""

    part: str
    done: int
    total: int = 0


class CheckSummary(Record):
    """What was looked at, what was found, and how much of it is left."""

    rows: int = 0
    blobs: int = 0
    bytes: int = 0
    images: int = 0
    snapshots: int = 0
    found: int = 0
    repaired: int = 0
    left: int = 0


class CheckLine(Record):
    """One line of a check; the last one has `summary`."""

    finding: Finding | None = None
    progress: CheckProgress | None = None
    summary: CheckSummary | None = None


class CheckRequest(Record):
    """How thorough a check is: `repair` mends what it finds, `deep` compares snapshots with their layers."""

    repair: bool = False
    deep: bool = False
