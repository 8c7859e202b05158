"""`login` and `logout`."""

from __future__ import annotations

import sys

from corten.command import Command
from corten.credentials import ENVIRONMENT, HUB, hostname
from corten.docker.engine import EngineError
from corten.flags import Flag
from corten.output import err, escape, out, sentence
from corten_shared.errors import CortenError, InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.docker.session import Session
    from corten.flags import Options

_MAX_SECRET = 64 << 10
_HUB_WORDS = """\
Log in with your Docker ID or email address to push and pull images from Docker Hub. If you don't have a Docker ID, \
head over to https://hub.docker.com/ to create one.
You can log in with your password or a Personal Access Token (PAT). Using a limited-scope PAT grants better security \
and is required for organizations using SSO. Learn more at https://docs.docker.com/go/access-tokens/
"""
_UNENCRYPTED = """
WARNING! Your credentials are stored unencrypted in '{}'.
Configure a credential helper to remove this warning. See
https://docs.docker.com/go/credential-store/
"""


def _login(session: Session, options: Options) -> int:
    server = options.args[0] if options.args else ""
    user, password = options["username"], _given_password(options)
    _warn_of_environment()
    key = HUB if server in ("", "docker.io", HUB) else hostname(server)
    stored = {} if user or password else session.config.credentials.login(key)
    status = ""
    if stored.get("username") and stored.get("password"):
        status = _with_stored(session, key, stored)
    if not status:
        name, secret = _ask(user, password, stored.get("username", ""), key)
        status = _log_in(session, key, {"username": name, "password": secret})
    out(escape(status))
    return 0


def _given_password(options: Options) -> str:
    """From the command line or standard input; empty when neither has it."""
    password: str = options["password"]
    if options["password-stdin"]:
        if password:
            raise InvalidArgument("conflicting options: cannot specify both --password and --password-stdin")
        if not options["username"]:
            raise InvalidArgument("the --password-stdin option requires --username to be set")
        password = sys.stdin.read(_MAX_SECRET).removesuffix("\n").removesuffix("\r")
        if not password:
            raise InvalidArgument("password is empty")
    elif password:
        err("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    return password


def _with_stored(session: Session, server: str, login: dict[str, str]) -> str:
    """The engine's word for a login that was kept; empty when it is no longer good."""
    err(f"Authenticating with existing credentials... [Username: {escape(login['username'])}]\n")
    err(" Info -> To login with a different account, run 'corten logout' followed by 'corten login'\n\n")
    try:
        return _log_in(session, server, login)
    except EngineError as error:
        if error.status == 401:
            err("Stored credentials invalid or expired")
        else:
            err(f"Login did not succeed, error: {sentence(error)}")
        return ""


def _log_in(session: Session, server: str, login: dict[str, str]) -> str:
    """Have the engine ask the registry, and keep what it took. The engine's word for it."""
    asked = {key: login[key] for key in ("username", "password") if login.get(key)}
    reply = session.engine.call("POST", "/auth", body={**asked, "serveraddress": server}) or {}
    if token := reply.get("IdentityToken"):
        login = {"username": login["username"], "identitytoken": str(token)}
    try:
        if session.config.credentials.store(server, login):
            err(_UNENCRYPTED.format(escape(session.config.credentials.file.path)))
    except CortenError as error:
        raise CortenError(f"Error saving credentials: {error.message}", hint=error.hint) from error
    return str(reply.get("Status") or "Login Succeeded")


def _ask(user: str, password: str, default: str, server: str) -> tuple[str, str]:
    """Whatever of the two was not given. Raises InvalidArgument, in docker's words, without a terminal."""
    user, password = user.strip(), password
    if (not user or not password) and not sys.stdin.isatty():
        raise InvalidArgument("Error: Cannot perform an interactive login from a non TTY device")
    if not user:
        if server == HUB:
            out(_HUB_WORDS)
        user = _prompt(f"Username ({escape(default)}): " if default else "Username: ").strip() or default
        if not user:
            raise InvalidArgument("Error: Non-null Username Required")
    if not password.strip():
        password = _prompt("Password: ", echo=False)
        out()
        if not password:
            raise InvalidArgument("Error: Password Required")
    return user, password


def _prompt(text: str, *, echo: bool = True) -> str:
    """Ask; without echo it is switched off before the question shows, so that a quick answer is not shown either."""
    if not echo:
        from corten.tty import NoEcho

        with NoEcho(sys.stdin.fileno()):
            return _prompt(text)
    out(text, end="")
    sys.stdout.flush()
    return sys.stdin.readline().rstrip("\r\n")


def _logout(session: Session, options: Options) -> int:
    _warn_of_environment()
    server = options.args[0] if options.args else HUB
    host = server if server == HUB else hostname(server)
    # Docker's older versions kept addresses in these forms too.
    names = [server] if server == HUB else [server, host, f"http://{host}", f"https://{host}"]
    out(f"Removing login credentials for {escape(host)}")
    problems = {}
    for name in names:
        try:
            session.config.credentials.erase(name)
        except CortenError as error:
            problems[name] = error
    if len(problems) == len(set(names)):
        err("WARNING: could not erase credentials:")
        for name, problem in problems.items():
            err(f"{escape(name)}: {sentence(problem)}")
    return 0


def _warn_of_environment() -> None:
    import os

    if os.environ.get(ENVIRONMENT):
        err(
            f"WARNING: {ENVIRONMENT} is set and takes precedence.\n"
            f"Unset {ENVIRONMENT} to restore the CLI auth behaviour.\n"
        )


LOGIN = Command(
    "Authenticate to a registry",
    _login,
    arguments="[SERVER]",
    flags=[
        Flag("password", "string", "Password or Personal Access Token (PAT)", short="p"),
        Flag("password-stdin", "bool", "Take the Password or Personal Access Token (PAT) from stdin"),
        Flag("username", "string", "Username", short="u"),
    ],
    most=1,
)
LOGOUT = Command("Log out from a registry", _logout, arguments="[SERVER]", most=1)
