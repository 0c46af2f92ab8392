"""Leases on the region's addresses: an address lives on this node for as long as somebody here vouches for it.

keepalived adds an address without end. The guard at once gives it a kernel lifetime of 3 s and renews that while
keepalived runs. When everything here is killed or frozen at the same moment, the kernel drops the address by itself.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping

from okitoki_agents.edge import rtnetlink

log = logging.getLogger(__name__)

SECONDS = 3
RENEW_EVERY = 0.5


class Leases:
    """Follows the region's addresses on this node. `held`: name -> (ip, prefix, interface index).

    on_change(name, held) is called from the event loop whenever an address has come or gone.
    """

    def __init__(self, names: Mapping[str, str], on_change: Callable[[str, bool], None]) -> None:
        self._names = dict(names)
        """IP -> name."""
        self._on_change = on_change
        self.held: dict[str, tuple[str, int, int]] = {}
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._socket.bind((0, rtnetlink.RTMGRP_IPV4_IFADDR))
        self._port: int = self._socket.getsockname()[0]
        self._dumped: set[str] = set()

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)
        self._socket.send(rtnetlink.dump())

    def renew(self) -> None:
        for ip, prefix, interface in self.held.values():
            self._socket.send(rtnetlink.lease(ip, prefix, interface, SECONDS))

    def drop_all(self, reason: str) -> None:
        """Delete the region's addresses from this node, now."""
        for name, address in self.held.items():
            log.warning("dropping %s (%s): %s", name, address[0], reason)
            self._socket.send(rtnetlink.delete(*address))

    def _read(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            # ENOBUFS: events were lost; ask for what is there.
            log.warning("netlink: %s", error)
            self._socket.send(rtnetlink.dump())
            return
        for event in rtnetlink.events(data):
            if event is None:
                self._end_of_dump()
            elif event.ip in self._names:
                self._see(self._names[event.ip], event)

    def _end_of_dump(self) -> None:
        for name in set(self.held) - self._dumped:
            self._lost(name)
        self._dumped.clear()

    def _lost(self, name: str) -> None:
        if self.held.pop(name, None) is not None:
            self._on_change(name, False)

    def _see(self, name: str, event: rtnetlink.AddressEvent) -> None:
        address = (event.ip, event.prefix, event.interface)
        if not event.present:
            self._lost(name)
            return
        if event.dumped:
            self._dumped.add(name)
        if name in self.held:
            if event.valid_seconds == rtnetlink.INFINITY:
                self._socket.send(rtnetlink.lease(*address, SECONDS))
            return
        if event.by == self._port and event.valid_seconds != rtnetlink.INFINITY:
            # keepalived removed it while a renewal was under way, and the renewal has brought it back.
            self._socket.send(rtnetlink.delete(*address))
            return
        self.held[name] = address
        self._socket.send(rtnetlink.lease(*address, SECONDS))
        self._on_change(name, True)
