"""Rows of containers that are gone: the newest of a name is the one that is meant, and only so many are kept."""

from __future__ import annotations

from corten_shared.errors import NotFound
from corten_shared.models.postmortem import Postmortem
from cortend.metadata.journal import JournalLimits, current_actor
from cortend.metadata.session import Session

_PRUNE_EVERY = 64
KEPT = 1000


class Postmortems:
    """core.metadata.PostmortemStore; kept as long as events, and at most KEPT."""

    def __init__(self, session: Session, limits: JournalLimits) -> None:
        self._session = session
        self._limits = limits

    def put(self, ns: str, postmortem: Postmortem) -> None:
        """Write it down, with who asks for the removal now."""
        signed = postmortem.model_copy(update={"removed_by": current_actor()})
        container = signed.container
        seq = self._session.execute(
            "INSERT INTO postmortems (ns, id, name, removed_at, record) VALUES (?, ?, ?, ?, ?)",
            (ns, container.id, container.name, signed.removed_at, signed.model_dump_json()),
        ).lastrowid
        assert seq is not None
        if seq % _PRUNE_EVERY == 0:
            self._session.execute(
                "DELETE FROM postmortems WHERE seq <= ? OR removed_at < ?",
                (seq - KEPT, self._session.now() - self._limits.age),
            )

    def find(self, ns: str, reference: str) -> Postmortem:
        """The container removed last that had this name, or whose id begins so. Raises NotFound."""
        row = self._session.one(
            "SELECT record FROM postmortems WHERE ns = ? AND (name = ? OR substr(id, 1, ?) = ?) AND ? <> ''"
            " ORDER BY seq DESC LIMIT 1",
            (ns, reference, len(reference), reference, reference),
        )
        if row is None:
            raise NotFound(
                f"nothing is known of a removed container {reference[:80]!r}",
                hint="the last 1,000 are remembered; one that is still there has: corten inspect, corten logs",
                subject=reference,
            )
        return Postmortem.model_validate_json(row[0])

    def list(self, ns: str) -> list[Postmortem]:
        """Newest first."""
        rows = self._session.execute("SELECT record FROM postmortems WHERE ns = ? ORDER BY seq DESC", (ns,))
        return [Postmortem.model_validate_json(text) for (text,) in rows]
