"""Forgetting tracked UDP flows, through nfnetlink.

UDP has no end: the kernel keeps sending a flow where the rules sent its first packet. So when a UDP port
is published, flows that came before must be forgotten (they go to the host), and when it is withdrawn,
those that go to the container (moby 8795). The kernel filters; 5.8 and newer.
"""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address

log = logging.getLogger(__name__)

_NETLINK_NETFILTER = 12
_GET, _DELETE = 0x0101, 0x0102  # NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_*
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_TUPLE_ORIG, _TUPLE_REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25
_NESTED = 0x8000
_BY_SOURCE, _BY_PROTOCOL, _BY_DESTINATION_PORT = 1 << 0, 1 << 3, 1 << 5
_HEADER, _FAMILY = struct.Struct("=IHHII"), struct.Struct(">BBH")
_FLOWS_MAX = 65536


def forget_flows_to_port(port: int) -> int:
    """Forget UDP flows whose first packet was for `port`, of whatever address; how many."""
    wanted = _attr(_TUPLE_ORIG | _NESTED, _attr(2 | _NESTED, _protocol() + _attr(3, struct.pack(">H", port))))
    return _forget(wanted, 1, _BY_PROTOCOL | _BY_DESTINATION_PORT)


def forget_flows_of(address: str) -> int:
    """Forget UDP flows that `address` answers; how many."""
    source = _attr(1 | _NESTED, _attr(1, IPv4Address(address).packed))
    wanted = _attr(_TUPLE_REPLY | _NESTED, source + _attr(2 | _NESTED, _protocol()))
    return _forget(wanted, 2, _BY_SOURCE | _BY_PROTOCOL)


def _forget(wanted: bytes, direction: int, flags: int) -> int:
    """Flows matching; a kernel that cannot say (no module, no filter) costs nothing but the old flows' lifetime."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as sock:
            sock.settimeout(2.0)
            flows = list(_dump(sock, wanted + _attr(_FILTER | _NESTED, _attr(direction, struct.pack("=I", flags)))))
            for flow in flows:
                sock.send(_message(_DELETE, _REQUEST | _ACK, flow))
                sock.recv(4096)
            return len(flows)
    except OSError as error:
        log.debug("cannot forget tracked flows", extra={"fields": {"error": str(error)}})
        return 0


def _dump(sock: socket.socket, body: bytes) -> Iterator[bytes]:
    """For each flow matching, the attributes that name it."""
    sock.send(_message(_GET, _REQUEST | _DUMP, body))
    count = 0
    while True:
        data = sock.recv(1 << 17)
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, *_ = _HEADER.unpack_from(data, offset)
            payload = data[offset + _HEADER.size : offset + length]
            if kind == _DONE:
                return
            if kind == _ERROR:
                raise OSError(-struct.unpack_from("=i", payload)[0], "conntrack dump refused")
            if (count := count + 1) <= _FLOWS_MAX:
                yield b"".join(_naming(payload[_FAMILY.size :]))
            offset += max(_align(length), _HEADER.size)


def _naming(attributes: bytes) -> Iterator[bytes]:
    offset = 0
    while offset + 4 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, offset)
        if kind & ~_NESTED in (_TUPLE_ORIG, _ID, _ZONE):
            yield attributes[offset : offset + _align(length)]
        offset += max(_align(length), 4)


def _message(kind: int, flags: int, body: bytes) -> bytes:
    payload = _FAMILY.pack(socket.AF_INET, 0, 0) + body
    return _HEADER.pack(_HEADER.size + len(payload), kind, flags, 0, 0) + payload


def _protocol() -> bytes:
    return _attr(1, bytes([socket.IPPROTO_UDP]))


def _attr(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(_align(length) - length)


def _align(length: int) -> int:
    return (length + 3) & ~3
