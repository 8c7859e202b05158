"""The HTTP client under both command lines: framing, reuse, taking over, and hostile peers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corten.address import Address, default_host
from corten.transport import MAX_HEAD, Transport, encode_query, quote
from corten_shared.errors import DataLoss, InvalidArgument, PermissionDenied, Unavailable
from unit.client.recorder import Recorder, Request, raw, reply


def chunked(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    body = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + end


@pytest.fixture
def transport(daemon: Recorder) -> Iterator[Transport]:
    with Transport(daemon.host) as transport:
        yield transport


def get(daemon: Recorder, data: bytes) -> Any:
    """The reply to a request that these bytes answer; its connection is not kept."""
    daemon.on("GET", "/x", raw(data))
    with Transport(daemon.host) as transport:
        return transport.request("GET", "/x")


def test_one_connection_serves_many_requests(daemon: Recorder) -> None:
    """Keep-alive: also after replies without a body (204) and to HEAD."""
    daemon.on("GET", "/a", reply("200 OK", {"n": 1}))
    daemon.on("POST", "/b", reply("204 No Content"))
    with Transport(daemon.host) as transport:
        assert transport.request("GET", "/a").json() == {"n": 1}
        assert transport.request("POST", "/b").status == 204
        assert transport.request("HEAD", "/_ping").status == 200
        assert transport.request("GET", "/a").json() == {"n": 1}
    assert daemon.connections == 1


def test_a_request_during_a_streamed_reply_opens_another_connection(daemon: Recorder, transport: Transport) -> None:
    daemon.on("GET", "/a", reply("200 OK", {"n": 1}))
    first = transport.request("GET", "/a")
    assert transport.request("GET", "/a").json() == {"n": 1}
    assert first.json() == {"n": 1}
    assert daemon.connections == 2


def test_a_connection_that_the_daemon_closed_is_not_used_again(daemon: Recorder, transport: Transport) -> None:
    """The daemon may close an idle connection; the next request must not fail for it."""
    closed: list[socket.socket] = []

    def answer(request: Request, sock: socket.socket) -> bool:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        closed.append(sock)
        return False

    daemon.on("GET", "/a", answer)
    assert transport.request("GET", "/a").json() == {}
    kept = transport._idle
    assert kept is not None
    assert kept.sock.recv(1, socket.MSG_PEEK) == b""  # the close has arrived
    assert transport.request("GET", "/a").json() == {}
    assert daemon.connections == 2


def test_chunked_body_with_extensions_and_trailers(daemon: Recorder) -> None:
    assert get(daemon, chunked(b"ab", b"c" * 70000, end=b"0\r\nX: y\r\n\r\n")).read() == b"ab" + b"c" * 70000


def test_body_until_the_end_of_the_connection(daemon: Recorder) -> None:
    assert get(daemon, b"HTTP/1.1 200 OK\r\n\r\nall of it").read() == b"all of it"


def test_informational_replies_are_passed_over(daemon: Recorder) -> None:
    assert get(daemon, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").read() == b"x"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        chunked(b"whole", end=b"5\r\nab"),
        chunked(b"whole", end=b""),
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"",
    ],
)
def test_a_cut_reply_is_an_error_and_never_a_short_body(daemon: Recorder, data: bytes) -> None:
    with pytest.raises(Unavailable, match="closed the connection in the middle of"):
        get(daemon, data).read()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 abc OK\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "malformed Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n", "malformed Content-Length"),
        (chunked(end=b"0x5\r\nhello\r\n"), "malformed chunk size"),
        (chunked(end=b"-1\r\n"), "malformed chunk size"),
        (chunked(end=b"f" * 20 + b"\r\n"), "malformed chunk size"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * (MAX_HEAD + 10) + b"\r\n\r\n", "longer than"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * (MAX_HEAD * 3), "longer than"),
    ],
)
def test_what_is_not_http_is_refused(daemon: Recorder, data: bytes, said: str) -> None:
    with pytest.raises(DataLoss, match=said):
        get(daemon, data).read()


def test_a_body_larger_than_asked_for_is_refused(daemon: Recorder) -> None:
    with pytest.raises(DataLoss, match="longer than 10 bytes"):
        get(daemon, b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100).read(10)


def test_json_lines_across_chunks(daemon: Recorder) -> None:
    """Lines end in LF or CRLF, may start with RS, and the last needs no end; blank ones are skipped."""
    data = chunked(b'{"a":', b'1}\r\n\n\x1e{"a":2}\n{"', b'a":3}')
    assert [line["a"] for line in get(daemon, data).json_lines()] == [1, 2, 3]


def test_json_that_is_none_is_told(daemon: Recorder) -> None:
    with pytest.raises(DataLoss, match="what is not JSON: b'<html>'"):
        get(daemon, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>").json()


def test_a_streamed_body_is_sent_in_chunks(daemon: Recorder, transport: Transport) -> None:
    daemon.on("POST", "/up", reply("200 OK", {}))
    transport.request("POST", "/up", body=iter([b"one", b"", b"two"])).json()
    assert daemon.requests[-1].body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    assert daemon.requests[-1].headers["content-type"] == "application/x-tar"


def test_hijack_gives_the_stream_with_its_first_bytes_and_half_close(daemon: Recorder, transport: Transport) -> None:
    """Bytes that came with the head are kept; closing our direction leaves the other open."""

    def answer(request: Request, sock: socket.socket) -> bool:
        sock.sendall(b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\nearly")
        received = b""
        while piece := sock.recv(100):
            received += piece
        sock.sendall(b"got " + received)
        return False

    daemon.on("POST", "/attach", answer)
    stream = transport.hijack("POST", "/attach")
    assert stream.status == 101
    connection = stream.connection
    connection.send(b"typed")
    connection.sock.shutdown(socket.SHUT_WR)
    data = bytes(connection.buffer)
    while piece := connection.recv():
        data += piece
    connection.close()
    assert data == b"earlygot typed"
    assert daemon.requests[-1].headers["upgrade"] == "tcp"


def test_a_missing_daemon_is_one_line_with_the_command_that_starts_it(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        Transport(f"unix://{tmp_path}/none.sock").request("GET", "/")
    assert caught.value.message == f"cannot connect to cortend at unix://{tmp_path}/none.sock; is it running?"
    assert "`cortend`" in str(caught.value.hint)


def test_a_refused_socket_names_its_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s"
    path.touch()

    def refuse(self: Address, timeout: float | None) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Address, "_connect_unix", refuse)  # root is never refused
    with pytest.raises(PermissionDenied) as caught:
        Address(f"unix://{path}").connect()
    import grp

    assert grp.getgrgid(path.stat().st_gid).gr_name in str(caught.value.hint)


@pytest.mark.parametrize("text", ["ftp://x", "unix://", "tcp://", "tcp://h:99999", "tcp://h:x", "ssh://h", "tcp://:1"])
def test_malformed_addresses_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="unable to parse the daemon's address"):
        Address(text)


def test_addresses() -> None:
    assert Address("unix:///a/b").path == "/a/b"
    assert Address("/a/b").text == "unix:///a/b"
    assert (Address("tcp://[::1]:80").host, Address("tcp://[::1]:80").port) == ("::1", 80)
    assert (Address("tcp://h").port, Address("https://h").port) == (2375, 2376)


def test_host_variables_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORTEN_HOST", "")
    monkeypatch.setenv("DOCKER_HOST", "unix:///d")
    assert default_host() == "unix:///d"
    assert default_host("CORTEN_HOST") == "unix:///run/corten/corten.sock"
    monkeypatch.setenv("CORTEN_HOST", "unix:///c")
    assert default_host() == "unix:///c"


def test_queries_are_encoded() -> None:
    query = {"a": "x y/&", "none": None, "yes": True, "no": False, "many": ["1", "2"], "n": 0}
    assert encode_query(query) == "?a=x%20y%2F%26&yes=1&no=0&many=1&many=2&n=0"
    assert encode_query({"a": None}) == ""
    assert quote("a/ü:@", "/:@") == "a/%C3%BC:@"


def test_header_values_cannot_add_headers(daemon: Recorder) -> None:
    daemon.on("GET", "/a", reply("200 OK", {}))
    with Transport(daemon.host, headers={"X-A": "1\r\nX-B: 2"}) as transport:
        transport.request("GET", "/a").read()
    assert "x-b" not in daemon.requests[-1].headers


def test_a_reply_left_half_read_gives_its_socket_back(daemon: Recorder, transport: Transport) -> None:
    daemon.on("GET", "/a", raw(chunked(b"a", b"b")))
    with transport.request("GET", "/a") as answer:
        for _ in answer.chunks():
            break
    assert answer.connection.sock.fileno() == -1


def test_a_cut_reply_gives_its_socket_back(daemon: Recorder, transport: Transport) -> None:
    daemon.on("GET", "/cut", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"))
    answer = transport.request("GET", "/cut")
    with pytest.raises(Unavailable):
        answer.read()
    assert answer.connection.sock.fileno() == -1
