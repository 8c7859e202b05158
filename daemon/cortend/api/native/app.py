"""The native API as one application: its routes, its description, and where errors become answers."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

import cortend
from corten_shared.errors import CortenError, Internal, InvalidArgument, NotFound
from corten_shared.models.api import ErrorBody
from cortend.api.errors import error_response, invalid_request
from cortend.api.native import (
    containers,
    content,
    events,
    execs,
    image_archives,
    image_mounts,
    images,
    leases,
    namespaces,
    postmortems,
    push,
    snapshots,
    system,
    tasks,
    why,
)
from cortend.api.native.parameters import lease_dependency
from cortend.api.native.reference import render
from cortend.services.all import Services

DESCRIPTION = """The engine's own objects: namespaces, content, snapshots, images, containers, tasks, leases, events.

Everything is in a namespace, which the `namespace` parameter names. With the parameter `lease` (or the header
`X-Corten-Lease`) that lease holds what a request makes. Lists are `{"items": [...], "next": ...}`: with `limit` they
come in pages, of which each but the last has a `next` to send as `page`; `filter` selects in containerd's filter
language. Streams are JSON lines; one that fails after it began ends with a line `{"error": {...}}`. Every error is
`{"error": {"code", "message", "hint"?, "subject"?, "details"?}}`; look at `code`, read `message` and `hint`.
Times are RFC 3339 with nanoseconds, sizes are bytes."""


_OF_WRITES = ("lease", "x-corten-lease")
"""Parameters that mean nothing where nothing is made."""


def build_native(services: Services) -> FastAPI:
    """The application, to be mounted at /api/v1."""
    api = FastAPI(
        title="corten",
        version=cortend.__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        generate_unique_id_function=lambda route: route.name,
        responses={"default": {"model": ErrorBody, "description": "Any error"}},
        dependencies=[lease_dependency(services)],
    )
    api.openapi = lambda: _described(api)  # type: ignore[method-assign]
    for noun in (namespaces, push, content, snapshots, image_archives, image_mounts, images, containers,
                 tasks, execs, leases, events, postmortems, why, system):  # fmt: skip
        api.include_router(noun.router(services))

    @api.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(render(api.openapi()))

    api.add_exception_handler(CortenError, _corten_error)
    api.add_exception_handler(RequestValidationError, _invalid)
    api.add_exception_handler(HTTPException, _http_error)
    api.add_exception_handler(UnicodeEncodeError, _no_text)
    api.add_exception_handler(Exception, _bug)
    return api


def _described(api: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, without FastAPI's own validation error: here that is an error like any other."""
    if api.openapi_schema is None:
        document = FastAPI.openapi(api)
        for methods in document["paths"].values():
            for method, operation in methods.items():
                operation["responses"].pop("422", None)
                errors = operation["responses"]["default"]  # JSON also where the answer is a stream
                errors["content"] = {"application/json": next(iter(errors["content"].values()))}
                if method == "get":
                    operation["parameters"] = [
                        found
                        for found in operation["parameters"]
                        if found["in"] == "path" or found["name"] not in _OF_WRITES
                    ]
        for name in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(name, None)
    assert api.openapi_schema is not None
    return api.openapi_schema


async def _corten_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, CortenError)
    return error_response(error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return error_response(invalid_request(list(error.errors())))


async def _http_error(request: Request, error: Exception) -> Response:
    """No such route or method, or a body that is no JSON."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 404:
        return error_response(NotFound(f"no such resource: {path}", hint="see /api/v1/docs"))
    problem = InvalidArgument(f"{request.method} {path}: {error.detail}", hint="see /api/v1/docs")
    answer = error_response(problem)
    answer.status_code = error.status_code
    return answer


async def _no_text(request: Request, error: Exception) -> Response:
    """JSON can write half a surrogate pair, which no text has and nothing can store."""
    problem = "the request holds text that is no valid Unicode (half a surrogate pair)"
    return error_response(InvalidArgument(problem, hint="send text that can be written as UTF-8"))


async def _bug(request: Request, error: Exception) -> Response:
    """What nobody foresaw; the server logs the traceback."""
    return error_response(Internal("internal error", hint="cortend's log has the details"))
