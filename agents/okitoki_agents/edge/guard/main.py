"""The guard: one loop that looks every 150 ms, and is woken at once by a death or an address."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import time
from collections.abc import Callable
from typing import Any

from okitoki_agents.edge import network, render, resp
from okitoki_agents.edge.facts import Facts
from okitoki_agents.edge.guard import deafness, leases, probes
from okitoki_agents.edge.guard.ears import Ears
from okitoki_agents.edge.guard.engine import Engine
from okitoki_agents.edge.guard.health import HTTPS_MISSES, MISSES
from okitoki_agents.edge.guard.leases import Leases
from okitoki_agents.edge.guard.netfilter import Table
from okitoki_agents.edge.guard.peer import Peer, redis_answers
from okitoki_agents.edge.guard.processes import Watch
from okitoki_agents.edge.guard.service import Service
from okitoki_agents.edge.guard.takers import Takers
from okitoki_agents.edge.guard.tunnel import Tunnel

log = logging.getLogger(__name__)

TICK = 0.15
PEER_EVERY = 1.0
HEAR_EVERY = 0.4
"""A call that was answered by the peer during a flap is half deaf until then."""
SPEAK_EVERY = 0.4
"""A peer that has lost an address keeps its calls until it hears who has it."""
TEND_EVERY = 2.0
REFRESH_EVERY = 30.0
"""2^15 packets, at the 100 a second of the shortest usual ones, take 327 s; but what an engine writes when a call is
put on hold lacks the indexes until then."""
LEFT_SECONDS = 5.0
"""Age at which the agent's word on addresses to be left to the peer is void."""
REFUSED_EVERY = 60.0
"""Least seconds between two words about packets that were dropped for their number."""
DRAIN_BY_VRRP = 2.0
"""Seconds that keepalived has to give the addresses away, before they are taken from it."""


def run(facts: Facts) -> None:
    """Until SIGTERM or SIGINT; then the addresses are given away."""
    asyncio.run(Guard(facts).run())


class Guard:
    """Puts the parts together; decisions are in them."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._paths = facts.paths
        region = facts.region
        self._interface = network.interface_of(facts.node_ip)
        self._leases = Leases({address.ip: address.name for address in region.addresses}, self._address_changed)
        self._engines = {f"media-{number}": Engine(facts, number) for number in (1, 2)}
        self._redis_ok = self._vrrp_ok = False
        self._status = ""
        self._comings = dict.fromkeys((address.name for address in region.addresses), 0)
        self._drain_began: float | None = None
        self._stop = asyncio.Event()
        self._redis = Watch(self._paths.pid / "redis", self._redis_changed, self._redis_changed)
        self._keepalived = Watch(self._paths.pid / "keepalived", self._publish, self._keepalived_died)
        self._vrrp = Watch(self._paths.run / "keepalived-vrrp.pid", self._publish, self._keepalived_died)
        self._table = Table(f"okitoki-{region.name}")
        self._peer = Peer(facts, self._table, self._interface, self._keepalived, self._reclaim)
        self._takers = Takers(facts)
        self._ears = Ears(self._interface, self._heard, lambda: self._peer.reachable)
        self._deaf_since: float | None = None
        self._refused, self._refused_told = 0, float("-inf")
        self._services = self._make_services()
        self._tunnel = Tunnel(self._paths, self._publish)

    def _heard(self) -> int:
        return self._table.packets("heard")

    def _make_services(self) -> list[Service]:
        region, ports = self._facts.region, self._facts.region.ports

        def always() -> bool:
            return True

        def sip_target() -> tuple[str, int]:
            # The public socket has workers of its own; only the holder of the address can reach it.
            if "sip" in self._leases.held:
                return region.sip, ports.sip
            return self._facts.node_ip, ports.dmq

        def service(
            name: str, probe: probes.Probe, settle: float, ready: Callable[[], bool] = always, misses: int = MISSES
        ) -> Service:
            def alone() -> bool:
                return not (self._peer.reachable and self._takers.could_take(name))

            return Service(self._paths, name, probe, settle, ready, alone, self._publish, misses)

        return [
            service("kamailio", probes.sip_options(self._facts.node_ip, sip_target), 0.3),
            *(
                # Its calls come from the peer's Redis after it has begun to answer.
                service(f"rtpengine-{n}", probes.ng_ping(ports.ng[n - 1]), 1.0, self._engine_settled(n))
                for n in (1, 2)
            ),
            service("haproxy", probes.HttpProbe(self._paths.haproxy_health), 0.3, misses=HTTPS_MISSES),
        ]

    def _engine_settled(self, number: int) -> Callable[[], bool]:
        return lambda: self._engines[f"media-{number}"].settled

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._begin_drain, "the guard is told to end")
        for path in (self._paths.draining, self._paths.drained):
            path.unlink(missing_ok=True)
        self._peer.install()
        self._keepalived.poll()
        if self._keepalived.pid is None:
            network.remove(address.ip for address in self._facts.region.addresses)
        self._leases.start()
        self._publish()
        tasks = [
            loop.create_task(self._every(TICK, self._look)),
            loop.create_task(self._every(deafness.LOOK_SECONDS, self._listen)),
            loop.create_task(self._every(leases.RENEW_EVERY, self._vouch)),
            loop.create_task(self._every(PEER_EVERY, self._look_far)),
            loop.create_task(self._every(HEAR_EVERY, self._hear)),
            loop.create_task(self._every(SPEAK_EVERY, self._speak)),
            loop.create_task(self._every(SPEAK_EVERY, self._listen_to_peer)),
            loop.create_task(self._every(TEND_EVERY, self._tend)),
            loop.create_task(self._every(REFRESH_EVERY, self._refresh)),
        ]
        await self._stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _every(self, seconds: float, action: Callable[[], Any]) -> None:
        """Nothing that goes wrong in one look may end the guard."""
        while True:
            began = time.monotonic()
            try:
                result = action()
                if asyncio.iscoroutine(result):
                    await result
            except Exception:
                log.exception("%s", getattr(action, "__name__", action))
            await asyncio.sleep(max(0.01, seconds - (time.monotonic() - began)))

    def _look(self) -> None:
        for watch in (self._redis, self._keepalived, self._vrrp):
            watch.poll()
        for service in self._services:
            service.tick()
        self._tunnel.look()
        vrrp_ok = self._keepalived.runs() and self._vrrp.runs()
        if self._leases.held and not vrrp_ok:
            self._leases.drop_all("keepalived does not run")
        if vrrp_ok != self._vrrp_ok:
            self._vrrp_ok = vrrp_ok
            self._publish()
        if self._paths.draining.exists():
            self._begin_drain("asked to")
        if self._drain_began is not None:
            self._drain()

    def _listen(self) -> None:
        """A node that hears nobody gives its addresses up, by its services' track files; should keepalived not follow,
        they are taken from it."""
        deaf, now = self._ears.look().action == "withdraw", time.monotonic()
        self._deaf_since = (self._deaf_since or now) if deaf else None
        for service in self._services:
            service.deaf = deaf
        if self._deaf_since is not None and self._leases.held and now - self._deaf_since > DRAIN_BY_VRRP:
            self._leases.drop_all("this node hears nobody, and keepalived has not given it away")

    def _vouch(self) -> None:
        self._paths.heartbeat.touch()
        # Looked at again: a renewal must not rest on what was true a while ago, after a freeze.
        if self._keepalived.runs() and self._vrrp.runs():
            self._leases.renew()

    def _leave_to_peer(self) -> None:
        """What the agent says of addresses that stay on both nodes."""
        left: set[str] = set()
        with contextlib.suppress(OSError):
            if time.time() - self._paths.left.stat().st_mtime < LEFT_SECONDS:
                left = set(self._paths.left.read_text().split())
        services = {address.service for address in self._facts.region.addresses if address.name in left}
        for service in self._services:
            if service.left_to_peer != (service.name in services):
                service.left_to_peer = not service.left_to_peer
                log.warning("%s: %s", service.name, "left to the peer" if service.left_to_peer else "may come again")

    def _tell_refused(self) -> None:
        """That somebody sends too much, now and then while it lasts. The count begins anew with the table."""
        refused, now = self._table.packets("refused"), time.monotonic()
        if refused > self._refused and now - self._refused_told > REFUSED_EVERY:
            log.warning(
                "%d packets to the SIP address were dropped: a source that is no carrier sends too many",
                refused - self._refused,
            )
            self._refused, self._refused_told = refused, now
        self._refused = min(self._refused, refused)

    async def _look_far(self) -> None:
        self._tell_refused()
        self._leave_to_peer()
        await self._peer.follow()
        ok = self._redis.runs() and await redis_answers(self._facts.node_ip, self._facts)
        if ok and not self._redis_ok:
            # What it holds may be older than the calls.
            self._reclaim()
        if ok != self._redis_ok:
            self._redis_ok = ok
            self._publish()

    async def _hear(self) -> None:
        held = [name for name in self._engines if name in self._leases.held]
        homeless = bool(held) and not any(render.at_home(self._facts, name) for name in held)
        for name, engine in self._engines.items():
            await engine.admit(homeless)
            if name in self._leases.held and self._peer.reachable:
                await engine.hear(self._holds(name))

    async def _speak(self) -> None:
        if self._vrrp_ok:
            with contextlib.suppress(*resp.AWAY):
                await self._takers.say([service.name for service in self._services if service.able])
        for name, engine in self._engines.items():
            await engine.speak(self._holds(name))

    async def _listen_to_peer(self) -> None:
        if self._peer.reachable:
            await self._takers.listen()

    async def _tend(self) -> None:
        for name, engine in self._engines.items():
            await engine.tend(self._holds(name))

    async def _refresh(self) -> None:
        if self._peer.reachable:
            for name, engine in self._engines.items():
                await engine.refresh(self._holds(name))

    def _redis_changed(self) -> None:
        self._redis_ok = False
        self._publish()

    def _keepalived_died(self) -> None:
        self._leases.drop_all("keepalived died")
        self._publish()

    def _address_changed(self, name: str, held: bool) -> None:
        log.info("%s %s", name, "has come" if held else "has gone")
        self._comings[name] += held
        if engine := self._engines.get(name):
            if held:
                engine.own(lambda: name in self._leases.held)
            else:
                engine.disown(lambda: name not in self._leases.held)
        self._publish()

    def _reclaim(self) -> None:
        """The own Redis or the peer is back: write what this node owns, so that the peer has it, and hear what it does
        not."""
        for name, engine in self._engines.items():
            held = self._holds(name)
            if held():
                engine.reclaim(held)
            else:
                engine.follow(lambda held=held: not held())  # type: ignore[misc]

    def _holds(self, name: str) -> Callable[[], bool]:
        """Whether this node has the address at the moment of asking."""
        return lambda: name in self._leases.held

    def _begin_drain(self, reason: str) -> None:
        if self._drain_began is None:
            log.info("giving all addresses away: %s", reason)
            self._drain_began = time.monotonic()
            self._stopping = reason != "asked to"
            for service in self._services:
                service.withhold()
            self._drain()
        elif reason != "asked to":
            self._stopping = True

    def _drain(self) -> None:
        if self._leases.held and time.monotonic() - (self._drain_began or 0.0) > DRAIN_BY_VRRP:
            self._leases.drop_all("keepalived has not given it away")
        if not self._leases.held:
            self._paths.drained.touch()
            if self._stopping:
                self._stop.set()

    def _publish(self) -> None:
        """status.json, on change, whole."""
        services = {service.name: str(service.health.state) for service in self._services}
        services["redis"] = "ok" if self._redis_ok else "starting" if self._redis.pid else "down"
        services["tunnel"] = self._tunnel.state
        services["keepalived"] = "ok" if self._vrrp_ok else "down"
        status = json.dumps({"holds": sorted(self._leases.held), "services": services, "comings": self._comings})
        if status != self._status:
            with contextlib.suppress(OSError):
                render.install(self._paths.status, status)
                self._status = status
