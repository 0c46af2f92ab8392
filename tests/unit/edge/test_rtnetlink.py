"""The netlink messages, against the kernel of this machine (reading only) and against known bytes."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

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


def test_an_answer_of_a_neighbour() -> None:
    def told(ip: str, state: int, kind: int = 28) -> bytes:
        body = struct.pack("=BBHiHBB", socket.AF_INET, 0, 0, 7, state, 0, 1)
        body += struct.pack("=HH", 8, 1) + socket.inet_aton(ip)
        return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 1) + body

    reachable, probed = 0x02, 0x10
    assert rtnetlink.neighbour_answered(told("198.18.0.9", probed) + told("198.18.0.1", reachable), "198.18.0.1")
    assert not rtnetlink.neighbour_answered(told("198.18.0.9", reachable), "198.18.0.1")
    assert not rtnetlink.neighbour_answered(told("198.18.0.1", probed), "198.18.0.1")
    assert not rtnetlink.neighbour_answered(told("198.18.0.1", reachable, kind=29), "198.18.0.1")


def test_the_kernel_understands_a_question_about_a_neighbour() -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.bind((0, 0))
        netlink.send(rtnetlink.ask_neighbour("203.0.113.99", socket.if_nametoindex("lo")))
        answer = netlink.recv(1 << 14)
    kind, error = struct.unpack_from("=4xH10xi", answer)
    assert (kind, error) == (2, -2), "NLMSG_ERROR, ENOENT: understood, and there is no such neighbour"


def test_the_gateway_is_the_router_of_the_default_route(tmp_path: Path) -> None:
    routes = tmp_path / "route"
    lines = ["Iface\tDestination\tGateway\tFlags", "eth1\t00000000\t010012AC\t0003", "eth0\t00F012C6\t00000000\t0001"]
    routes.write_text("\n".join(lines))
    assert network.gateway("eth0", routes) is None
    routes.write_text("\n".join([*lines, "eth0\t00000000\t01F012C6\t0003"]))
    assert network.gateway("eth0", routes) == "198.18.240.1"
