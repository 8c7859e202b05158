"""From the error taxonomy to docker's statuses and bodies; the only table of them.

The body is always `{"message": …}`; clients match on the message, so services use docker's words where clients do.
"""

from __future__ import annotations

from starlette.responses import Response

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
from cortend.api.docker.responses import json_response

STATUS: dict[type[CortenError], int] = {
    InvalidArgument: 400,
    Unauthenticated: 500,
    PermissionDenied: 403,
    NotFound: 404,
    AlreadyExists: 409,
    Conflict: 409,
    NotModified: 304,
    ResourceExhausted: 500,
    DataLoss: 500,
    Internal: 500,
    DeadlineExceeded: 500,
    Cancelled: 500,
    Unimplemented: 501,
    Unavailable: 503,
}
"""docker has no status for a full disk, a time-out or a damaged download: all are its 500. So is a registry that wants
a login: to a 401 for anything but /auth the docker CLI asks for one, and waits, also where nobody sits."""


def status_of(error: CortenError) -> int:
    """The status of the nearest class in the table; 500 for an error that is none of them."""
    for cls in type(error).__mro__:
        if cls in STATUS:
            return STATUS[cls]
    return 500


def message_of(error: CortenError) -> str:
    """What went wrong, then what to do about it, in one line."""
    return f"{error.message}: {error.hint}" if error.hint else error.message


def error_response(error: CortenError, status: int = 0) -> Response:
    """The whole answer for an error, with another `status` than the table's; 304 has no body (RFC 9110, 15.4.5)."""
    status = status or status_of(error)
    if status == 304:
        return Response(status_code=304)
    return json_response({"message": message_of(error)}, status)
