"""Flags of commands that talk to a registry, and the login that they make."""

from __future__ import annotations

from corten.ctl.command import told
from corten.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.flags import Options

_HOSTS = "the daemon does it for every client: write it into its hosts.toml of that registry"
_LOG = "the daemon logs its requests: start it with --log-level debug"

REGISTRY_FLAGS = (
    Flag("refresh", "string", "Refresh token for the registry's authorization server"),
    Flag("user", "string", "USERNAME, or USERNAME:PASSWORD; without a password it is asked for (default: as kept by "
         "`corten login`)", short="u"),
    told("skip-verify", "bool", _HOSTS, short="k"),
    told("plain-http", "bool", _HOSTS),
    told("hosts-dir", "string", "it is a setting of the daemon, `registry.config_path`"),
    told("tlscacert", "string", _HOSTS),
    told("tlscert", "string", _HOSTS),
    told("tlskey", "string", _HOSTS),
    told("http-dump", "bool", _LOG),
    told("http-trace", "bool", _LOG),
)


def credentials(options: Options, reference: str) -> dict[str, str] | None:
    """The login for the registry of `reference`: from the flags (a password that they do not give is asked for), or
    else as the user's config.json and its helpers have it."""
    login: dict[str, str] = {}
    if options["user"]:
        login["username"], colon, login["password"] = options["user"].partition(":")
        if not colon:
            from getpass import getpass

            login["password"] = getpass("Password: ")
    if options["refresh"]:
        login["identity_token"] = options["refresh"]
    if login:
        return login
    from corten.credentials import load

    return load().native(reference)


def with_login(options: Options, body: dict[str, Any]) -> dict[str, Any]:
    """`body` with the login for the registry of its reference, if there is one."""
    login = credentials(options, body["reference"])
    return {**body, "credentials": login} if login else body
