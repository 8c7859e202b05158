"""Leases around operations that make content: what they make is kept until something refers to it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from corten_shared import times
from corten_shared.errors import CortenError, NotFound
from corten_shared.models.lease import Lease
from cortend.core.gc import EXPIRE
from cortend.core.metadata import Metadata
from cortend.core.workers import Workers
from cortend.services.finish import finished

log = logging.getLogger(__name__)

LIFE = 24 * 3600
"""Seconds until a lease ends that nobody deleted: the daemon was killed in between."""


@asynccontextmanager
async def temporary_lease(metadata: Metadata, workers: Workers, ns: str, purpose: str) -> AsyncIterator[str]:
    """The id of a new lease, deleted in the end."""
    lease_id = f"{purpose}-{secrets.token_hex(8)}"
    expire = times.format_rfc3339(times.now() + LIFE * 1_000_000_000)

    def create() -> None:
        with metadata.update() as tx:
            tx.namespaces.ensure(ns)
            tx.leases.create(ns, Lease(id=lease_id, labels={EXPIRE: expire}, created_at=times.now()))

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
