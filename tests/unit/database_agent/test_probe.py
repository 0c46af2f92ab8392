"""What is seen of a real server that answers, is frozen, killed, and comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from support.postgres import PASSWORD, Server, throw_away_cluster

from okitoki_agents.database import probe
from okitoki_agents.database.probe import HolderProbe, StallClock, describe


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    with throw_away_cluster() as cluster:
        found = await asyncio.to_thread(cluster.primary)
        found.sql(f"create role replicator login password '{PASSWORD}'")
        monkeypatch.setattr(probe, "POSTGRES_PORT", found.port)
        yield found


@pytest.fixture
async def watched(server: Server) -> AsyncIterator[HolderProbe]:
    one = HolderProbe(PASSWORD, StallClock(), lambda: "127.0.0.1")
    task = asyncio.create_task(one.run())
    await until(lambda: one.sight().answered is not None, "an answer")
    yield one
    task.cancel()


async def until(done: Callable[[], bool], what: str) -> None:
    for _ in range(500):
        if done():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


async def test_an_answer_is_as_old_as_its_question(watched: HolderProbe) -> None:
    before = time.monotonic()
    await until(lambda: (watched.sight().answered or 0) > before, "another answer")
    assert watched.sight().broken is None


async def test_a_killed_server_is_known_to_be_gone_and_back(watched: HolderProbe, server: Server) -> None:
    server.kill()
    await until(lambda: watched.sight().broken is not None, "the fault")
    # Which of its processes died first decides what the probe's connection, or the next one, was told.
    assert watched.sight().problem in (
        "PostgreSQL refuses connections",
        "PostgreSQL closed the connection",
        "PostgreSQL ended the connection",
    )
    await asyncio.to_thread(server.start)
    await until(lambda: watched.sight().broken is None, "the recovery")


async def test_a_frozen_server_is_silent_and_not_broken_and_heard_again_at_once(
    watched: HolderProbe, server: Server
) -> None:
    server.freeze()
    frozen = time.monotonic()
    try:
        await asyncio.sleep(2 * probe.IMPATIENCE)
        assert watched.sight().broken is None
        assert (watched.sight().answered or 0) < frozen + probe.INTERVAL
    finally:
        server.thaw()
    thawed = time.monotonic()
    await until(lambda: (watched.sight().answered or 0) > thawed, "an answer after the thaw")


async def test_a_wrong_password_is_no_answer_and_no_secret(server: Server) -> None:
    one = HolderProbe("not-the-password", StallClock(), lambda: "127.0.0.1")
    task = asyncio.create_task(one.run())
    await until(lambda: one.sight().broken is not None, "the refusal")
    assert one.sight().answered is None
    assert "not-the-password" not in one.sight().problem
    task.cancel()


async def test_a_holder_without_an_address_is_not_taken_for_one_that_answers() -> None:
    one = HolderProbe(PASSWORD, StallClock(), lambda: None)
    task = asyncio.create_task(one.run())
    await until(lambda: one.sight().broken is not None, "the fault")
    assert one.sight().problem == "its pod has no address"
    task.cancel()


@pytest.mark.parametrize("status", [200, 503])
async def test_a_patroni_that_answers_is_not_frozen_whatever_it_says(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Without the API server its loop is late and it answers 503; when the server came back the agents replaced it."""

    async def liveness(_: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_get("/liveness", liveness)
    async with TestServer(app) as patroni:
        monkeypatch.setattr(probe, "PATRONI_PORT", patroni.port)
        one = HolderProbe(PASSWORD, StallClock(), lambda: "127.0.0.1")
        task = asyncio.create_task(one.run())
        await until(lambda: one.sight().patroni is not None, "an answer of Patroni's")
        task.cancel()


async def test_a_stall_of_ones_own_is_counted() -> None:
    clock = StallClock()
    task = asyncio.create_task(clock.run())
    await asyncio.sleep(2 * probe.TICK_SECONDS)
    time.sleep(0.5)  # noqa: ASYNC251 - the stall
    await asyncio.sleep(2 * probe.TICK_SECONDS)
    assert clock.total >= 0.3
    task.cancel()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            'connection to server at "10.0.0.1", port 5432 failed: Connection refused\n\tIs the server running?',
            "refuses",
        ),
        ("FATAL:  the database system is starting up", "is starting up"),
        ("FATAL:  the database system is in recovery mode", "recovers from a crash"),
        ("server closed the connection unexpectedly\n\tThis probably means …", "closed the connection"),
        ("terminating connection due to unexpected postmaster exit", "ended the connection"),
        ("terminating connection due to administrator command\nserver closed the connection unexpectedly", "closed"),
        ("", "OSError"),
    ],
)
def test_a_failure_in_words(text: str, words: str) -> None:
    assert words in describe(OSError(text))
