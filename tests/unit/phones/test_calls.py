"""Carrier and agents against each other, by real UDP on loopback through a record-routing, relaying server."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from unit.phones.doubles import Server

from okitoki_phones.agent import Agent
from okitoki_phones.carrier import Carrier, Plan
from okitoki_phones.config import AgentConfig, AgentsConfig, CarrierConfig, LongCalls, ShortCalls
from okitoki_phones.judge import COMPLETED, DROPPED, FAILED, CallVerdict, judge
from okitoki_phones.records import LegRecord
from okitoki_phones.sip import Request, Response
from okitoki_phones.transaction import Timers

NUMBER = "+380441234567"
FAST = Timers(t1=0.05, t2=0.4, t4=0.5)


async def eventually(state: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for a state that has no event of its own."""
    async with asyncio.timeout(seconds):
        while not state():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class World:
    """A server, agents registered at it, and a carrier."""

    def __init__(self, server: Server, agents: list[Agent], carrier: Carrier, records: list[dict[str, Any]]) -> None:
        self.server = server
        self.agents = agents
        self.carrier = carrier
        self.records = records

    async def verdicts(self) -> list[CallVerdict]:
        """All calls, once the agents too have written their records."""
        await eventually(lambda: all(agent.leg is None for agent in self.agents))
        return judge(self.records)

    async def call(self, talk: float = 0.6, *, callee_ends: bool = False) -> CallVerdict:
        await self.carrier.call(Plan("short", NUMBER, "acme", talk, callee_ends))
        return (await self.verdicts())[-1]


@asynccontextmanager
async def world(
    agents: int = 1,
    ring: tuple[float, float] = (0.02, 0.05),
    secret: Callable[[str], str] = lambda user: f"secret-{user}",
    wait: bool = True,
    **carrier_values: Any,
) -> AsyncIterator[World]:
    users = [str(1001 + index) for index in range(agents)]
    server = Server({user: f"secret-{user}" for user in users})
    address = await server.start()
    records: list[dict[str, Any]] = []

    def write(record: LegRecord) -> None:
        records.append(record.as_json())

    shared = AgentsConfig(
        "127.0.0.1", address, tuple(AgentConfig(u, "acme.test", secret(u), "acme") for u in users), ring
    )
    phones = [Agent(config, shared, write, FAST) for config in shared.agents]
    carrier = Carrier(CarrierConfig(("127.0.0.1", 0), address, "+380500000001", **carrier_values), write, FAST)
    await carrier.start()
    for phone in phones:
        await phone.start()
    try:
        if wait:
            async with asyncio.timeout(5):
                await asyncio.gather(*(phone.registration.registered.wait() for phone in phones))
        yield World(server, phones, carrier, records)
    finally:
        await asyncio.gather(*(phone.stop() for phone in phones))
        carrier.close()
        server.close()


@pytest.mark.parametrize("callee_ends", [False, True])
async def test_a_call_is_set_up_heard_both_ways_and_ended_by_either_side(callee_ends: bool) -> None:
    async with world() as here:
        verdict = await here.call(callee_ends=callee_ends)
        assert verdict.outcome == COMPLETED, verdict.problems
        assert verdict.two_way
        assert verdict.problems == []
        assert verdict.to_agent is not None
        assert verdict.to_caller is not None
        for way in (verdict.to_agent, verdict.to_caller):
            assert way.received >= 5  # 30 on an idle machine
            assert way.received + way.lost_at_end == way.sent
            assert (way.lost, way.duplicated, way.corrupted, way.foreign) == (0, 0, 0, 0)
        caller = next(record for record in here.records if record["role"] == "carrier")
        assert caller["endedBy"] == ("remote" if callee_ends else "local")


async def test_lost_packets_are_counted_and_the_gap_is_timed() -> None:
    count = 0

    def hole(data: bytes) -> bytes | None:
        nonlocal count
        count += 1
        return None if 4 <= count <= 8 else data

    async with world() as here:
        here.server.to_agent = hole
        verdict = await here.call(talk=0.8)
        assert verdict.outcome == COMPLETED
        assert verdict.to_agent is not None
        assert verdict.to_caller is not None
        assert verdict.to_agent.lost == 5
        assert verdict.to_agent.longest_gap_ms is not None
        assert verdict.to_agent.longest_gap_ms >= 100
        assert verdict.to_caller.lost == 0


@pytest.mark.parametrize("way", ["to_agent", "to_caller"])
async def test_a_muted_direction_is_caught(way: str) -> None:
    async with world() as here:
        setattr(here.server, way, lambda data: None)
        verdict = await here.call()
        assert verdict.outcome == DROPPED
        assert verdict.reason == f"{way}: no audio at all"
        assert not verdict.two_way


async def test_audio_that_dies_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("okitoki_phones.judge.SILENCE_LIMIT_MS", 300.0)
    count = 0

    def dies(data: bytes) -> bytes | None:
        nonlocal count
        count += 1
        return data if count < 5 else None

    async with world() as here:
        here.server.to_caller = dies
        verdict = await here.call(talk=0.9)
        assert verdict.outcome == DROPPED
        assert "to_caller: silent for" in (verdict.reason or "")


async def test_altered_and_misdirected_audio_is_caught() -> None:
    async with world(agents=2) as here:
        here.server.to_agent = lambda data: data[:-1] + bytes([data[-1] ^ 1])
        verdict = await here.call()
        assert verdict.to_agent is not None
        assert verdict.to_agent.corrupted > 3
        assert verdict.to_agent.received == 0
        assert not verdict.two_way

        remembered: list[bytes] = []
        here.server.to_agent = lambda data: remembered.append(data) or data
        assert (await here.call()).two_way
        here.server.to_agent = lambda data: remembered[0]
        verdict = await here.call()
        assert verdict.to_agent is not None
        assert verdict.to_agent.foreign > 3
        assert verdict.outcome == DROPPED


async def test_every_kind_of_message_may_be_lost_once() -> None:
    lost: set[str] = set()

    def once(message: Request | Response) -> bool:
        kind = f"{message.cseq[1]} {message.status if isinstance(message, Response) else 'request'}"
        if kind in lost or kind.startswith("REGISTER"):
            return False
        lost.add(kind)
        return True

    async with world() as here:
        here.server.loses = once
        verdict = await here.call(talk=1.0)
        assert verdict.outcome == COMPLETED, verdict.problems
        assert {"INVITE request", "INVITE 200", "ACK request", "BYE request", "BYE 200"} <= lost
        caller = next(record for record in here.records if record["role"] == "carrier")
        assert caller["inviteRetransmissions"] >= 1
        assert caller["byeRetransmissions"] >= 1


async def test_an_unanswered_bye_is_a_dropped_call() -> None:
    async with world() as here:
        here.server.loses = lambda message: message.cseq[1] == "BYE"
        task = asyncio.create_task(here.call(talk=0.2))
        await eventually(lambda: any(line.startswith("BYE") for line in here.server.seen))
        for agent in here.agents:
            if agent.leg is not None:
                agent.leg.vanish("the test gave up")
        verdict = await task
        assert verdict.outcome == DROPPED
        assert any("BYE not answered" in problem for problem in verdict.problems)


async def test_a_busy_agent_says_so_and_the_call_counts_as_failed_not_dropped() -> None:
    async with world() as here:
        first = asyncio.create_task(here.carrier.call(Plan("short", NUMBER, "acme", 0.5)))
        await eventually(lambda: here.agents[0].leg is not None)
        await here.carrier.call(Plan("short", NUMBER, "acme", 0.5))
        await first
        outcomes = {verdict.reason: verdict.outcome for verdict in await here.verdicts()}
        assert outcomes == {None: COMPLETED, "486 Busy Here": FAILED}


async def test_a_call_that_rings_too_long_is_cancelled() -> None:
    async with world(ring=(30.0, 30.0), ring_limit=0.2) as here:
        verdict = await here.call()
        assert verdict.outcome == FAILED
        assert verdict.reason == "487 Request Terminated"
        assert verdict.problems == ["cancelled after the ring limit"]


async def test_a_dead_server_fails_the_call_after_the_retransmissions() -> None:
    async with world() as here:
        here.server.loses = lambda message: True
        await here.carrier.call(Plan("short", NUMBER, "acme", 0.5))
        verdict = judge(here.records)[-1]
        assert verdict.reason == "408 no answer from the server"
        here.server.loses = lambda message: False


async def test_a_wrong_secret_never_registers() -> None:
    async with world(secret=lambda user: "wrong", wait=False) as here:
        registration = here.agents[0].registration
        await eventually(lambda: registration.counts.failed >= 2)
        assert not registration.registered.is_set()
        assert registration.counts.last_failure == "401 Unknown"


async def test_the_schedule_keeps_long_calls_up_while_short_ones_come_and_go() -> None:
    streams = (ShortCalls(NUMBER, "acme", 0.3, (0.1, 0.2)),)
    async with world(agents=8, long=(LongCalls(NUMBER, "acme", 1),), short=streams, seconds=1.6) as here:
        free = itertools.chain(["1001"], map(str, itertools.cycle(range(1002, 1009))))
        chosen: dict[str, str] = {}
        real = here.server._forward

        async def hunt(request: Request, source: tuple[str, int]) -> None:
            if request.call_id not in chosen:  # an INVITE sent again goes to the same phone
                chosen[request.call_id] = next(free)
            here.server.queue = [chosen[request.call_id]]
            await real(request, source)

        here.server._forward = hunt  # type: ignore[method-assign]
        await here.carrier.run()
        verdicts = await here.verdicts()
        assert [verdict.outcome for verdict in verdicts] == [COMPLETED] * len(verdicts)
        kinds = [verdict.kind for verdict in verdicts]
        assert kinds.count("long") == 1
        assert kinds.count("short") >= 4
        longest = max(verdicts, key=lambda verdict: (verdict.ended_at or 0) - (verdict.established_at or 0))
        assert longest.kind == "long"
        assert here.carrier.active == 0
