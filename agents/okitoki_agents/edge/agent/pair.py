"""Watches this node and its peer once a second: what the guard says, whose calls the engines hold, whether Redis
answers."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

import aiohttp
import redis.asyncio
import redis.exceptions

from okitoki_agents.edge import render, store
from okitoki_agents.edge.agent import media, status
from okitoki_agents.edge.agent.deputy import Deputy
from okitoki_agents.edge.agent.guard_watch import GuardWatch
from okitoki_agents.edge.agent.status import Node, Peer
from okitoki_agents.edge.agent.yielding import Yielding
from okitoki_agents.edge.facts import Facts

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
ANSWER_SECONDS = 1.5
BAD_LOOKS = 2
"""Looks in a row without an answer after which the peer, or a Redis, counts as silent: one lost answer is no news."""
UNEQUAL_LOOKS = 5
"""Looks in a row after which unequal call counts are believed: calls reach the standby through Redis, a moment
later."""
EQUAL_LOOKS = 3
"""Looks in a row that must show equal counts before the standby is trusted to have the calls, after a fault of any
part."""


def redis_client(facts: Facts, address: str) -> redis.asyncio.Redis:
    """Database 0 of the Redis at `address`, with time-outs that a frozen node cannot stretch."""
    return redis.asyncio.Redis(
        host=address,
        port=facts.region.ports.redis,
        db=0,
        password=facts.redis_password,
        decode_responses=True,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
    )


class Pair:
    """The two nodes of the region as this one sees them. Everything is from the last look; `run` looks."""

    def __init__(self, facts: Facts, on_change: Callable[[], None]) -> None:
        self._facts = facts
        self._on_change = on_change
        self._session: aiohttp.ClientSession | None = None
        self._equal_looks = 0
        self._unequal_looks = 0
        self._silent: dict[str, int] = {}
        self._peer_redis: tuple[str, redis.asyncio.Redis] | None = None
        self.own_redis = redis_client(facts, facts.node_ip)
        self.own = Node()
        self._nodes: tuple[Node, Node | None] = (self.own, None)
        self.since: dict[str, int] = {}
        self._guard = GuardWatch(facts.paths)
        self.deputy = Deputy(facts.paths, lambda: self.peer is not None and self.peer.answers)
        self._yielding = Yielding(status.HOLDABLE, lambda name: render.at_home(facts, name))
        self.drained = False
        """Somebody wants to service this node."""
        self.peer_address: str | None = None
        self.peer: Peer | None = None
        self.unprotected = ["not looked yet"]

    @property
    def guard_alive(self) -> bool:
        """Whether somebody looks after this node's addresses."""
        return self._guard.problem is None

    @property
    def peer_tunnel_keys(self) -> str:
        """What the peer said last of its tunnel's keys; empty when it has not."""
        return self.peer.node.tunnel_keys if self.peer is not None else ""

    @property
    def peer_redis(self) -> redis.asyncio.Redis | None:
        """The peer's Redis, None while the peer is not known."""
        return self._peer_redis[1] if self._peer_redis else None

    async def run(self) -> None:
        """Look until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)) as self._session:
            while True:
                await self.look()
                await asyncio.sleep(LOOK_SECONDS)

    def now(self) -> Node:
        """This node, with what its guard says at this moment. A look takes seconds when an engine is frozen; a peer
        that hears of addresses here which have gone would leave them to this node."""
        guard = status.parse_guard_status(store.read_json(self._facts.paths.status))
        # What a guard said before it fell silent is not so any more.
        holds = () if self.deputy.said_farewell else guard.holds
        return replace(self.own, holds=holds, services=guard.services, comings=guard.comings)

    async def look(self) -> None:
        """One look at both nodes."""
        before = self._worth_telling()
        await self._follow_peer()
        own_sessions, peer, own_redis, peer_redis = await asyncio.gather(
            self._sessions(), self._look_at_peer(), _answers(self.own_redis), _answers(self.peer_redis)
        )
        own_redis, peer_redis = self._steady("own Redis", own_redis), self._steady("peer's Redis", peer_redis)
        # A peer that fails to answer once keeps what it said last.
        if peer is None or peer.answers or not self._steady("peer", False) or self.peer is None:
            self.peer = peer
        if peer is not None and peer.answers:
            self._steady("peer", True)
        nodes_before, held = self._nodes, self.own.holds
        self.own = replace(self.now(), sessions=own_sessions, drained=self.drained)
        self.since = status.moves(held, self.own.holds, self.since, time.time())
        self._nodes = (self.own, self.peer.node if self.peer is not None and self.peer.answers else nodes_before[1])
        if status.moved(nodes_before, self._nodes):
            # It may be back within a look; whether the standby has missed something meanwhile is to be seen.
            self._equal_looks = 0
        self._guard.look()
        faults = status.unprotected(self.own, self.peer, own_redis, peer_redis, [])
        self.unprotected = faults or self._compare_calls()
        if faults:
            self._equal_looks = self._unequal_looks = 0
        elif self._unequal_looks and self._unequal_looks % UNEQUAL_LOOKS == 0:
            await self._tell_calls_again()
        if self._guard.problem is not None:
            self.unprotected.append(self._guard.problem)
        self._leave_to_peer()
        if before != self._worth_telling():
            self._on_change()

    def _worth_telling(self) -> tuple[object, ...]:
        """What `on_change` is called for when it is not what it was."""
        return self.own.holds, self.own.services, self.guard_alive, self.unprotected, self.peer_tunnel_keys

    def _leave_to_peer(self) -> None:
        """Tell the guard which addresses stay on both nodes and are at home on the other one, or all of a node that is
        to be serviced."""
        there = self.peer.node.holds if self.peer is not None and self.peer.answers else None
        yielded = self._yielding.look(self.own.holds, there, time.monotonic())
        drained, because = status.drained_because(self.own, self.peer)
        store.write_atomically(self._facts.paths.left, f"{' '.join(sorted(yielded | drained))}\n".encode())
        self._facts.paths.left.touch()
        self.unprotected += [
            *(f"{name} is left to the peer, whose adverts do not arrive" for name in sorted(yielded)), *because
        ]  # fmt: skip

    def _compare_calls(self) -> list[str]:
        """Why the standby may lack calls of the active node; empty once it had them all for a while, and
        while it has."""
        if self.peer is None:
            return ["the peer is not known"]
        lacking = status.lacking_calls(self.own, self.peer.node)
        if not lacking:
            self._unequal_looks = 0
            self._equal_looks += 1
            return [] if self._equal_looks >= EQUAL_LOOKS else ["the calls of both nodes are being compared"]
        self._unequal_looks += 1
        trusted = self._equal_looks >= EQUAL_LOOKS and self._unequal_looks < UNEQUAL_LOOKS
        if not trusted:
            self._equal_looks = 0
        return [] if trusted else lacking

    async def _tell_calls_again(self) -> None:
        """A standby engine that started while it could not hear the active one never learns of the calls before; so the
        active one tells them again."""
        for engine, port in zip(("1", "2"), self._facts.region.ports.cli, strict=True):
            if f"media-{engine}" in self.own.holds:
                log.info("media-%s: the standby lacks calls, telling them again", engine)
                try:
                    await media.claim(port)
                except media.MediaError as error:
                    log.warning("rtpengine-%s: %s", engine, error)

    def _steady(self, subject: str, answers: bool) -> bool:
        """Whether `subject` counts as answering: it does, or has failed fewer than BAD_LOOKS times in a row."""
        self._silent[subject] = 0 if answers else self._silent.get(subject, BAD_LOOKS) + 1
        return self._silent[subject] < BAD_LOOKS

    async def _follow_peer(self) -> None:
        if self._peer_redis is not None and self._peer_redis[0] != self.peer_address:
            await self._peer_redis[1].aclose()
            self._peer_redis = None
        if self._peer_redis is None and self.peer_address is not None:
            self._peer_redis = (self.peer_address, redis_client(self._facts, self.peer_address))

    async def _sessions(self) -> dict[str, media.Sessions]:
        found = {}
        for engine, port in zip(("1", "2"), self._facts.region.ports.cli, strict=True):
            try:
                found[engine] = await media.sessions(port)
            except media.MediaError as error:
                log.debug("rtpengine-%s: %s", engine, error)
        return found

    async def _look_at_peer(self) -> Peer | None:
        address = self.peer_address
        if address is None or self._session is None:
            return None
        try:
            async with self._session.get(f"http://{address}:{self._facts.region.ports.agent}/node") as response:
                node, ready = status.parse_node_document(await response.json())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.debug("peer %s: %s %s", address, type(error).__name__, error)
            return Peer(address, answers=False, ready=False, node=Node())
        return Peer(address, answers=True, ready=ready, node=node)


async def _answers(client: redis.asyncio.Redis | None) -> bool:
    if client is None:
        return False
    try:
        return bool(await client.ping())
    except (redis.exceptions.RedisError, OSError, TimeoutError):
        return False
