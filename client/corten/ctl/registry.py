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
    Flag("user", "string", "USERNAME, or USERNAME:PASSWORD; without a password it is asked for", short="u"),
    told("skip-verify", "bool", _HOSTS, short="k"),
    told("plain-http", "bool", _HOSTS),
    told("hosts-dir", "string", "it is a setting of the daemon, `registry.config_path`"),
    told("tlscacert", "string", _HOSTS),
    told("tlscert", "string", _HOSTS),
    told("tlskey", "string", _HOSTS),
    told("http-dump", "bool", _LOG),
    told("http-trace", "bool", _LOG),
)


def credentials(options: Options) -> dict[str, str] | None:
    """The login that the flags give; a password that they do not give is asked for."""
    login: dict[str, str] = {}
    if options["user"]:
        login["username"], colon, login["password"] = options["user"].partition(":")
        if not colon:
            from getpass import getpass

            login["password"] = getpass("Password: ")
    if options["refresh"]:
        login["identity_token"] = options["refresh"]
    return login or None


def with_login(options: Options, body: dict[str, Any]) -> dict[str, Any]:
    """`body` with the login, if there is one."""
    login = credentials(options)
    return {**body, "credentials": login} if login else body
