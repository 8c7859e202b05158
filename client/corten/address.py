"""Where a daemon listens and how a socket to it is opened: unix, TCP, TCP with TLS.

Sockets come from the C module `_socket`, whose wrapper `socket` costs 10 ms to import; TCP and TLS,
which need what the wrapper adds, import it.
"""

from __future__ import annotations

import _socket
import os

from corten_shared.errors import InvalidArgument, PermissionDenied, Unavailable

DEFAULT_HOST = "unix:///run/corten/corten.sock"
CONNECT_TIMEOUT = 30.0


def default_host(*variables: str) -> str:
    """The first of these environment variables that is set, else corten's own socket."""
    for name in variables or ("CORTEN_HOST", "DOCKER_HOST"):
        if value := os.environ.get(name):
            return value
    return DEFAULT_HOST


class Address:
    """Where a daemon listens: `unix:///path`, `tcp://host:port`, `http(s)://host:port`."""

    __slots__ = ("host", "path", "port", "text", "tls")

    def __init__(self, text: str) -> None:
        self.text = text
        self.path = self.host = ""
        self.port = 0
        scheme, separator, rest = text.partition("://")
        self.tls = scheme == "https"
        if not separator and text.startswith("/"):
            self.path, self.text = text, f"unix://{text}"
        elif scheme == "unix" and rest:
            self.path = rest
        elif scheme in ("tcp", "http", "https") or not separator:
            self._parse_tcp(rest if separator else text)
        else:
            raise self._malformed()

    def _parse_tcp(self, rest: str) -> None:
        host, colon, port = rest.rstrip("/").rpartition(":")
        if not colon or "]" in port:
            host, port = rest.rstrip("/"), "2376" if self.tls else "2375"
        if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
            raise self._malformed()
        self.host, self.port = host.strip("[]"), int(port)

    def _malformed(self) -> InvalidArgument:
        return InvalidArgument(
            f"unable to parse the daemon's address {self.text!r}",
            hint="use unix:///path/to/socket or tcp://host:port",
        )

    def connect(self, timeout: float | None = None) -> _socket.socket:
        """A connected socket (not yet TLS), within `timeout` seconds; raises Unavailable or PermissionDenied."""
        try:
            if self.path:
                return self._connect_unix(timeout)
            import socket

            sock = socket.create_connection((self.host, self.port), timeout=timeout or CONNECT_TIMEOUT)
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except PermissionError:
            raise self._denied() from None
        except OSError as exc:
            raise self._unreachable(exc) from None

    def _connect_unix(self, timeout: float | None) -> _socket.socket:
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            sock.settimeout(timeout)
            sock.connect(self.path)
            sock.settimeout(None)
        except BaseException:
            sock.close()
            raise
        return sock

    def _unreachable(self, exc: OSError) -> Unavailable:
        missing = isinstance(exc, FileNotFoundError | ConnectionRefusedError)
        why = "" if missing else f" ({exc.strerror or exc})"
        return Unavailable(
            f"cannot connect to cortend at {self.text}{why}; is it running?",
            hint="Start it with `cortend` (or `systemctl start cortend`, or `make run`)",
        )

    def _denied(self) -> PermissionDenied:
        return PermissionDenied(
            f"permission denied on cortend's socket {self.text}",
            hint=f"The socket belongs to {_owner(self.path)}: run as root, "
            f"or join the group and log in again",
        )


def _owner(path: str) -> str:
    """`group NAME` of the socket, for the hint of a refused connection."""
    import grp

    try:
        gid = os.stat(path).st_gid
        return f"group {grp.getgrgid(gid).gr_name!r}"
    except (OSError, KeyError):
        return "root"


class TLS:
    """The files for a TLS connection, as docker's `--tls*` flags and DOCKER_CERT_PATH name them."""

    __slots__ = ("ca", "cert", "key", "verify")

    def __init__(self, ca: str | None, cert: str | None, key: str | None, *, verify: bool) -> None:
        self.ca, self.cert, self.key, self.verify = ca, cert, key, verify

    def wrap(self, sock: _socket.socket, host: str) -> _socket.socket:
        """`sock` with TLS spoken on it; raises Unavailable when the peers do not agree."""
        import socket
        import ssl

        assert isinstance(sock, socket.socket)  # TCP sockets are
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if not self.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.cert and self.key:
                context.load_cert_chain(self.cert, self.key)
            return context.wrap_socket(sock, server_hostname=host)
        except OSError as exc:  # ssl.SSLError is one
            sock.close()
            hint = "check --tlscacert, --tlscert and --tlskey"
            raise Unavailable(f"TLS to {host} failed: {exc}", hint=hint) from None
