"""Debian's docker-registry in the four shapes that people run: open, basic auth, token auth, TLS with a private CA.

    with run_shape("token", tmp_path, {"app:1": IMAGE}) as shape:      "app:1" is there already
        shape.host, shape.user, shape.password                         who may do everything
        shape.certs(directory)                                         what a client needs to trust it (certs.d)
        shape.tokens.asked                                             what the token server was asked for
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from images import Image, push_to_registry
from support_registry import Registry, run_registry

SHAPES = ("open", "basic", "token", "tls")
USER, PASSWORD = "alice", "secret"
READER, READER_PASSWORD = "bob", "reads-only"
_BCRYPT = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"
"""`secret`, cost 5: htpasswd files of docker-registry take nothing but bcrypt."""
_SERVICE = "corten-test"


@dataclass(frozen=True)
class Shape:
    """A running registry; `user` is empty where no login is wanted, `folder` has the certificates of `tls`."""

    kind: str
    registry: Registry
    folder: Path
    user: str = ""
    password: str = ""
    tokens: TokenServer | None = None

    @property
    def host(self) -> str:
        """What stands in references."""
        return self.registry.host

    def certs(self, directory: Path) -> Path:
        """Put into `directory` (a certs.d) what a client needs to trust this registry, and to be let in by it."""
        place = directory / self.host
        place.mkdir(parents=True, exist_ok=True)
        if self.kind in ("tls", "mtls"):
            shutil.copy(self.folder / "ca.pem", place / "ca.crt")
        if self.kind == "mtls":
            shutil.copy(self.folder / "client.pem", place / "client.cert")
            shutil.copy(self.folder / "client.key", place / "client.key")
        return directory

    def login(self) -> dict[str, Any]:
        """A config.json with the login."""
        auth = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"auths": {self.host: {"auth": auth}}} if self.user else {}


@contextmanager
def run_shape(kind: str, folder: Path, images: Mapping[str, Image] | None = None) -> Iterator[Shape]:
    """A registry of this kind (one of SHAPES, or `mtls`: it wants a client certificate too), with these images in it
    as `REPOSITORY:TAG`."""
    if images and kind != "open":
        with run_registry(folder) as registry:
            _fill(registry, images)
    with ExitStack() as stack:
        if kind in ("tls", "mtls"):
            make_certificates(folder)
            clients = folder if kind == "mtls" else None
            yield Shape(kind, stack.enter_context(run_registry(folder, tls=folder, clients=clients)), folder)
        elif kind == "basic":
            passwords = folder / "htpasswd"
            passwords.write_text(f"{USER}:{_BCRYPT}\n")
            auth = f"auth: {{htpasswd: {{realm: test, path: {passwords}}}}}"
            yield Shape(kind, stack.enter_context(run_registry(folder, auth)), folder, USER, PASSWORD)
        elif kind == "token":
            tokens = stack.enter_context(TokenServer(folder))
            registry = stack.enter_context(run_registry(folder, tokens.registry_config()))
            yield Shape(kind, registry, folder, USER, PASSWORD, tokens)
        else:
            registry = stack.enter_context(run_registry(folder))
            _fill(registry, images or {})
            yield Shape(kind, registry, folder)


def _fill(registry: Registry, images: Mapping[str, Image]) -> None:
    for name, image in images.items():
        repository, _, tag = name.rpartition(":")
        push_to_registry(image, registry.host, repository, tag)


def make_certificates(folder: Path) -> None:
    """A CA, a certificate for 127.0.0.1 and one for a client: ca.pem, cert.pem, key.pem, client.pem, client.key."""
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    curve = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    sign = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names"
    for command in (
        f"req -x509 {curve} -keyout ca.key -out ca.pem -days 2 -subj /CN=ca",
        f"req {curve} -keyout key.pem -out cert.csr -subj /CN=registry",
        f"x509 -req -in cert.csr {sign} -out cert.pem",
        f"req {curve} -keyout client.key -out client.csr -subj /CN=client",
        f"x509 -req -in client.csr {sign} -out client.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


@dataclass(frozen=True)
class Asked:
    """One request to the token server: `grant` is empty for a GET, `scopes` as they were sent."""

    method: str
    account: str
    scopes: tuple[str, ...]
    grant: str = ""
    offline: bool = False


@dataclass
class _Account:
    password: str
    actions: frozenset[str]


@dataclass
class TokenServer:
    """Signs tokens that docker-registry accepts ("token authentication specification", and its OAuth2 form).

    USER may do everything, READER may pull, nobody else gets anything but an empty token. With `offline_token` an
    answer has a refresh token too. `life` is what its tokens say of themselves; docker-registry believes them.
    """

    folder: Path
    life: int = 300
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.accounts = {
            USER: _Account(PASSWORD, frozenset({"pull", "push", "delete"})),
            READER: _Account(READER_PASSWORD, frozenset({"pull"})),
        }
        self._refresh = {f"refresh-{name}-{time.monotonic_ns()}": name for name in self.accounts}
        self._key = self.folder / "token.key"
        self._certificate = self.folder / "token.pem"
        command = "req -x509 -newkey rsa:2048 -nodes -keyout token.key -out token.pem -days 2 -subj /CN=tokens"
        subprocess.run(["openssl", *command.split()], cwd=self.folder, check=True, capture_output=True)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/token"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> TokenServer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def registry_config(self) -> str:
        """YAML that makes a registry trust this server."""
        return (
            f"auth: {{token: {{realm: {self.url}, service: {_SERVICE}, issuer: {_SERVICE}, "
            f"rootcertbundle: {self._certificate}}}}}"
        )

    def refresh_token(self, user: str = USER) -> str:
        """The identity token of a user."""
        return next(token for token, name in self._refresh.items() if name == user)

    def sign(self, user: str, scopes: tuple[str, ...]) -> str:
        """A token for what the user may do of the scopes."""
        account = self.accounts.get(user)
        allowed = account.actions if account else frozenset()
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            access.append(
                {"type": kind, "name": name, "actions": [a for a in actions.split(",") if a in allowed]}
            )
        now = int(time.time())
        claims = {
            "iss": _SERVICE, "sub": user, "aud": _SERVICE, "exp": now + self.life, "nbf": now - 10, "iat": now,
            "jti": str(time.monotonic_ns()), "access": access,
        }  # fmt: skip
        pem = self._certificate.read_text().split("-----")[2]
        header = {"typ": "JWT", "alg": "RS256", "x5c": ["".join(pem.split())]}
        text = f"{_encode(json.dumps(header).encode())}.{_encode(json.dumps(claims).encode())}"
        signed = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", self._key], input=text.encode(), capture_output=True, check=True
        )
        return f"{text}.{_encode(signed.stdout)}"

    def answer(self, asked: Asked, user: str | None) -> tuple[int, dict[str, Any]]:
        """Status and body; `user` is None for a login that is wrong, empty for none."""
        self.asked.append(asked)
        if user is None:
            return 401, {"errors": [{"code": "UNAUTHORIZED", "message": "incorrect username or password"}]}
        token = self.sign(user, asked.scopes)
        body: dict[str, Any] = {"token": token, "access_token": token, "expires_in": self.life}
        if user and (asked.offline or asked.grant):
            body["refresh_token"] = self.refresh_token(user)
        return 200, body

    def login(self, user: str, password: str) -> str | None:
        """The user, or None when the password is wrong."""
        account = self.accounts.get(user)
        return user if account is not None and account.password == password else None

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # the handler has its own self
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20

            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                user: str | None = ""
                account = ""
                kind, _, encoded = self.headers.get("Authorization", "").partition(" ")
                if kind == "Basic":
                    account, _, password = base64.b64decode(encoded).decode().partition(":")
                    user = server.login(account, password)
                offline = query.get("offline_token") == ["true"]
                self._send(server.answer(Asked("GET", account, tuple(query.get("scope", ())), "", offline), user))

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode())
                grant = form.get("grant_type", [""])[0]
                if grant == "refresh_token":
                    user = server._refresh.get(form["refresh_token"][0])
                else:
                    user = server.login(form.get("username", [""])[0], form.get("password", [""])[0])
                scopes = tuple(form.get("scope", [""])[0].split())
                self._send(server.answer(Asked("POST", user or "", scopes, grant), user))

            def _send(self, answer: tuple[int, dict[str, Any]]) -> None:
                status, body = answer
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        return Handler


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
