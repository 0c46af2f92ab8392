"""Connections to a primary: bounded, dropped at once, counted while their backend may still run."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from callcentre.database.connection import Connection
from callcentre.database.decisions import AttemptTimeoutError, ConnectError
from callcentre.database.pool import IDLE_SECONDS, KEPT_IDLE, OPENING, Pool, PoolDroppedError


class FakeConnection:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.reusable = True
        self.abandoned = False
        self.closed = False

    def abandon(self) -> None:
        self.abandoned, self.reusable = True, False

    def close(self) -> None:
        self.closed = True


class Opener:
    """Opens fakes; `gate` holds them back."""

    def __init__(self) -> None:
        self.made: list[FakeConnection] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.busy = self.most = 0

    async def __call__(self, limit: float) -> Connection:
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            await self.gate.wait()
        finally:
            self.busy -= 1
        self.made.append(FakeConnection(100 + len(self.made)))
        return cast(Connection, self.made[-1])


async def passes() -> None:
    """Let every task that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_released_connection_is_used_again() -> None:
    opener = Opener()
    pool = Pool(opener)
    first = await pool.acquire(1)
    pool.release(first)
    assert await pool.acquire(1) is first
    assert len(opener.made) == 1


async def test_past_the_capacity_one_waits_and_gets_what_is_released() -> None:
    pool = Pool(Opener(), capacity=1)
    first = await pool.acquire(1)
    waiting = asyncio.create_task(pool.acquire(5))
    await asyncio.sleep(0)
    pool.release(first)
    assert await waiting is first


async def test_waiting_for_a_connection_ends_and_nothing_was_sent() -> None:
    pool = Pool(Opener(), capacity=1)
    first = await pool.acquire(1)
    with pytest.raises(AttemptTimeoutError, match="all 1 connections are in use") as caught:
        await pool.acquire(0.01)
    assert not caught.value.sent
    pool.release(first)
    assert await pool.acquire(0.01) is first


async def test_a_connection_offered_to_one_who_has_just_left_goes_to_the_next() -> None:
    pool = Pool(Opener(), capacity=1)
    first = await pool.acquire(1)
    leaving, staying = asyncio.create_task(pool.acquire(5)), asyncio.create_task(pool.acquire(5))
    await asyncio.sleep(0)
    pool.release(first)
    leaving.cancel()
    assert await asyncio.wait_for(staying, 1) is first
    assert leaving.cancelled()


async def test_an_abandoned_backend_counts_until_the_server_says_it_is_gone() -> None:
    opener = Opener()
    pool = Pool(opener, capacity=1)
    first = await pool.acquire(1)
    pool.abandon(first)
    pool.release(first)
    assert opener.made[0].closed
    assert (pool.ghosts, pool.backends) == ([100], 1)
    with pytest.raises(AttemptTimeoutError, match="1 of them still busy"):
        await pool.acquire(0.01)
    pool.settle([100])
    assert pool.backends == 1
    waiting = asyncio.create_task(pool.acquire(5))
    await asyncio.sleep(0)
    pool.settle([])
    assert (await waiting).pid == 101


async def test_a_process_id_that_was_given_to_one_of_ours_is_no_ghost() -> None:
    pool = Pool(Opener())
    first = await pool.acquire(1)
    pool.abandon(first)
    second = await pool.acquire(1)
    cast(FakeConnection, second).pid = first.pid
    pool.settle([first.pid])
    assert pool.ghosts == []


async def test_dropping_takes_all_and_wakes_all() -> None:
    opener = Opener()
    pool = Pool(opener, capacity=2)
    used, idle = await pool.acquire(1), await pool.acquire(1)
    waiting = asyncio.create_task(pool.acquire(5))
    await asyncio.sleep(0)
    pool.release(idle)
    pool.drop("b has replaced a")
    assert opener.made[0].abandoned
    assert opener.made[1].closed
    with pytest.raises(ConnectError):
        await waiting
    with pytest.raises(PoolDroppedError, match="b has replaced a"):
        await pool.acquire(1)
    pool.release(used)
    assert opener.made[0].closed


async def test_a_connection_that_opens_after_the_drop_is_not_used() -> None:
    opener = Opener()
    opener.gate.clear()
    pool = Pool(opener)
    waiting = asyncio.create_task(pool.acquire(5))
    await passes()
    pool.drop("gone")
    opener.gate.set()
    with pytest.raises(PoolDroppedError):
        await waiting
    await passes()
    assert opener.made[0].closed


async def test_a_herd_opens_few_connections_at_a_time() -> None:
    opener = Opener()
    opener.gate.clear()
    pool = Pool(opener)
    herd = [asyncio.create_task(pool.acquire(5)) for _ in range(12)]
    await passes()
    assert opener.busy == OPENING
    opener.gate.set()
    await asyncio.gather(*herd)
    assert opener.most == OPENING


async def test_an_opening_that_outlasts_its_request_serves_the_next() -> None:
    """Seen in a drill: on a starved machine each request gave its opening up after a second, and for 38 s none was
    through."""
    opener = Opener()
    opener.gate.clear()
    pool = Pool(opener)
    for _ in range(5):
        with pytest.raises(AttemptTimeoutError, match="no connection yet, 1 are being opened") as caught:
            await pool.acquire(0.01)
        assert not caught.value.sent
    opener.gate.set()
    assert (await pool.acquire(5)).pid == 100
    assert len(opener.made) == 1


async def test_an_opening_that_fails_wakes_the_next() -> None:
    async def refuse(limit: float) -> Connection:
        await asyncio.sleep(0)
        raise ConnectError("refused")

    pool = Pool(refuse, capacity=1)
    results = await asyncio.gather(*(pool.acquire(5) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(result, ConnectError) for result in results)
    assert pool.backends == 0


async def test_idle_connections_are_trimmed_but_for_a_few() -> None:
    opener = Opener()
    pool = Pool(opener)
    for connection in [await pool.acquire(1) for _ in range(5)]:
        pool.release(connection)
    pool.trim(asyncio.get_running_loop().time() + IDLE_SECONDS + 1)
    assert pool.backends == KEPT_IDLE
