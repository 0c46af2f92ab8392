"""The few rtnetlink messages that leases need (rtnetlink(7), linux/if_addr.h), as bytes. Pure.

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
_NLMSG_DONE = 3
_NLM_F_MULTI = 0x2
_NLM_F_REQUEST, _NLM_F_DUMP, _NLM_F_REPLACE = 0x1, 0x300, 0x100
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO = 1, 2, 6
_HEADER = struct.Struct("=IHHII")
_IFADDRMSG = struct.Struct("=BBBBI")
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
    return _message(_RTM_NEWADDR, _NLM_F_REQUEST | _NLM_F_REPLACE, prefix, interface, attributes)


def delete(ip: str, prefix: int, interface: int) -> bytes:
    return _message(_RTM_DELADDR, _NLM_F_REQUEST, prefix, interface, _attribute(_IFA_LOCAL, socket.inet_aton(ip)))


def dump() -> bytes:
    """Ask for all addresses; they come as events."""
    return _message(_RTM_GETADDR, _NLM_F_REQUEST | _NLM_F_DUMP, 0, 0, b"")


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value


def _message(kind: int, flags: int, prefix: int, interface: int, attributes: bytes) -> bytes:
    body = _IFADDRMSG.pack(socket.AF_INET, prefix, 0, 0, interface) + attributes
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 0, 0) + body


def events(data: bytes) -> Iterator[AddressEvent | None]:
    """The address events in one datagram, None at the end of a dump; errors are passed over."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, _, port = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        if kind in (_RTM_NEWADDR, _RTM_DELADDR):
            dumped = bool(flags & _NLM_F_MULTI)
            yield _event(kind == _RTM_NEWADDR, data[at + _HEADER.size : at + length], 0 if dumped else port, dumped)
        elif kind == _NLMSG_DONE:
            yield None
        at += (length + 3) & ~3


def _event(present: bool, body: bytes, port: int, dumped: bool) -> AddressEvent:
    _, prefix, _, _, interface = _IFADDRMSG.unpack_from(body)
    at, ip, valid = _IFADDRMSG.size, "", INFINITY
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size:
            break
        value = body[at + _ATTRIBUTE.size : at + length]
        if kind == _IFA_LOCAL:
            ip = socket.inet_ntoa(value)
        elif kind == _IFA_CACHEINFO:
            valid = struct.unpack_from("=II", value)[1]
        at += (length + 3) & ~3
    return AddressEvent(present, ip, prefix, interface, valid, port, dumped)
