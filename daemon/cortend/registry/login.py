"""Whether a registry takes a login, in docker's words."""

from __future__ import annotations

from http import HTTPStatus

from corten_shared.errors import CortenError, PermissionDenied, Unauthenticated, Unavailable
from cortend.registry.problems import said
from cortend.registry.route import Route
from cortend.registry.settings import ANY
from cortend.registry.transport import Transport


async def log_in(route: Route) -> str:
    """The identity token that came with the login, or nothing. See core.registry.Registries.login."""
    return await route.first(ANY, _log_in)


async def _log_in(transport: Transport) -> str:
    where = f"{transport.endpoint.url}/"
    try:
        response = await transport.ping()
    except Unauthenticated as error:
        raise Unauthenticated(f'Get "{where}": {error.message}') from error
    try:
        if response.is_success:
            return transport.identity
        errors = said(await transport.words(response))
    finally:
        await response.aclose()
    words = "; ".join(f"{code.lower().replace('_', ' ')}: {text}" for code, text in errors)
    raise _refused(response.status_code, where, words)


def _refused(status: int, where: str, words: str) -> CortenError:
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
    text = f"login attempt to {where} failed with status: {status} {phrase}".rstrip() + (f": {words}" if words else "")
    if status == 401:
        return Unauthenticated(text)
    if status == 403:
        return PermissionDenied(text)
    return Unavailable(text, hint="check that this is a registry's address")
