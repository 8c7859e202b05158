"""The user's logins: config.json, docker's credential helpers, DOCKER_AUTH_CONFIG.

A login is a dict of what there is of `username`, `password`, `identitytoken` and `registrytoken`. A server is what
config.json keys it by: `HOST[:PORT]`, and for Docker Hub its old URL. What cannot be had is told on standard error,
and the command goes on without a login, as with docker.
"""

from __future__ import annotations

import os

from corten import jsontext
from corten.output import err, escape
from corten.userfile import UserFile
from corten_shared.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Login = dict[str, str]

HUB = "https://index.docker.io/v1/"
ENVIRONMENT = "DOCKER_AUTH_CONFIG"
HELPER_SECONDS = 60
_HUB_HOSTS = ("docker.io", "index.docker.io")
_SECRETS = ("username", "password", "identitytoken", "registrytoken")
_TOKEN_USER = "<token>"  # noqa: S105 (the protocol's word where a name would stand)
_NOT_FOUND = "credentials not found in native keychain"


class Credentials:
    """Logins as the user's configuration has them."""

    def __init__(self, file: UserFile) -> None:
        self.file = file

    # -- read ------------------------------------------------------------------------------------------------------

    def login(self, server: str) -> Login:
        """The login for a server; empty when there is none."""
        key, entry = _find(self._from_environment(), server)
        if entry is not None:
            return self._decode(key, entry, ENVIRONMENT)
        key, entry = _find(self.file.table("auths"), server)
        stored = self._decode(key, entry, "") if entry is not None else {}
        helper = self.helper(server)
        if not helper:
            return stored
        try:
            found = get_from_helper(helper, server)
        except CortenError as error:
            err(f"WARNING: {escape(error.message)}")
            return stored
        return {**{k: v for k, v in stored.items() if k == "registrytoken"}, **found}

    def registry_auth(self, image: str) -> str:
        """The X-Registry-Auth value for the registry of `image`; empty without a login."""
        server = server_of(image)
        found = self.login(server)
        if not found:
            return ""
        import base64

        return base64.urlsafe_b64encode(jsontext.dumps({**found, "serveraddress": server}).encode()).decode()

    def native(self, image: str) -> dict[str, str] | None:
        """The login for the registry of `image` as the native API has it; None without one."""
        found = self.login(server_of(image))
        names = {"identitytoken": "identity_token", "registrytoken": "registry_token"}
        return {names.get(key, key): value for key, value in found.items()} or None

    def helper(self, server: str) -> str:
        """The credential helper for a server; empty when logins are in the file."""
        own = self.file.table("credHelpers").get(server)
        if isinstance(own, str):
            return own
        if name := self.file.string("credsStore"):
            return name
        if self.file.table("auths") or self.file.table("credHelpers"):
            return ""
        name = "pass" if _on_path("pass") else "secretservice"  # docker's choice on Linux
        return name if _on_path(f"docker-credential-{name}") else ""

    def _from_environment(self) -> dict[str, Any]:
        text = os.environ.get(ENVIRONMENT, "")
        if not text:
            return {}
        try:
            found = jsontext.loads(text)
            auths = found.get("auths") if isinstance(found, dict) else None
            if isinstance(auths, dict):
                return auths
        except (ValueError, RecursionError):
            pass
        err(f'WARNING: {ENVIRONMENT} is no JSON object with "auths": passed over')
        return {}

    def _decode(self, key: str, entry: Any, where: str) -> Login:
        if not isinstance(entry, dict):
            entry = {}
        found = {name: entry[name] for name in _SECRETS if isinstance(entry.get(name), str) and entry[name]}
        auth = entry.get("auth")
        if not auth:
            return found
        import base64

        try:
            user, colon, password = base64.b64decode(str(auth), validate=True).decode().partition(":")
            if not colon or not user:
                raise ValueError
        except ValueError:
            place = where or f"{self.file.path}: line {self.file.line_of(key)}"
            problem = f"auth of {escape(key)} is no base64 of user:password"
            err(f"WARNING: Error parsing config file ({escape(place)}): {problem}")
            return found
        password = password.strip("\0")
        return {**found, "username": user, **({"password": password} if password else {})}

    # -- change ----------------------------------------------------------------------------------------------------

    def store(self, server: str, login: Login) -> bool:
        """Keep a login; True when its password is now in the file as it is. Raises CortenError."""
        helper = self.helper(server)
        if helper:
            store_in_helper(helper, server, login)
        entry = {} if helper else _encode(login)

        def edit(data: dict[str, Any]) -> bool:
            auths = data.setdefault("auths", {})
            if helper and not self.file.table("credHelpers").get(server) and data.get("credsStore") != helper:
                data["credsStore"] = helper
            elif auths.get(server) == entry:
                return False
            auths[server] = entry
            return True

        return self.file.change(edit) and not helper and bool(login.get("password"))

    def erase(self, server: str) -> None:
        """Forget a login; fine when there is none. Raises CortenError."""
        if helper := self.helper(server):
            _helper(helper, "erase", server, "erasing")

        def edit(data: dict[str, Any]) -> bool:
            auths = data.get("auths")
            return isinstance(auths, dict) and auths.pop(server, None) is not None

        self.file.change(edit)


def load(folder: str = "") -> Credentials:
    """The logins of the user's config.json."""
    return Credentials(UserFile(folder))


def server_of(image: str) -> str:
    """What config.json calls the registry of an image's name."""
    first, slash, _ = image.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    return first if named and first not in _HUB_HOSTS else HUB


def hostname(address: str) -> str:
    """The host, maybe with its port, of an address in any of its forms."""
    rest = address.partition("://")[2] if "://" in address else address
    return rest.partition("/")[0]


def _find(auths: dict[str, Any], server: str) -> tuple[str, Any]:
    """The entry for a server: under its very name first, then under an older form of it."""
    if server in auths:
        return server, auths[server]
    for key, entry in auths.items():
        host = hostname(key)
        if host == server or (server == HUB and host in _HUB_HOSTS):
            return key, entry
    return "", None


def _encode(login: Login) -> dict[str, str]:
    import base64

    entry = {key: login[key] for key in ("identitytoken", "registrytoken") if login.get(key)}
    if login.get("username") or login.get("password"):
        pair = f"{login.get('username', '')}:{login.get('password', '')}"
        entry = {"auth": base64.b64encode(pair.encode()).decode(), **entry}
    return entry


# -- helpers: docker-credential-NAME get | store | erase | list, on standard input and output --------------------------


def get_from_helper(name: str, server: str) -> Login:
    """What a helper has for a server; empty when it has nothing. Raises CortenError."""
    output = _helper(name, "get", server, "getting")
    if output is None:
        return {}
    try:
        found = jsontext.loads(output)
        user, secret = found.get("Username"), found.get("Secret")
    except (ValueError, RecursionError, AttributeError):
        raise CortenError(f"error getting credentials - docker-credential-{name} did not answer with JSON") from None
    if not isinstance(user, str) or not isinstance(secret, str) or not secret:
        return {}
    return {"identitytoken": secret} if user == _TOKEN_USER else {"username": user, "password": secret}


def store_in_helper(name: str, server: str, login: Login) -> None:
    """Give a helper a login to keep. Raises CortenError."""
    token = login.get("identitytoken")
    user = _TOKEN_USER if token else login.get("username", "")
    secret = token or login.get("password", "")
    _helper(name, "store", jsontext.dumps({"ServerURL": server, "Username": user, "Secret": secret}), "storing")


def servers_of_helper(name: str) -> Iterator[tuple[str, str]]:
    """The servers that a helper has logins for, and whose they are. Raises CortenError."""
    output = _helper(name, "list", "", "listing")
    try:
        found = jsontext.loads(output or "{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise CortenError(f"error listing credentials - docker-credential-{name} did not answer with JSON")
    return ((str(server), str(user)) for server, user in found.items())


def _helper(name: str, action: str, text: str, doing: str) -> str | None:
    """The helper's output; None when it has no such login. Its output is not shown when it could be a secret."""
    program = f"docker-credential-{name}"
    if not name or "/" in name or not _on_path(program):
        raise CortenError(
            f'error {doing} credentials - err: exec: "{program}": executable file not found in $PATH, out: ``'
        )
    import subprocess

    try:
        done = subprocess.run([program, action], input=text.encode(), capture_output=True, timeout=HELPER_SECONDS)
    except subprocess.TimeoutExpired:
        raise CortenError(f"error {doing} credentials - {program} did not end within {HELPER_SECONDS} s") from None
    except OSError as error:
        raise CortenError(f"error {doing} credentials - err: {error.strerror}, out: ``") from error
    output = done.stdout.decode(errors="replace").strip()
    if done.returncode == 0:
        return output
    if output == _NOT_FOUND:
        return None
    raise CortenError(f"error {doing} credentials - err: exit status {done.returncode}, out: `{output[:400]}`")


def _on_path(program: str) -> bool:
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return any(os.access(os.path.join(folder, program), os.X_OK) for folder in folders if folder)
