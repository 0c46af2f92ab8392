"""What is acknowledged is on a standby: cancelled waits, restarts in place, stalls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx
import pytest
from support.callcentre_app import RECORD, App, RunApp
from support.postgres import Server

from callcentre.database.connection import Database as Session
from callcentre.database.decisions import Outcome
from callcentre.database.pool import CAPACITY
from callcentre.database.probe import SESSIONS
from callcentre.database.runner import Deadline, UnavailableError

WAITING = "select pid from pg_stat_activity where wait_event = 'SyncRep' and application_name = 'callcentre'"


async def post(app: App, key: str) -> httpx.Response:
    return await app.client.post("/v1/call-records", json=RECORD, headers={"Idempotency-Key": key})


@asynccontextmanager
async def without_standby(server: Server) -> AsyncIterator[None]:
    """Commits on `server` wait for a standby that does not exist."""
    await asyncio.to_thread(server.configure, synchronous_standby_names="absent")
    try:
        yield
    finally:
        await asyncio.to_thread(server.configure, synchronous_standby_names="")


class Log:
    """What a server has logged since this was made."""

    def __init__(self, server: Server) -> None:
        self._path = server.data / "log"
        self._begin = self._path.stat().st_size

    def since(self) -> str:
        return self._path.read_bytes()[self._begin :].decode()


async def cancel_waits(server: Server) -> None:
    """Until cancelled: pg_cancel_backend on every commit that waits for its standby."""
    while True:
        await asyncio.to_thread(server.sql, WAITING.replace("select pid", "select pg_cancel_backend(pid)"))
        await asyncio.sleep(0.05)


async def test_a_cancelled_wait_for_the_standby_is_never_an_acknowledgement(app: App, server: Server) -> None:
    warnings: list[str] = []

    async def write(session: Session) -> None:
        session.add_notice_handler(lambda notice: warnings.append(notice.message_primary or ""))
        await session.execute("update configuration set version = gen_random_uuid()")

    async with without_standby(server):
        canceller = asyncio.create_task(cancel_waits(server))
        with pytest.raises(UnavailableError) as caught:
            await app.services.database.run(write, Deadline(2))
        app.limit_requests(2)
        reply = await post(app, str(uuid4()))
        canceller.cancel()
    assert any("canceling wait for synchronous replication" in warning for warning in warnings)
    assert caught.value.outcome is Outcome.UNKNOWN
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "outcome_unknown")
    assert reply.headers["retry-after"] == "1"


async def test_a_write_goes_through_when_the_standby_comes_back_in_time(app: App, server: Server) -> None:
    async with without_standby(server):
        writing = asyncio.create_task(post(app, str(uuid4())))
        await app.until(lambda: bool(server.sql(WAITING)), "the commit waits")
    assert (await writing).status_code in (200, 201)


async def test_a_row_that_was_never_replicated_is_not_acknowledged_by_its_replay(
    primary: Server, run_app: RunApp
) -> None:
    """A primary restarted in place shows what no standby has. The control: `do nothing` would acknowledge it."""
    server = primary
    key = str(uuid4())
    async with run_app(server) as app:
        async with without_standby(server):
            app.limit_requests(2)
            assert (await post(app, key)).status_code == 503
            await asyncio.to_thread(server.stop, "immediate")
            await asyncio.to_thread(server.start)
            assert server.sql(f"select count(*) from call_records where id = '{key}'") == [(1,)]

            async def careless(session: Session) -> int:
                cursor = await session.execute(
                    "insert into call_records (id, direction, number, caller, started_at, ended_at, end_reason)"
                    " values (%s, 'in', '+380441234567', '', now(), now(), 'bye') on conflict do nothing",
                    (key,),
                )
                return cursor.rowcount

            assert await app.services.database.run(careless, Deadline(5)) == 0
            replay = await post(app, key)
            assert (replay.status_code, replay.json()["error"]["code"]) == (503, "outcome_unknown")
        app.limit_requests(8)
        assert (await post(app, key)).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        lambda app: app.client.delete("/v1/agents/nobody"),
        lambda app: app.client.delete("/v1/api-keys/NotThere"),
        lambda app: app.client.put("/v1/queues/sales", json={"agents": []}),
        lambda app: app.platform.put("/platform/v1/tenant", json={"name": "acme", "displayName": "", "numbers": []}),
    ],
    ids=["delete agent", "delete key", "queue", "tenant"],
)
async def test_a_change_that_finds_its_work_done_waits_for_a_standby_too(
    app: App, server: Server, change: Callable[[App], Awaitable[httpx.Response]]
) -> None:
    assert (await change(app)).is_success
    assert (await change(app)).is_success
    app.limit_requests(0.5)
    async with without_standby(server):
        reply = await change(app)
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "outcome_unknown")


async def test_a_stall_is_abandoned_never_cancelled_and_bounded(app: App, server: Server) -> None:
    """Every retry of a stalled write leaves a backend that waits: they count, and none is sent a cancel request."""
    log = Log(server)
    app.limit_requests(4)
    keys = [str(uuid4()) for _ in range(40)]
    async with without_standby(server):
        replies = await asyncio.gather(*(post(app, key) for key in keys))
        assert {reply.status_code for reply in replies} == {503}
        backends = server.sql("select count(*) from pg_stat_activity where application_name like 'callcentre%'")
        # On a machine without a moment to spare not every connection is there before the requests have given up.
        assert 0 < len(server.sql(WAITING)) <= CAPACITY
        assert int(str(backends[0][0])) <= CAPACITY + SESSIONS
        assert (await app.anyone.get("/readyz")).status_code == 200
    primary = app.services.cluster.primary
    assert primary is not None
    await app.until(lambda: not primary.pool.ghosts, "the abandoned backends have ended")
    assert "canceling" not in log.since()
    app.limit_requests(8)
    assert {(await post(app, key)).status_code for key in keys} <= {200, 201}
    assert server.sql("select count(*) from call_records") == [(40,)]


async def test_a_cancelled_request_leaves_its_commit_alone(app: App, server: Server) -> None:
    """psycopg cancels the query of a task that is cancelled; the app must not."""
    log = Log(server)
    async with without_standby(server):
        writing = asyncio.create_task(post(app, str(uuid4())))
        await app.until(lambda: bool(server.sql(WAITING)), "the commit waits")
        writing.cancel()
        await asyncio.wait({writing})
        assert len(server.sql(WAITING)) == 1
    assert "canceling" not in log.since()
