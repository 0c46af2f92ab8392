"""Leader election: who leads, who must stop, with a clock of our own."""

from __future__ import annotations

import asyncio
import copy
from typing import Any, cast

import aiohttp
import pytest

from okitoki.kube.client import ApiError, Client
from okitoki.kube.lease import (
    AGAIN_SECONDS,
    DURATION_SECONDS,
    RENEW_DEADLINE_SECONDS,
    RETRY_SECONDS,
    Leadership,
    NotLeading,
)
from okitoki.kube.resources import Manifest, ResourceType


class Server:
    """One Lease with optimistic concurrency; `down` makes every call fail, `lose_answer` one answer vanish."""

    def __init__(self) -> None:
        self.lease: Manifest | None = None
        self.version = 0
        self.down = False
        self.lose_answer = False

    async def get(self, kind: ResourceType, name: str, namespace: str) -> Manifest | None:
        self._check()
        return copy.deepcopy(self.lease)

    async def create(self, manifest: Manifest) -> Manifest:
        self._check()
        if self.lease is not None:
            raise ApiError(409, "AlreadyExists", "")
        return self._store(manifest)

    async def replace(self, manifest: Manifest) -> Manifest:
        self._check()
        if self.lease is None:
            raise ApiError(404, "NotFound", "")
        if manifest["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "")
        stored = self._store(manifest)
        if self.lose_answer:
            self.lose_answer = False
            raise aiohttp.ServerDisconnectedError
        return stored

    def _check(self) -> None:
        if self.down:
            raise aiohttp.ClientConnectionError("refused")

    def _store(self, manifest: Manifest) -> Manifest:
        self.version += 1
        self.lease = copy.deepcopy(manifest)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.lease)


class World:
    def __init__(self) -> None:
        self.server = Server()
        self.time = 1000.0

    def candidate(self, identity: str) -> Leadership:
        return Leadership(cast(Client, self.server), "ns", "lease", identity, clock=lambda: self.time)

    def holder(self) -> Any:
        return (self.server.lease or {})["spec"]["holderIdentity"]


@pytest.fixture
def world() -> World:
    return World()


async def test_one_of_two_leads(world: World) -> None:
    one, two = world.candidate("one"), world.candidate("two")
    assert await one.try_acquire()
    assert not await two.try_acquire()
    assert one.leading
    with pytest.raises(NotLeading):
        two.fence()


async def test_a_lease_that_is_renewed_is_never_taken(world: World) -> None:
    one, two = world.candidate("one"), world.candidate("two")
    await one.try_acquire()
    for _ in range(30):
        world.time += 2
        assert await one.try_renew()
        assert not await two.try_acquire()
    one.fence()


async def test_a_dead_leaders_lease_is_taken_after_its_duration_by_the_candidates_own_clock(world: World) -> None:
    one, two = world.candidate("one"), world.candidate("two")
    await one.try_acquire()
    assert not await two.try_acquire()
    world.time += DURATION_SECONDS
    assert not await two.try_acquire()
    world.time += 0.1
    assert await two.try_acquire()
    assert world.holder() == "two"
    assert world.server.lease is not None
    assert world.server.lease["spec"]["leaseTransitions"] == 1


async def test_the_old_leader_has_stopped_before_another_may_start(world: World) -> None:
    one = world.candidate("one")
    await one.try_acquire()
    world.time += RENEW_DEADLINE_SECONDS
    assert RENEW_DEADLINE_SECONDS < DURATION_SECONDS
    with pytest.raises(NotLeading):
        one.fence()


async def test_writing_stops_with_the_first_failed_renewal_and_goes_on_with_the_next_good_one(world: World) -> None:
    one = world.candidate("one")
    await one.try_acquire()
    world.server.down = True
    world.time += 2
    assert await one.try_renew()
    with pytest.raises(NotLeading):
        one.fence()
    world.server.down = False
    world.time += 2
    assert await one.try_renew()
    one.fence()


async def test_after_a_failed_renewal_no_time_is_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An API server that took 5.7 s for one renewal cost the lease: the next attempt came 2 s later, too late."""
    one, slept = world.candidate("one"), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        world.time += seconds
        world.server.down = 2 <= len(slept) <= 3
        if len(slept) == 6:
            raise asyncio.CancelledError

    await one.try_acquire()
    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await one.keep()
    assert slept == [RETRY_SECONDS] * 2 + [AGAIN_SECONDS] * 2 + [RETRY_SECONDS] * 2
    one.fence()


async def test_failing_up_to_the_deadline_loses_the_lease_for_good(world: World) -> None:
    one = world.candidate("one")
    await one.try_acquire()
    world.server.down = True
    kept = True
    for _ in range(5):
        world.time += 2
        kept = await one.try_renew()
    assert not kept
    world.server.down = False
    assert not one.leading


async def test_a_frozen_leader_that_wakes_up_does_not_renew(world: World) -> None:
    one = world.candidate("one")
    await one.try_acquire()
    world.time += 60
    assert not await one.try_renew()
    assert not one.leading


async def test_a_leader_whose_lease_was_taken_loses_it(world: World) -> None:
    one, two = world.candidate("one"), world.candidate("two")
    await one.try_acquire()
    assert world.server.lease is not None
    world.server.lease["spec"]["holderIdentity"] = ""
    assert await two.try_acquire()
    assert not await one.try_renew()
    assert not one.leading


async def test_an_answer_that_got_lost_does_not_cost_the_lease(world: World) -> None:
    one = world.candidate("one")
    await one.try_acquire()
    world.time += 2
    world.server.lose_answer = True
    assert await one.try_renew()
    world.time += 2
    assert await one.try_renew()  # a conflict with our own write: seen to be ours
    world.time += 2
    assert await one.try_renew()
    one.fence()


async def test_a_released_lease_is_free_at_once(world: World) -> None:
    one, two = world.candidate("one"), world.candidate("two")
    await one.try_acquire()
    await one.release()
    assert not one.leading
    assert await two.try_acquire()
    await one.release()
    assert world.holder() == "two"
