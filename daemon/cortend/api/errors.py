"""From the error taxonomy to the native API's statuses and bodies; the only table of them.

Every error's body is `{"error": {"code", "message", "hint"?, "subject"?, "details"?}}`; `code` is stable and what
programs should look at (corten_shared.errors draws the tree).
"""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

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

STATUS: dict[type[CortenError], int] = {
    InvalidArgument: 400,
    Unauthenticated: 401,
    PermissionDenied: 403,
    NotFound: 404,
    AlreadyExists: 409,
    NotModified: 409,
    Conflict: 409,
    ResourceExhausted: 429,
    Cancelled: 499,
    Internal: 500,
    DataLoss: 500,
    Unimplemented: 501,
    Unavailable: 503,
    DeadlineExceeded: 504,
}
"""`NotModified` is no 304 here: that has no body, and a program would not learn which of its requests was idle."""


def status_of(error: CortenError) -> int:
    """The status of the nearest class in the table; 500 for an error that is none of them."""
    for cls in type(error).__mro__:
        if cls in STATUS:
            return STATUS[cls]
    return 500


def error_response(error: CortenError) -> JSONResponse:
    """The whole answer for an error."""
    return JSONResponse(error.body(), status_of(error))


def invalid_request(problems: list[dict[str, Any]]) -> InvalidArgument:
    """Validation errors (FastAPI's) as one error. The values that were sent are left out: they may be secrets."""
    details = [{"where": ".".join(map(str, item["loc"])), "what": str(item["msg"])} for item in problems[:20]]
    first = details[0]
    return InvalidArgument(
        f"{first['where']}: {first['what']}", hint="the API is described at /api/v1/docs", details={"problems": details}
    )
