"""Call records reach the app at least once and never get lost."""

import asyncio
from typing import Any

import pytest
import redis.exceptions
from unit.edge_agent.doubles import FakeRedis
from unit.edge_agent.test_call_records import FIELDS, KEY

from okitoki_agents.edge.agent import ng
from okitoki_agents.edge.agent.app_client import Answer, AppUnreachableError
from okitoki_agents.edge.agent.deliver import CLOSE_AFTER_SECONDS, CLOSE_FOREIGN_AFTER_SECONDS, Deliverer

OPEN = {name: value for name, value in FIELDS.items() if name not in ("ended", "endReason")}


class World:
    """Redis of both nodes, an app, engines and a clock."""

    def __init__(self) -> None:
        self.own, self.peer = FakeRedis(), FakeRedis()
        self.sent: list[tuple[str, str, dict[str, Any]]] = []
        self.status = 201
        self.error: Exception | None = None
        self.known: set[str] = set()
        self.engines_answer = True
        self.holds = {"1"}
        self.now = 1_800_000_000.0
        self.deliverer = Deliverer(
            self.own,  # type: ignore[arg-type]
            lambda: self.peer,  # type: ignore[arg-type,return-value]
            self.send,
            self.knows_call,
            lambda number: number in self.holds,
            lambda: self.now,
        )

    async def send(self, tenant: str, path: str, document: dict[str, Any]) -> Answer:
        await asyncio.sleep(0)
        self.sent.append((tenant, path, document))
        if self.error:
            raise self.error
        return Answer(self.status, b'{"error": {"code": "invalid"}}', None)

    async def knows_call(self, call_id: str) -> bool:
        if not self.engines_answer:
            raise ng.NgError("no answer")
        return call_id in self.known

    async def sweep(self) -> dict[str, dict[str, str]]:
        found = await self.deliverer.sweep()
        await self.deliverer.idle()
        return found


@pytest.fixture
def world() -> World:
    return World()


async def test_an_ended_call_is_delivered_and_then_deleted(world: World) -> None:
    world.own.hashes[KEY] = dict(FIELDS)
    world.own.hashes["call:other"] = dict(OPEN)
    world.own.hashes["json-call"] = {"ended": "1"}
    assert list(await world.sweep()) == ["call:other"]
    assert [tenant for tenant, _, _ in world.sent] == ["acme"]
    assert list(world.own.hashes) == ["call:other", "json-call"]
    assert world.deliverer.counts["delivered"] == 1


@pytest.mark.parametrize("status", [500, 503, 401, 404])
async def test_a_record_waits_while_the_app_cannot_take_it(world: World, status: int) -> None:
    world.own.hashes[KEY] = dict(FIELDS)
    world.status = status
    await world.sweep()
    assert KEY in world.own.hashes
    world.status = 201
    await world.sweep()
    assert world.own.hashes == {}


@pytest.mark.parametrize("error", [AppUnreachableError("no pod"), KeyError("acme")])
async def test_a_record_waits_while_its_tenant_is_away(world: World, error: Exception) -> None:
    world.own.hashes[KEY] = dict(FIELDS)
    world.error = error
    await world.sweep()
    assert KEY in world.own.hashes


async def test_the_peers_word_that_came_first_counts(world: World) -> None:
    world.own.hashes[KEY] = dict(FIELDS)
    world.status = 409
    await world.sweep()
    assert world.own.hashes == {}


async def test_what_can_never_be_delivered_is_kept_apart_and_counted(world: World) -> None:
    world.own.hashes[KEY] = dict(FIELDS)
    world.own.hashes["call:broken"] = {"tenant": "acme", "ended": "1"}
    world.status = 422
    await world.sweep()
    assert set(world.own.hashes) == {f"dead:{KEY}", "dead:call:broken"}
    assert world.own.hashes["dead:call:broken"]["undeliverable"].startswith("not a call record")
    await world.sweep()
    assert world.deliverer.dead_letters == 2
    assert len(world.sent) == 1


async def test_one_tenants_slow_app_does_not_keep_anothers_records(world: World) -> None:
    stuck = asyncio.Event()

    async def send(tenant: str, path: str, document: dict[str, Any]) -> Answer:
        if tenant == "slow":
            await stuck.wait()
        return Answer(201, b"", None)

    world.deliverer._send = send
    world.own.hashes["call:a;1;2"] = {**FIELDS, "tenant": "slow"}
    world.own.hashes[KEY] = dict(FIELDS)
    await world.deliverer.sweep()
    await asyncio.wait_for(world.deliverer._busy["acme"], 5)
    assert KEY not in world.own.hashes
    await world.deliverer.sweep()
    assert "call:a;1;2" in world.own.hashes
    stuck.set()
    await world.deliverer.idle()
    assert world.own.hashes == {}


async def test_a_redis_that_is_away_is_an_error_for_the_loop(world: World) -> None:
    world.own.down = True
    with pytest.raises(redis.exceptions.ConnectionError):
        await world.sweep()


async def close_after(world: World, seconds: float) -> None:
    await world.deliverer.close_lost(await world.sweep())
    world.now += seconds
    await world.deliverer.close_lost(await world.sweep())


async def test_a_call_that_no_engine_knows_is_closed_on_both_nodes(world: World) -> None:
    world.own.hashes[KEY], world.peer.hashes[KEY] = dict(OPEN), dict(OPEN)
    await close_after(world, CLOSE_AFTER_SECONDS)
    end = {"ended": "1800000000000", "endReason": "media-timeout"}
    assert world.own.hashes[KEY] == world.peer.hashes[KEY] == {**OPEN, **end}
    await world.sweep()
    assert world.sent[0][2]["endReason"] == "media-timeout"


async def test_a_call_is_not_closed_early_nor_while_an_engine_knows_it(world: World) -> None:
    world.own.hashes[KEY] = dict(OPEN)
    await close_after(world, CLOSE_AFTER_SECONDS - 1)
    assert world.own.hashes[KEY] == OPEN
    world.known = {"7f3c/1@198.18.16.150"}
    await close_after(world, 10 * CLOSE_AFTER_SECONDS)
    assert world.own.hashes[KEY] == OPEN


async def test_engines_that_do_not_answer_close_nothing(world: World) -> None:
    world.own.hashes[KEY] = dict(OPEN)
    await world.deliverer.close_lost(await world.sweep())
    world.engines_answer = False
    world.now += 10 * CLOSE_AFTER_SECONDS
    await world.deliverer.close_lost(await world.sweep())
    world.engines_answer = True
    await world.deliverer.close_lost(await world.sweep())
    assert world.own.hashes[KEY] == OPEN


async def test_a_call_that_may_go_on_at_the_peer_is_left_to_it(world: World) -> None:
    """After a restart during a partition this node's engines know nothing of the calls that the peer relays."""
    world.own.hashes[KEY] = dict(OPEN)
    world.holds = {"2"}
    await close_after(world, CLOSE_FOREIGN_AFTER_SECONDS - 1)
    assert world.own.hashes[KEY] == OPEN
    await close_after(world, 1)
    assert world.own.hashes[KEY]["endReason"] == "media-timeout"


async def test_the_end_that_the_peer_knows_is_taken(world: World) -> None:
    world.own.hashes[KEY], world.peer.hashes[KEY] = dict(OPEN), dict(FIELDS)
    await close_after(world, CLOSE_AFTER_SECONDS)
    assert world.own.hashes[KEY] == FIELDS


async def test_a_peer_that_is_away_does_not_keep_a_call_open(world: World) -> None:
    world.own.hashes[KEY] = dict(OPEN)
    world.peer.down = True
    await close_after(world, CLOSE_AFTER_SECONDS)
    assert world.own.hashes[KEY]["endReason"] == "media-timeout"
