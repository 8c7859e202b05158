"""What can go wrong, as a taxonomy: code <-> class <-> body.

    CortenError
    ├── InvalidArgument      the request itself is wrong; sending it again changes nothing
    ├── Unauthenticated      who are you? (a registry wants a login)
    ├── PermissionDenied     we know who you are; the answer is no
    ├── NotFound             the named object does not exist
    ├── AlreadyExists        the name is taken
    ├── NotModified          the object is already in the state asked for (start of a running container)
    ├── Conflict             the object's state does not allow it (remove of a running container)
    ├── ResourceExhausted    no space, no memory, a limit reached, too many requests
    ├── Unavailable          a peer (registry, runtime) cannot be reached; may work later
    ├── DeadlineExceeded     it took longer than allowed
    ├── Cancelled            the caller went away or asked to stop
    ├── Unimplemented        a part of an interface that this engine does not offer
    ├── DataLoss             stored or received bytes are not what their digest says
    └── Internal             a bug or an environment that broke a promise

Services and backends raise these at the point of knowledge, with the subject (what it is
about) and a hint (what to do next). Each API surface translates them once, by class.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing `typing` would cost every start of a client some milliseconds
if TYPE_CHECKING:
    from typing import Any


class CortenError(Exception):
    """Base of every error that may reach a user.

    `message` is one clear line that names the thing; `hint` says the next step; `subject` is
    the object's name or id, for programs; `details` are further facts, JSON-serialisable.
    """

    code = "unknown"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        subject: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.subject = subject
        self.details = details or {}

    def body(self) -> dict[str, Any]:
        """The native API's error body (without `null` members)."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        for key in ("hint", "subject"):
            if value := getattr(self, key):
                body[key] = value
        if self.details:
            body["details"] = self.details
        return {"error": body}


class InvalidArgument(CortenError):
    """The request itself is wrong; sending it again changes nothing."""

    code = "invalid_argument"


class Unauthenticated(CortenError):
    """Credentials are missing or wrong."""

    code = "unauthenticated"


class PermissionDenied(CortenError):
    """The caller is known, and the answer is no."""

    code = "permission_denied"


class NotFound(CortenError):
    """The named object does not exist."""

    code = "not_found"


class AlreadyExists(CortenError):
    """The name is taken."""

    code = "already_exists"


class NotModified(CortenError):
    """The object is already in the state asked for."""

    code = "not_modified"


class Conflict(CortenError):
    """The object's state does not allow the operation."""

    code = "conflict"


class ResourceExhausted(CortenError):
    """No space, no memory, a limit reached, or too many requests."""

    code = "resource_exhausted"


class Unavailable(CortenError):
    """A peer (registry, runtime, another service) cannot be reached; it may work later."""

    code = "unavailable"


class DeadlineExceeded(CortenError):
    """The operation took longer than allowed."""

    code = "deadline_exceeded"


class Cancelled(CortenError):
    """The caller went away or asked to stop."""

    code = "cancelled"


class Unimplemented(CortenError):
    """A part of an interface that this engine does not offer."""

    code = "unimplemented"


class DataLoss(CortenError):
    """Stored or received bytes are not what their digest or size says."""

    code = "data_loss"


class Internal(CortenError):
    """A bug, or an environment that broke a promise."""

    code = "internal"


CLASSES: dict[str, type[CortenError]] = {
    cls.code: cls
    for cls in (
        InvalidArgument, Unauthenticated, PermissionDenied, NotFound, AlreadyExists, NotModified,
        Conflict, ResourceExhausted, Unavailable, DeadlineExceeded, Cancelled, Unimplemented,
        DataLoss, Internal,
    )
}  # fmt: skip
"""Every concrete class by its code: what a client turns a body back into."""


def from_body(body: Any) -> CortenError:
    """The error that a native API body describes; `Internal` for a body of another shape."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return Internal(f"unreadable error body: {str(body)[:200]}")
    cls = CLASSES.get(str(error.get("code")), Internal)
    details = error.get("details")
    return cls(
        str(error.get("message", "")),
        hint=error.get("hint"),
        subject=error.get("subject"),
        details=details if isinstance(details, dict) else None,
    )
