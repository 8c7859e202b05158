"""A small HTTP/1.1 client over unix and TCP sockets: what both command lines talk through.

It exists because a command that lives for tens of milliseconds cannot pay for importing an HTTP
library (http.client 28 ms, httpx 117 ms, measured), and because attach and exec need what those
do not offer: taking the socket over after `101 UPGRADED`, and closing one direction of it.

    transport = Transport("unix:///run/corten/corten.sock")
    transport.request("GET", "/info").json()
    for event in transport.request("GET", "/events").json_lines(): ...
    stream = transport.hijack("POST", f"/containers/{id}/attach", query=...)

One connection is kept alive and used again; a request made while a reply is still being read
opens another. A Transport belongs to one thread. Sizes of everything but a streamed body are
bounded: the peer may be anything that listens on the socket.

What fails below HTTP is raised as `Unavailable` or `PermissionDenied`, with the address; the
status of a reply is the caller's to judge.
"""

from __future__ import annotations

# The C module itself: `socket` wraps it in enums and selectors, for 10 ms of every command.
import _socket

from corten import jsontext
from corten.address import TLS, Address
from corten_shared.errors import DataLoss, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType
    from typing import Any

MAX_HEAD = 64 * 1024
"""Bytes of a reply's status line and headers together."""
MAX_BODY = 256 * 1024 * 1024
"""Bytes of a body that is read whole."""
MAX_LINE = 16 * 1024 * 1024
"""Bytes of one line of a JSON stream."""
READ_SIZE = 256 * 1024

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def quote(text: str, safe: str = "") -> str:
    """`text` percent-encoded for a URL (RFC 3986), keeping the characters of `safe`."""
    kept = _UNRESERVED.union(safe.encode())
    return "".join(chr(b) if b in kept else f"%{b:02X}" for b in text.encode("utf-8", "surrogateescape"))


def encode_query(query: Mapping[str, object]) -> str:
    """`?a=1&b=2`, or nothing. None is left out, True is `1`, False `0`, a list repeats its key."""
    parts = []
    for key, value in query.items():
        values = value if isinstance(value, list | tuple) else [value]
        for item in values:
            if item is None:
                continue
            text = str(int(item)) if isinstance(item, bool) else str(item)
            parts.append(f"{quote(key)}={quote(text)}")
    return "?" + "&".join(parts) if parts else ""


class Connection:
    """A socket and the bytes read from it ahead of need."""

    __slots__ = ("buffer", "sock", "where")

    def __init__(self, sock: _socket.socket, where: str) -> None:
        self.sock = sock
        self.where = where
        self.buffer = bytearray()

    def close(self) -> None:
        """Give the socket back; idempotent."""
        self.sock.close()

    def idle(self) -> bool:
        """Whether it can carry another request: nothing unread, and not closed by the peer."""
        if self.buffer or self.sock.fileno() < 0:
            return False
        try:
            self.sock.setblocking(False)
            self.sock.recv(1, _socket.MSG_PEEK)
        except BlockingIOError:
            self.sock.setblocking(True)
            return True
        except (OSError, ValueError):  # ValueError: a TLS socket, which cannot peek
            return False
        return False

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """All of `data`; raises Unavailable when the peer has gone."""
        try:
            self.sock.sendall(data)
        except OSError as exc:
            raise self.lost(exc) from None

    def fill(self) -> bool:
        """Read once more into the buffer; False at the end of the stream."""
        data = self.recv()
        self.buffer += data
        return bool(data)

    def recv(self) -> bytes:
        """What the socket has, at least one byte; nothing at the end of the stream."""
        try:
            return self.sock.recv(READ_SIZE)
        except OSError as exc:
            raise self.lost(exc) from None

    def take(self, limit: int) -> bytes:
        """One to `limit` bytes, from the buffer first; nothing at the end of the stream."""
        if not self.buffer:
            if limit >= READ_SIZE:
                return self.recv()
            if not self.fill():
                return b""
        data = bytes(self.buffer[:limit])
        del self.buffer[:limit]
        return data

    def until(self, mark: bytes, limit: int, what: str) -> bytes:
        """The bytes before `mark`, which is dropped; raises DataLoss past `limit` bytes or at the end."""
        start = 0
        while (at := self.buffer.find(mark, start)) < 0:
            if len(self.buffer) > limit:
                raise DataLoss(f"{what} from {self.where} is longer than {limit} bytes")
            start = max(0, len(self.buffer) - len(mark) + 1)
            if not self.fill():
                raise self.cut(what)
        if at > limit:
            raise DataLoss(f"{what} from {self.where} is longer than {limit} bytes")
        data = bytes(self.buffer[:at])
        del self.buffer[: at + len(mark)]
        return data

    def cut(self, what: str) -> Unavailable:
        """The error for a stream that ended inside `what`."""
        return Unavailable(
            f"the daemon at {self.where} closed the connection in the middle of {what}",
            hint="Is it still running? Its log says why",
        )

    def lost(self, exc: OSError) -> Unavailable:
        """The error for a socket that broke."""
        return Unavailable(f"the connection to {self.where} broke: {exc.strerror or exc}")


class Response:
    """A reply whose body is read as the caller wants it: whole, in chunks, or by JSON line.

    `headers` has lower-case names; of a repeated header the last counts. Reading to the end
    gives the connection back to its Transport; `close` (or `with`) ends an unfinished one.
    """

    def __init__(self, owner: Transport, connection: Connection, method: str) -> None:
        self._owner = owner
        self.connection = connection
        self.status, self.reason, self.headers = _read_head(connection)
        self._open = True
        bodiless = method == "HEAD" or self.status in (204, 304) or self.status == 101
        self._chunked = self.headers.get("transfer-encoding", "").lower().endswith("chunked")
        self._left = 0 if bodiless else _content_length(self.headers, connection)
        if bodiless:
            self._chunked = False
        if self._left == 0 and not self._chunked and self.status != 101:
            self._finish()

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop what is unread, with the connection; does nothing after a whole read."""
        if self._open:
            self._open = False
            self.connection.close()

    def _finish(self) -> None:
        self._open = False
        closing = "close" in self.headers.get("connection", "").lower()
        framed = self._chunked or self._left is not None
        self._owner.give_back(self.connection, reusable=framed and not closing)

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives. Raises Unavailable when it ends before its time.

        An error, or a reader that stops half-way, closes the connection.
        """
        if not self._open:
            return
        try:
            yield from self._chunked_body() if self._chunked else self._plain_body()
            self._finish()
        finally:
            self.close()

    def _plain_body(self) -> Iterator[bytes]:
        left = self._left
        if left is None:
            while data := self.connection.take(READ_SIZE):
                yield data
            return
        while left:
            data = self.connection.take(min(left, READ_SIZE))
            if not data:
                raise self.connection.cut("its answer")
            left -= len(data)
            yield data

    def _chunked_body(self) -> Iterator[bytes]:
        connection = self.connection
        while left := _chunk_size(connection):
            while left:
                data = connection.take(left)
                if not data:
                    raise connection.cut("its answer")
                left -= len(data)
                yield data
            connection.until(b"\r\n", 0, "the end of a chunk")
        while connection.until(b"\r\n", MAX_HEAD, "a trailer"):
            pass

    def read(self, limit: int = MAX_BODY) -> bytes:
        """The whole body; raises DataLoss past `limit` bytes."""
        body = bytearray()
        for data in self.chunks():
            body += data
            if len(body) > limit:
                raise DataLoss(f"an answer of {self.connection.where} is longer than {limit} bytes")
        return bytes(body)

    def json(self) -> Any:
        """The body parsed as JSON; None when there is none; raises DataLoss when it is not JSON."""
        body = self.read()
        return _parse_json(body, self.connection.where) if body.strip() else None

    def lines(self) -> Iterator[bytes]:
        """The body's lines without their ends, as they arrive; a last line needs no end."""
        rest = bytearray()
        for data in self.chunks():
            searched = len(rest)
            rest += data
            if rest.find(b"\n", searched) >= 0:
                *whole, last = bytes(rest).split(b"\n")
                rest = bytearray(last)
                yield from (line.rstrip(b"\r") for line in whole)
            if len(rest) > MAX_LINE:
                raise DataLoss(f"a line of {self.connection.where} is longer than {MAX_LINE} bytes")
        if rest:
            yield bytes(rest).rstrip(b"\r")

    def json_lines(self) -> Iterator[dict[str, Any]]:
        """The objects of a JSON stream, one a line (also with the RS bytes of RFC 7464)."""
        for line in self.lines():
            if text := line.strip(b" \t\x1e"):
                value = _parse_json(text, self.connection.where)
                if isinstance(value, dict):
                    yield value


def _read_head(connection: Connection) -> tuple[int, str, dict[str, str]]:
    """Status, reason and headers of the next reply that is not a mere `1xx` notice."""
    while True:
        head = connection.until(b"\r\n\r\n", MAX_HEAD, "the head of its answer").decode("latin-1")
        first, *fields = head.split("\r\n")
        version, _, rest = first.partition(" ")
        code, _, reason = rest.partition(" ")
        if not version.startswith("HTTP/1.") or len(code) != 3 or not (code.isascii() and code.isdigit()):
            raise DataLoss(f"{connection.where} does not speak HTTP: {first[:80]!r}")
        status = int(code)
        if status >= 200 or status == 101:
            pairs = (field.partition(":") for field in fields)
            return status, reason, {name.strip().lower(): value.strip() for name, _, value in pairs}


def _content_length(headers: dict[str, str], connection: Connection) -> int | None:
    """Bytes of the body; None when it lasts until the end of the connection."""
    text = headers.get("content-length")
    if text is None or "transfer-encoding" in headers:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise DataLoss(f"{connection.where} sent a malformed Content-Length {text[:40]!r}")
    return int(text)


def _chunk_size(connection: Connection) -> int:
    line = connection.until(b"\r\n", 1024, "a chunk's size").partition(b";")[0].strip()
    if not line or len(line) > 15 or line.strip(b"0123456789abcdefABCDEF"):
        raise DataLoss(f"{connection.where} sent a malformed chunk size {line[:40]!r}")
    return int(line, 16)


def _parse_json(text: bytes, where: str) -> Any:
    try:
        return jsontext.loads(text)
    except (ValueError, RecursionError):
        raise DataLoss(f"{where} sent what is not JSON: {text[:80]!r}") from None


class Transport:
    """Requests to one daemon. `headers` go with every request."""

    def __init__(
        self,
        host: str,
        *,
        tls: TLS | None = None,
        headers: Mapping[str, str] | None = None,
        connect_timeout: float | None = None,
    ) -> None:
        self.address = Address(host)
        self._connect_timeout = connect_timeout
        self._tls = tls or (TLS(None, None, None, verify=True) if self.address.tls else None)
        self._headers = dict(headers or {})
        self._idle: Connection | None = None
        self._keeping = True

    def __enter__(self) -> Transport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection that is kept for the next request, and keep none from now on."""
        self._keeping = False
        if self._idle is not None:
            self._idle.close()
            self._idle = None

    def clone(self) -> Transport:
        """Another Transport to the same daemon with a connection of its own (for signal handlers)."""
        return Transport(
            self.address.text, tls=self._tls, headers=self._headers, connect_timeout=self._connect_timeout
        )

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request and read the reply's head; the body is the caller's to read.

        `body`: None, bytes, an iterable of bytes (sent in chunks), or anything else as JSON.
        """
        connection = self._connection()
        try:
            self._send(connection, method, path + encode_query(query or {}), body, dict(headers or {}))
            return Response(self, connection, method)
        except BaseException:
            connection.close()
            raise

    def hijack(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Any = None,
    ) -> Response:
        """Ask for the connection itself (`Upgrade: tcp`).

        The caller looks at `status`: 101 (or 200 of an old engine) means `response.connection` is
        now a plain byte stream both ways, its first bytes perhaps in `connection.buffer`.
        """
        headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
        return self.request(method, path, query=query, body=body, headers=headers)

    def give_back(self, connection: Connection, *, reusable: bool) -> None:
        """Keep `connection`, whose reply was read whole, for the next request, or close it."""
        if reusable and self._keeping and self._idle is None:
            self._idle = connection
        else:
            connection.close()

    def _connection(self) -> Connection:
        kept, self._idle = self._idle, None
        if kept is not None:
            if kept.idle():
                return kept
            kept.close()
        sock = self.address.connect(self._connect_timeout)
        if self._tls is not None and self.address.host:
            sock = self._tls.wrap(sock, self.address.host)
        return Connection(sock, self.address.text)

    def _send(
        self, connection: Connection, method: str, target: str, body: Any, headers: dict[str, str]
    ) -> None:
        host = f"{self.address.host}:{self.address.port}" if self.address.host else "localhost"
        fields = {"Host": host, "User-Agent": "corten", **self._headers, **headers}
        payload = b""
        streamed: Iterable[bytes] | None = None
        if isinstance(body, bytes):
            payload = body
        elif hasattr(body, "__next__"):
            streamed = body
            fields["Transfer-Encoding"] = "chunked"
            fields.setdefault("Content-Type", "application/x-tar")
        elif body is not None:
            payload = jsontext.dumps(body).encode()
            fields.setdefault("Content-Type", "application/json")
        if streamed is None and (payload or method in ("POST", "PUT", "PATCH")):
            fields["Content-Length"] = str(len(payload))
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"{name}: {_clean(value)}" for name, value in fields.items()]
        connection.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace") + payload)
        if streamed is not None:
            self._send_chunks(connection, streamed)

    @staticmethod
    def _send_chunks(connection: Connection, body: Iterable[bytes]) -> None:
        """The body in chunks. A daemon that stops listening has answered already: read that."""
        try:
            for data in body:
                if data:
                    connection.sock.sendall(b"%x\r\n%b\r\n" % (len(data), data))
            connection.sock.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            return
        except OSError as exc:
            raise connection.lost(exc) from None


def _clean(value: str) -> str:
    """A header value that cannot end its line."""
    return value.replace("\r", " ").replace("\n", " ")
