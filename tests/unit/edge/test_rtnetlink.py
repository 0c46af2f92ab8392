"""The netlink messages, against the kernel of this machine (reading only) and against known bytes."""

from __future__ import annotations

import socket
import struct

from okitoki_agents.edge import network, rtnetlink
from okitoki_agents.edge.rtnetlink import AddressEvent

NEWADDR, DELADDR, DONE, MULTI = 20, 21, 3, 2


def message(kind: int, flags: int, port: int, ip: str = "198.18.0.1", valid: int | None = None) -> bytes:
    body = struct.pack("=BBBBI", 2, 32, 0, 0, 7) + struct.pack("=HH", 8, 2) + socket.inet_aton(ip)
    if valid is not None:
        body += struct.pack("=HHIIII", 20, 6, valid, valid, 0, 0)
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 0, port) + body


def test_events_of_one_datagram() -> None:
    data = message(NEWADDR, 0, 0) + message(NEWADDR, 0, 42, valid=3) + message(DELADDR, 0, 0)
    assert list(rtnetlink.events(data)) == [
        AddressEvent(True, "198.18.0.1", 32, 7, rtnetlink.INFINITY, 0, False),
        AddressEvent(True, "198.18.0.1", 32, 7, 3, 42, False),
        AddressEvent(False, "198.18.0.1", 32, 7, rtnetlink.INFINITY, 0, False),
    ]


def test_a_dump_is_nobodys_doing_and_has_an_end() -> None:
    data = message(NEWADDR, MULTI, 42, valid=3) + struct.pack("=IHHIII", 20, DONE, MULTI, 0, 42, 0)
    first, end = rtnetlink.events(data)
    assert first == AddressEvent(True, "198.18.0.1", 32, 7, 3, 0, True)
    assert end is None


def test_a_torn_datagram_ends_the_events() -> None:
    assert list(rtnetlink.events(message(NEWADDR, 0, 0)[:10])) == []
    assert list(rtnetlink.events(bytes(16))) == []


def test_a_lease_carries_address_and_lifetime() -> None:
    request = rtnetlink.lease("198.18.0.1", 32, 7, 3)
    length, kind, flags, _, _ = struct.unpack_from("=IHHII", request)
    assert (length, kind, flags) == (len(request), NEWADDR, 0x101)
    assert list(rtnetlink.events(request)) == [AddressEvent(True, "198.18.0.1", 32, 7, 3, 0, False)]


def test_the_kernel_understands_the_dump() -> None:
    assert ("127.0.0.1", "lo") in [(a.ip, socket.if_indextoname(a.interface)) for a in network.addresses()]
    assert network.interface_of("127.0.0.1") == "lo"
