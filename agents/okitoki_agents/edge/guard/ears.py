"""What this node hears: packets that come in from outside, counted in the guard's table behind everything that may drop
them at the device, and the gateway's answer to ARP, which the kernel asks for and remembers (arp(7))."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable

from okitoki_agents.edge import network, rtnetlink
from okitoki_agents.edge.guard import deafness
from okitoki_agents.edge.guard.deafness import Decision, Heard, Hearing

log = logging.getLogger(__name__)

DISCARD = 9
"""Port of a datagram that makes the kernel ask for a neighbour's hardware address (RFC 863)."""


class Ears:
    """`packets`: how many have come in so far (any change counts); `peer_answers`: whether the peer's Redis does."""

    def __init__(self, interface: str, packets: Callable[[], int], peer_answers: Callable[[], bool]) -> None:
        self._interface, self._packets, self._peer_answers = interface, packets, peer_answers
        self._index = socket.if_nametoindex(interface)
        self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._netlink.bind((0, 0))
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._seen = -1
        self._asked: str | None = None
        """The gateway whose answer is awaited."""
        self._reason = ""
        self.hearing = Hearing()

    def look(self) -> Decision:
        """Look once, and ask for answers if there is a silence; every `deafness.LOOK_SECONDS`."""
        packets = self._packets()
        anything, self._seen = packets != self._seen, packets
        heard = Heard(anything, self._gateway_answered(), self._peer_answers())
        self.hearing, decision = deafness.look(self.hearing, heard)
        if decision.reason != self._reason:
            level = logging.WARNING if decision.action == "withdraw" else logging.INFO
            log.log(level, "%s: %s", decision.action, decision.reason)
            self._reason = decision.reason
        if deafness.must_ask(self.hearing):
            self._ask()
        return decision

    def _gateway_answered(self) -> bool:
        """Whether the gateway has answered since it was asked."""
        if self._asked is None:
            return False
        self._netlink.send(rtnetlink.ask_neighbour(self._asked, self._index))
        answered = False
        with contextlib.suppress(BlockingIOError):
            while True:
                answered |= rtnetlink.neighbour_answered(self._netlink.recv(1 << 14), self._asked)
        if answered:
            self._asked = None
        return answered

    def _ask(self) -> None:
        self._asked = network.gateway(self._interface)
        if self._asked is None:
            return
        with contextlib.suppress(OSError):
            # Where the kernel knows nothing of the gateway yet, or has given it up, a datagram makes it ask anew.
            self._datagrams.sendto(b"", (self._asked, DISCARD))
        self._netlink.send(rtnetlink.probe_neighbour(self._asked, self._index))
