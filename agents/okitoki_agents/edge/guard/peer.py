"""Follows the peer: where it is (a file the agent writes) and whether its Redis answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable

from okitoki_agents.edge import render
from okitoki_agents.edge.facts import Facts
from okitoki_agents.edge.guard import netfilter
from okitoki_agents.edge.guard.processes import Watch

log = logging.getLogger(__name__)

_TIMEOUT = 1.0


class RedisPing:
    """Whether a Redis answers with this region's password; a connection for each question, so that none goes stale."""

    def __init__(self, host: str, facts: Facts) -> None:
        self._host, self._port = host, facts.region.ports.redis
        self._question = f"AUTH {facts.redis_password}\r\nPING\r\n".encode()

    async def ask(self) -> bool:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_TIMEOUT):
                reader, writer = await asyncio.open_connection(self._host, self._port)
                try:
                    writer.write(self._question)
                    return await reader.readline() == b"+OK\r\n" and await reader.readline() == b"+PONG\r\n"
                finally:
                    writer.close()
        return False


class Peer:
    """`on_return` is called when the peer's Redis answers after it did not, or when the peer is another node now."""

    def __init__(
        self, facts: Facts, table: netfilter.Table, interface: str, keepalived: Watch, on_return: Callable[[], None]
    ) -> None:
        self._facts, self._table, self._interface = facts, table, interface
        self._keepalived, self._on_return = keepalived, on_return
        self._ping = RedisPing(facts.region.peer_alias, facts)
        self.address = render.peer_of(facts)
        self.reachable = False

    def install(self) -> None:
        self._table.replace(render.nftables(self._facts, self.address))

    async def follow(self) -> None:
        """One look; called about once a second."""
        address = render.peer_of(self._facts)
        if address != self.address:
            log.info("the peer is %s now (was %s)", address or "unknown", self.address or "unknown")
            self.address, self.reachable = address, False
            self.install()
            self._tell_keepalived()
            await asyncio.to_thread(netfilter.forget_flows, self._facts.region.peer_alias)
        reachable = bool(address) and await self._ping.ask()
        if reachable and not self.reachable:
            # A peer that died without a word leaves subscriptions half open: nothing that it says would be heard.
            await asyncio.to_thread(netfilter.forget_flows, self._facts.region.peer_alias)
            log.info("the peer's Redis answers")
            self._on_return()
        elif self.reachable and not reachable:
            log.warning("the peer's Redis does not answer")
        self.reachable = reachable

    def _tell_keepalived(self) -> None:
        config = self._facts.paths.conf / "keepalived.conf"
        render.install(config, render.keepalived(self._facts, self._interface, self.address))
        self._keepalived.send(signal.SIGHUP)
