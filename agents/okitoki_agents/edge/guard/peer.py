"""Follows the peer: where it is (a file the agent writes) and whether its Redis answers."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable

from okitoki_agents.edge import render, resp
from okitoki_agents.edge.facts import Facts
from okitoki_agents.edge.guard import netfilter
from okitoki_agents.edge.guard.processes import Watch

log = logging.getLogger(__name__)


async def redis_answers(host: str, facts: Facts) -> bool:
    """Whether a Redis of this region answers there."""
    return await resp.answers((host, facts.region.ports.redis), facts.redis_password, "PING")


class Peer:
    """`on_return` is called when the peer's Redis answers after it did not, or when the peer is another node now."""

    def __init__(
        self, facts: Facts, table: netfilter.Table, interface: str, keepalived: Watch, on_return: Callable[[], None]
    ) -> None:
        self._facts, self._table, self._interface = facts, table, interface
        self._keepalived, self._on_return = keepalived, on_return
        self.address, self._plain = render.peer_of(facts), render.peer_is_plain(facts)
        self.reachable = False

    def install(self) -> None:
        self._table.replace(render.nftables(self._facts, self._interface, self.address, plain=self._plain))

    async def follow(self) -> None:
        """One look; called about once a second."""
        address, plain = render.peer_of(self._facts), render.peer_is_plain(self._facts)
        if (address, plain) == (self.address, not self._plain):
            # Connections that there are go the other way from now on.
            log.info("the peer %s", "has no tunnel" if plain else "has a tunnel now")
            self._plain = plain
            self.install()
        if address != self.address:
            log.info("the peer is %s now (was %s)", address or "unknown", self.address or "unknown")
            self.address, self._plain, self.reachable = address, plain, False
            self.install()
            self._tell_keepalived()
            await asyncio.to_thread(netfilter.forget_flows, self._facts.region.peer_alias)
        reachable = bool(address) and await redis_answers(self._facts.region.peer_alias, self._facts)
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
