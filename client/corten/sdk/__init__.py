"""corten's public Python API.

    import corten

    with corten.Client() as client:
        for progress in client.images.pull("busybox"):
            print(progress.status)
        print(client.run("busybox", ["echo", "hi"]).output)

    async with corten.AsyncClient() as client:
        await client.containers.list()

Records are pydantic models of `corten_shared.models`; errors are the classes of `corten_shared.errors`.
"""

from __future__ import annotations

from corten.sdk.clients import AsyncClient, Client
from corten.sdk.nouns import RunResult
from corten_shared.errors import (
    AlreadyExists,
    Cancelled,
    Conflict,
    CortenError,
    DataLoss,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    NotFound,
    NotModified,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from corten_shared.models.api import Login
from corten_shared.models.container import ContainerSpec, MountSpec, NetworkSpec, PortMapping, Resources

__all__ = [
    "AlreadyExists",
    "AsyncClient",
    "Cancelled",
    "Client",
    "Conflict",
    "ContainerSpec",
    "CortenError",
    "DataLoss",
    "DeadlineExceeded",
    "Internal",
    "InvalidArgument",
    "Login",
    "MountSpec",
    "NetworkSpec",
    "NotFound",
    "NotModified",
    "PermissionDenied",
    "PortMapping",
    "ResourceExhausted",
    "Resources",
    "RunResult",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
]
