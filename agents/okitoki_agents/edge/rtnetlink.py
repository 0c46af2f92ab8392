"""The few rtnetlink messages that the guard needs (rtnetlink(7), linux/if_addr.h, linux/neighbour.h), as bytes. Pure.

Not by a library: the guard renews four addresses twice a second and reads back what that causes, at well under 1 % of a
core, and it must know who caused an event.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

RTMGRP_IPV4_IFADDR = 0x10
INFINITY = 0xFFFFFFFF

_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_RTM_NEWNEIGH, _RTM_GETNEIGH = 28, 30
_NDA_DST = 1
_NUD_REACHABLE, _NUD_PROBE = 0x02, 0x10
_NLMSG_DONE = 3
_NLM_F_MULTI = 0x2
_NLM_F_REQUEST, _NLM_F_DUMP, _NLM_F_REPLACE = 0x1, 0x300, 0x100
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO = 1, 2, 6
_HEADER = struct.Struct("=IHHII")
_IFADDRMSG = struct.Struct("=BBBBI")
_NDMSG = struct.Struct("=BBHiHBB")
_ATTRIBUTE = struct.Struct("=HH")


@dataclass(frozen=True)
class AddressEvent:
    """An address came (or changed) or went, or `dumped`: was there when all were asked for.

    `by`: netlink port of who caused it, 0 for the kernel itself and in dumps.
    """

    present: bool
    ip: str
    prefix: int
    interface: int
    valid_seconds: int
    by: int
    dumped: bool


def lease(ip: str, prefix: int, interface: int, seconds: int) -> bytes:
    """Give an address a lifetime. The kernel adds the address if it is gone: whoever sends this must undo that."""
    packed = socket.inet_aton(ip)
    attributes = (
        _attribute(_IFA_LOCAL, packed)
        + _attribute(_IFA_ADDRESS, packed)
        + _attribute(_IFA_CACHEINFO, struct.pack("=IIII", seconds, seconds, 0, 0))
    )
    return _address(_RTM_NEWADDR, _NLM_F_REQUEST | _NLM_F_REPLACE, prefix, interface, attributes)


def delete(ip: str, prefix: int, interface: int) -> bytes:
    return _address(_RTM_DELADDR, _NLM_F_REQUEST, prefix, interface, _attribute(_IFA_LOCAL, socket.inet_aton(ip)))


def dump() -> bytes:
    """Ask for all addresses; they come as events."""
    return _address(_RTM_GETADDR, _NLM_F_REQUEST | _NLM_F_DUMP, 0, 0, b"")


def probe_neighbour(ip: str, interface: int) -> bytes:
    """Let the kernel ask a known neighbour for its hardware address now; an unknown one is an error, which nobody
    reads."""
    return _neighbour(_RTM_NEWNEIGH, _NLM_F_REQUEST | _NLM_F_REPLACE, ip, interface, _NUD_PROBE)


def ask_neighbour(ip: str, interface: int) -> bytes:
    """Ask the kernel what it knows of a neighbour; see `neighbour_answered`."""
    return _neighbour(_RTM_GETNEIGH, _NLM_F_REQUEST, ip, interface, 0)


def neighbour_answered(data: bytes, ip: str) -> bool:
    """Whether a datagram says that the neighbour has answered since it was probed."""
    return any(
        kind == _RTM_NEWNEIGH
        and bool(_NDMSG.unpack_from(body)[4] & _NUD_REACHABLE)
        and (_NDA_DST, socket.inet_aton(ip)) in _attributes(body, _NDMSG.size)
        for kind, _, _, body in _messages(data)
    )


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value


def _address(kind: int, flags: int, prefix: int, interface: int, attributes: bytes) -> bytes:
    return _message(kind, flags, _IFADDRMSG.pack(socket.AF_INET, prefix, 0, 0, interface) + attributes)


def _neighbour(kind: int, flags: int, ip: str, interface: int, state: int) -> bytes:
    body = _NDMSG.pack(socket.AF_INET, 0, 0, interface, state, 0, 0)
    return _message(kind, flags, body + _attribute(_NDA_DST, socket.inet_aton(ip)))


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 0, 0) + body


def events(data: bytes) -> Iterator[AddressEvent | None]:
    """The address events in one datagram, None at the end of a dump; errors are passed over."""
    for kind, flags, port, body in _messages(data):
        if kind in (_RTM_NEWADDR, _RTM_DELADDR):
            dumped = bool(flags & _NLM_F_MULTI)
            yield _event(kind == _RTM_NEWADDR, body, 0 if dumped else port, dumped)
        elif kind == _NLMSG_DONE:
            yield None


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(kind, flags, port of the sender, body) of each message in one datagram."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, _, port = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield kind, flags, port, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def _attributes(body: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind, body[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


def _event(present: bool, body: bytes, by: int, dumped: bool) -> AddressEvent:
    _, prefix, _, _, interface = _IFADDRMSG.unpack_from(body)
    ip, valid = "", INFINITY
    for kind, value in _attributes(body, _IFADDRMSG.size):
        if kind == _IFA_LOCAL:
            ip = socket.inet_ntoa(value)
        elif kind == _IFA_CACHEINFO:
            valid = struct.unpack_from("=II", value)[1]
    return AddressEvent(present, ip, prefix, interface, valid, by, dumped)
