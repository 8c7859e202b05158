"""One check of the store under way: what it was told, what it knows by now, what it has found."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from corten_shared.errors import CortenError
from corten_shared.models.check import CheckLine, CheckProgress, CheckSummary, Finding
from cortend.services.image_documents import ImageDocuments

Mend = Callable[[], Awaitable[str]]
"""Repairs one finding and says in a few words what was done; raises when it cannot be done."""


@dataclass
class CheckRun:
    """The state of one check. `lease(ns)` is a lease that holds what repairs make until the check ends."""

    repair: bool
    deep: bool
    lease: Callable[[str], Awaitable[str]]
    lines: list[CheckLine] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    found: int = 0
    repaired: int = 0
    stored: dict[str, int] = field(default_factory=dict)
    """Blobs on disk, with their sizes."""
    bad: dict[str, str] = field(default_factory=dict)
    """Those of them whose bytes are not what they should be, and why."""
    rows: dict[str, set[str]] = field(default_factory=dict)
    """Namespaces that see a blob, by digest."""
    seen: dict[tuple[str, str], bool] = field(default_factory=dict)
    """Blobs that were judged: (namespace, digest) and whether it is whole now."""
    layers: dict[tuple[str, str], tuple[ImageDocuments, int]] = field(default_factory=dict)
    """What a snapshot is made from: (namespace, chain id), to an image and the number of a layer."""
    wanted: dict[tuple[str, str, str], ImageDocuments] = field(default_factory=dict)
    """Snapshots that configs name: (namespace, snapshotter, chain id)."""

    async def report(self, finding: Finding, mend: Mend | None, hint: str = "") -> bool:
        """Write the finding down, after its repair if there is to be one; whether it is repaired."""
        self.found += 1
        repaired: bool | None = None
        outcome = hint
        if self.repair:
            repaired, outcome = await _mended(mend, hint)
        self.repaired += repaired is True
        self.lines.append(CheckLine(finding=finding.model_copy(update={"repaired": repaired, "outcome": outcome})))
        return repaired is True

    def progress(self, part: str, done: int, total: int = 0) -> None:
        """Say how far a part is."""
        self.lines.append(CheckLine(progress=CheckProgress(part=part, done=done, total=total)))

    def count(self, what: str, number: int = 1) -> None:
        """Add to the summary."""
        self.counts[what] = self.counts.get(what, 0) + number

    def take(self) -> list[CheckLine]:
        """The lines since the last call."""
        lines, self.lines = self.lines, []
        return lines

    def summary(self) -> CheckLine:
        """The last line."""
        left = self.found - self.repaired
        return CheckLine(summary=CheckSummary(found=self.found, repaired=self.repaired, left=left, **self.counts))


async def _mended(mend: Mend | None, hint: str) -> tuple[bool, str]:
    if mend is None:
        return False, hint or "cannot be repaired"
    try:
        return True, await mend()
    except CortenError as error:
        return False, error.message + (f" ({error.hint})" if error.hint else "")
    except OSError as error:
        return False, str(error)
