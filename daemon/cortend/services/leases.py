"""Leases around operations that make content: what they make is kept until something refers to it.

A client may give a lease of its own with a request (`use_lease`): then that one holds what it makes, and stays.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from corten_shared import times
from corten_shared.errors import CortenError, NotFound
from corten_shared.models.lease import Lease
from cortend.core.gc import EXPIRE, expired
from cortend.core.metadata import Metadata
from cortend.core.workers import Workers
from cortend.services.finish import finished

log = logging.getLogger(__name__)

LIFE = 24 * 3600
"""Seconds until a lease ends that nobody deleted: the daemon was killed in between."""

TRANSIENT = "corten.transient"
"""Label of leases that hold what an operation only reads: after a crash they keep nothing that anybody waits for."""


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
    metadata: Metadata, workers: Workers, ns: str, purpose: str, *, transient: bool = False
) -> AsyncIterator[str]:
    """The id of a new lease, deleted in the end; or of the client's, which is its own to delete.

    After a crash it keeps what was made for the next attempt, unless it is `transient`: then the next start ends it.
    """
    if (given := _given.get()) is not None:
        yield given
        return
    lease_id = f"{purpose}-{secrets.token_hex(8)}"
    labels = {EXPIRE: times.format_rfc3339(times.now() + LIFE * 1_000_000_000)}
    if transient:
        labels[TRANSIENT] = ""

    def create() -> None:
        with metadata.update() as tx:
            tx.namespaces.ensure(ns)
            tx.leases.create(ns, Lease(id=lease_id, labels=labels, created_at=times.now()))

    def delete() -> None:
        try:
            with metadata.update() as tx:
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
    """Delete the transient leases of a daemon that was killed. Blocks; for the start."""
    with metadata.view() as tx:
        left = [
            (namespace.name, lease.id)
            for namespace in tx.namespaces.list()
            for lease in tx.leases.list(namespace.name)
            if TRANSIENT in lease.labels
        ]
    if left:
        with metadata.update() as tx:
            for ns, lease_id in left:
                tx.leases.delete(ns, lease_id)
