"""Leases around operations that make content: what they make is kept until something refers to it.

A client may give a lease of its own with a request (`use_lease`): in the end that one holds what the request made. Each
operation has a temporary one all the same, so that several may go on under one lease of a client's.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar

from corten_shared import times
from corten_shared.errors import CortenError, NotFound
from corten_shared.models.lease import Lease
from cortend.core.gc import EXPIRE, expired
from cortend.core.metadata import Metadata, Transaction
from cortend.core.workers import Workers
from cortend.services.finish import finished

log = logging.getLogger(__name__)

LIFE = 24 * 3600
"""Seconds until a lease ends that nobody deleted: the daemon was killed in between."""

OWNER = "corten.owner"
"""Label by which the leases of one run of the daemon are told from those of the runs before it."""

RESUMED_BY = "corten.resumed-by"
"""Label with the name of the image whose pull made the lease: the next pull of it goes on with what the lease holds."""

TRANSIENT = "corten.transient"
"""Label of leases that hold what an operation only reads: after a crash they keep nothing that anybody waits for."""

_RUN = secrets.token_hex(8)
_given: ContextVar[str | None] = ContextVar("lease", default=None)


async def use_lease(metadata: Metadata, workers: Workers, ns: str, lease_id: str) -> None:
    """Have what this task does from now on held by the client's lease. Raises NotFound, also for an expired one."""

    def check() -> None:
        with metadata.view() as tx:
            if expired(tx.leases.get(ns, lease_id).labels, times.now()):
                raise NotFound(f"No such lease: {lease_id}", hint="it has expired: make another", subject=lease_id)

    await workers.run(check)
    _given.set(lease_id)


def given_lease() -> str | None:
    """The lease that the client gave with its request."""
    return _given.get()


@asynccontextmanager
async def temporary_lease(
    metadata: Metadata, workers: Workers, ns: str, purpose: str, *, transient: bool = False, resumed_by: str = ""
) -> AsyncIterator[str]:
    """The id of a new lease, deleted in the end; the client's, if it gave one, holds what this one held then.

    After a crash the next start ends it, unless a pull of the image `resumed_by` can go on with what it holds. One that
    is `transient` never made anything.
    """
    given = None if transient else _given.get()
    lease_id = f"{purpose}-{secrets.token_hex(8)}"
    labels = {EXPIRE: times.format_rfc3339(times.now() + LIFE * 1_000_000_000), OWNER: _RUN}
    if resumed_by:
        labels[RESUMED_BY] = resumed_by
    if transient:
        labels[TRANSIENT] = ""

    def create() -> None:
        with metadata.update() as tx:
            tx.namespaces.ensure(ns)
            tx.leases.create(ns, Lease(id=lease_id, labels=labels, created_at=times.now()))

    def delete() -> None:
        try:
            with metadata.update() as tx:
                if given is not None:
                    _hand_over(tx, ns, lease_id, given)
                tx.leases.delete(ns, lease_id)
        except NotFound:
            pass
        except CortenError as error:
            # It would hide why the operation failed, and the lease ends by itself.
            log.warning("lease not deleted", extra={"fields": {"lease": lease_id, "error": error.message}})

    try:
        await finished(workers.run(create))
        yield lease_id
    finally:
        await finished(workers.run(delete))


def end_transient(metadata: Metadata) -> None:
    """Delete the leases of a daemon that was killed which nobody can go on with. Blocks; for the start."""
    with metadata.view() as tx:
        namespaces = [namespace.name for namespace in tx.namespaces.list()]
        left = {ns: _abandoned(tx, ns, "") for ns in namespaces}
    if any(left.values()):
        with metadata.update() as tx:
            for ns, ids in left.items():
                for lease_id in ids:
                    tx.leases.delete(ns, lease_id)


def end_resumed(tx: Transaction, ns: str, image: str) -> None:
    """Delete the leases that killed daemons left of pulls of an image: it was pulled now."""
    for lease_id in _abandoned(tx, ns, image):
        tx.leases.delete(ns, lease_id)


def _abandoned(tx: Transaction, ns: str, resumed_by: str) -> list[str]:
    return [
        lease.id
        for lease in tx.leases.list(ns)
        if lease.labels.get(OWNER, _RUN) != _RUN and lease.labels.get(RESUMED_BY, "") == resumed_by
    ]


def _hand_over(tx: Transaction, ns: str, lease_id: str, to: str) -> None:
    """Have lease `to` hold what `lease_id` does; one that ended meanwhile holds nothing."""
    with suppress(NotFound):
        for resource in tx.leases.resources(ns, lease_id):
            tx.leases.add(ns, to, resource)
