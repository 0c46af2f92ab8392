"""Servers frozen, killed, replaced: what clients of the app notice."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from support.asgi_caller import Caller
from support.callcentre_app import ADMIN_KEY, RECORD, App, RunApp
from support.postgres import Server

from callcentre.database import decisions
from callcentre.database.decisions import SILENCE

PATIENT = 40.0
"""Deadline of requests (s) where the test is about what they end with. How long a server takes to stop, start or be
promoted is the machine's affair: on a busy one it is more than 8 s, and then 503 is right."""

WAITING = "select pid from pg_stat_activity where wait_event = 'SyncRep' and application_name = 'callcentre'"


@dataclass
class Writer:
    """Writes one record after another; each until it is acknowledged, always under its own key."""

    app: App
    acknowledged: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    slowest: float = 0.0
    stopping: bool = False

    async def run(self) -> None:
        while not self.stopping:
            key, began = str(uuid4()), time.monotonic()
            while True:
                reply = await self.app.client.post("/v1/call-records", json=RECORD, headers={"Idempotency-Key": key})
                self.statuses.append(reply.status_code)
                if reply.is_success:
                    break
                await asyncio.sleep(0.1)
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.acknowledged.append(key)
            await asyncio.sleep(0.01)


class Load:
    """Several writers; `progress` waits until each has been acknowledged anew."""

    def __init__(self, app: App, count: int = 4) -> None:
        self.app = app
        self.writers = [Writer(app) for _ in range(count)]
        self.tasks = [asyncio.create_task(writer.run()) for writer in self.writers]

    @property
    def acknowledged(self) -> set[str]:
        return {key for writer in self.writers for key in writer.acknowledged}

    async def progress(self, count: int = 5) -> None:
        goals = [(writer, len(writer.acknowledged) + count) for writer in self.writers]
        await self.app.until(
            lambda: all(len(writer.acknowledged) >= goal for writer, goal in goals), "every writer goes on", PATIENT
        )

    async def stop(self) -> None:
        for writer in self.writers:
            writer.stopping = True
        await asyncio.gather(*self.tasks)


def caller_of(app: App, key: str) -> Caller:
    """A client that may leave, with a record to write under `key`."""
    headers = {
        "Authorization": f"Bearer {ADMIN_KEY.text}",
        "Idempotency-Key": key,
        "Content-Type": "application/json",
    }
    return Caller(app.app, "/v1/call-records", json.dumps(RECORD).encode(), headers)


def stored(server: Server) -> set[str]:
    return {str(row[0]) for row in server.sql("select id from call_records")}


async def test_a_frozen_standby_is_not_noticed_by_requests(pair: tuple[Server, Server], run_app: RunApp) -> None:
    first, second = pair
    await asyncio.to_thread(first.configure, synchronous_standby_names="")  # another standby would acknowledge
    async with run_app(first, second) as app:
        load = Load(app)
        await load.progress()
        second.freeze()
        name = app.services.cluster.members[1].name

        def silent() -> bool:
            rows = {row["name"]: row for row in app.services.cluster.report(time.monotonic())}
            return "silent" in str(rows[name]["state"])

        await app.until(silent, "the frozen member is known to be silent")
        for writer in load.writers:
            writer.slowest = 0.0
        await load.progress(20)
        await load.stop()
        assert all(writer.slowest < SILENCE for writer in load.writers)
        assert {status for writer in load.writers for status in writer.statuses} == {201}
        second.thaw()
        await app.until(lambda: not silent(), "the thawed member answers")


async def test_a_killed_primary_costs_no_acknowledged_write_and_no_error(
    pair: tuple[Server, Server], run_app: RunApp
) -> None:
    first, second = pair
    async with run_app(first, second) as app:
        app.limit_requests(PATIENT)
        load = Load(app)
        await load.progress()
        first.kill()
        await asyncio.to_thread(second.promote)
        await load.progress()
        await load.stop()
        assert app.services.cluster.primary is not None
        assert app.services.cluster.primary.identity.timeline == 2
        assert {status for writer in load.writers for status in writer.statuses} <= {200, 201}
        assert load.acknowledged <= stored(second)
        assert len(load.acknowledged) >= 40


async def test_a_frozen_primary_is_left_and_not_believed_when_it_is_back(
    pair: tuple[Server, Server], run_app: RunApp
) -> None:
    """SIGSTOP: its connections stay open and its kernel answers, so only time tells."""
    first, second = pair
    async with run_app(first, second) as app:
        app.limit_requests(PATIENT)
        load = Load(app)
        await load.progress()
        first.freeze()
        await asyncio.to_thread(second.promote)
        await load.progress()
        first.thaw()
        names = [member.name for member in app.services.cluster.members]

        def both_claim() -> bool:
            states = [str(row["state"]) for row in app.services.cluster.report(time.monotonic())]
            return all("primary on timeline" in state for state in states)

        await app.until(both_claim, "both members claim to be the primary")
        await load.progress()
        await load.stop()
        assert app.services.cluster.primary is not None
        assert app.services.cluster.primary.member.name == names[1]
        assert "highest timeline 2" in app.services.cluster.reason
        assert load.acknowledged <= stored(second)
        assert {status for writer in load.writers for status in writer.statuses} <= {200, 201}


async def test_a_restart_in_place_is_hidden(primary: Server, run_app: RunApp) -> None:
    first = primary
    async with run_app(first) as app:
        app.limit_requests(PATIENT)
        load = Load(app)
        await load.progress()
        await asyncio.to_thread(first.stop, "fast")
        await asyncio.to_thread(first.start)
        await load.progress()
        await load.stop()
        assert {status for writer in load.writers for status in writer.statuses} <= {200, 201}
        assert load.acknowledged <= stored(first)


async def test_without_a_primary_the_deadline_ends_in_503_and_readiness_follows(
    primary: Server, run_app: RunApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "REQUEST_DEADLINE", 2.0)  # readiness' bound; the requests' own is set below
    first = primary
    async with run_app(first, ready=False) as app:
        assert (await app.anyone.get("/readyz")).status_code == 503
        assert (await app.anyone.get("/healthz")).status_code == 200
        await app.until(lambda: app.services.schema.migrated, "the schema is ready")
        ready = await app.anyone.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["primary"] == app.services.cluster.members[0].name
        assert ready.json()["members"][0]["role"] == "primary"
        app.limit_requests(1.0)
        assert (await app.client.get("/v1/agents")).status_code == 200  # the key is known from here on

        await asyncio.to_thread(first.stop, "immediate")
        await app.until(lambda: app.services.cluster.primary is None, "the primary is gone")
        assert (await app.anyone.get("/readyz")).status_code == 200  # it may be a failover
        began = time.monotonic()
        reply = await app.client.post("/v1/call-records", json=RECORD, headers={"Idempotency-Key": str(uuid4())})
        assert 0.9 < time.monotonic() - began < 3
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "database_unavailable")
        assert reply.headers["retry-after"] == "1"

        seen = app.services.cluster.primary_seen
        assert seen is not None
        await app.until(lambda: time.monotonic() - seen > 2.0, "the primary was not seen for the deadline")
        assert (await app.anyone.get("/readyz")).status_code == 503
        assert (await app.anyone.get("/healthz")).status_code == 200
        await asyncio.to_thread(first.start)
        await app.until(lambda: app.services.cluster.primary is not None, "the primary is back")
        assert (await app.anyone.get("/readyz")).status_code == 200


async def test_copies_whose_clients_left_during_an_outage_are_not_carried_out_after_it(
    primary: Server, run_app: RunApp
) -> None:
    """The edge's proxy leaves a pod that does not answer and asks another: the app that is left drops its copy."""
    async with run_app(primary) as app:
        assert (await app.client.get("/v1/agents")).status_code == 200  # the key is known from here on
        await asyncio.to_thread(primary.stop, "immediate")
        await app.until(lambda: app.services.cluster.primary is None, "the primary is gone")
        callers = [caller_of(app, str(uuid4())) for _ in range(20)]
        calls = [asyncio.create_task(caller.call()) for caller in callers]
        await asyncio.sleep(0.1)
        staying = str(uuid4())
        held = asyncio.create_task(
            app.client.post("/v1/call-records", json=RECORD, headers={"Idempotency-Key": staying})
        )
        for caller in callers:
            caller.leave()
        await asyncio.wait_for(asyncio.gather(*calls), 5)
        await asyncio.to_thread(primary.start)
        assert (await held).status_code == 201
        assert stored(primary) == {staying}


async def test_a_client_that_leaves_during_a_statement_costs_no_connection(primary: Server, run_app: RunApp) -> None:
    async with run_app(primary) as app:
        assert (await app.client.get("/v1/agents")).status_code == 200
        now = app.services.cluster.primary
        assert now is not None
        opened = now.pool.backends
        await asyncio.to_thread(primary.configure, synchronous_standby_names="absent")
        key = str(uuid4())
        caller = caller_of(app, key)
        calling = asyncio.create_task(caller.call())
        await app.until(lambda: bool(primary.sql(WAITING)), "the commit waits for a standby")
        caller.leave()
        await asyncio.wait_for(calling, 5)
        assert now.pool.ghosts == []
        await asyncio.to_thread(primary.configure, synchronous_standby_names="")
        await app.until(lambda: not primary.sql(WAITING), "the commit is through")
        assert (now.pool.backends, now.pool.ghosts) == (opened, [])
        assert stored(primary) == {key}


async def test_a_client_that_left_does_not_hold_a_connection_for_ever(primary: Server, run_app: RunApp) -> None:
    async with run_app(primary) as app:
        assert (await app.client.get("/v1/agents")).status_code == 200
        await asyncio.to_thread(primary.configure, synchronous_standby_names="absent")
        now = app.services.cluster.primary
        assert now is not None
        caller = caller_of(app, str(uuid4()))
        calling = asyncio.create_task(caller.call())
        await app.until(lambda: bool(primary.sql(WAITING)), "the commit waits for a standby")
        caller.leave()
        await asyncio.wait_for(calling, 5)
        await app.until(lambda: bool(now.pool.ghosts), "the connection is given up when the attempt's time is over")
        await asyncio.to_thread(primary.configure, synchronous_standby_names="")


async def test_a_standby_alone_is_no_primary(pair: tuple[Server, Server], run_app: RunApp) -> None:
    _, second = pair
    async with run_app(second, ready=False) as app:
        cluster = app.services.cluster
        await app.until(lambda: cluster.report(time.monotonic())[0]["role"] == "standby", "the standby is known")
        assert cluster.primary is None
        reply = await app.anyone.get("/readyz")
        assert (reply.status_code, reply.json()["primary"]) == (503, None)
