"""Locust as users start it, against the real app over HTTPS, honest and otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from support.callcentre_app import ADMIN_KEY
from support.postgres import Server, eventually, free_port
from unit.load.doubles import Store
from unit.locust.world import Locust, loaded_store, running_app

from okitoki_load import ledger

pytestmark = pytest.mark.timeout(180)


async def test_an_app_that_is_killed_and_comes_back_loses_nothing_and_its_gap_is_seen(
    tmp_path: Path, database: Server
) -> None:
    def stored() -> int:
        return int(str(database.sql("select count(*) from call_records")[0][0]))

    async with running_app(tmp_path, database) as app:
        locust = Locust(tmp_path, port=app.port, key=ADMIN_KEY.text)
        try:
            process = await locust.start("--headless", "-u", "3", "-r", "10", "--rate", "8")
            await asyncio.to_thread(eventually, lambda: stored() > 50, "records are written", 60)
            await app.kill()
            await asyncio.sleep(1.5)
            await app.start()
            before = stored()
            await asyncio.to_thread(eventually, lambda: stored() > before + 60, "records are written again", 60)
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0, locust.said()
        finally:
            await locust.close()
    found = locust.report()
    writes = found["writes"]
    assert found["state"] == "valid"
    assert writes["acknowledged"] > 100
    assert writes["retried"] > 0
    assert (writes["lost"], writes["phantom"], writes["out_of_order"]) == ([], [], [])
    assert writes["order_checked"] > 50
    assert sum(raw["failed"] for raw in found["requests"]) > 0
    [gap] = [gap for gap in found["gaps"] if gap["operation"] == "write"]
    assert (gap["tenant"], gap["region"], gap["protocol"]) == ("acme", "kyiv.okitoki.test", "https")
    assert gap["seconds"] > 1.0
    assert {raw["name"] for raw in found["requests"] if raw["kind"] == "GET"} == {
        "/v1/call-records",
        "/v1/call-records/{id}",
    }
    assert ADMIN_KEY.text not in locust.said() + (locust.run_folder() / "run.json").read_text()


class World:
    def __init__(self, store: Store, locust: Locust) -> None:
        self.store, self.locust = store, locust


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with loaded_store(tmp_path) as (store, locust):
        yield World(store, locust)


SHORT = ("-u", "2", "-r", "10", "-t", "6s", "--rate", "20")


async def test_a_server_that_acknowledges_and_drops_every_tenth_is_caught(world: World) -> None:
    count, dropped = 0, set()

    async def drop(request: web.Request, record: dict[str, Any]) -> web.StreamResponse | None:
        nonlocal count
        count += 1
        if count % 10:
            return None
        dropped.add(record["id"])
        return web.json_response(record, status=201)

    world.store.fault = drop
    assert await world.locust.run(*SHORT) == 1
    found = world.locust.report()
    assert found["state"] == "invalid"
    assert set(found["writes"]["lost"]) == dropped
    assert dropped
    assert "acknowledged writes were lost" in world.locust.said()


async def test_what_is_in_flight_when_time_is_up_has_its_outcome_though_locust_kills_its_users(world: World) -> None:
    slow: set[str] = set()

    async def late(request: web.Request, record: dict[str, Any]) -> web.StreamResponse | None:
        if len(world.store.records) > 40:
            slow.add(record["id"])
            await asyncio.sleep(3)
        return None

    world.store.fault = late
    assert await world.locust.run(*SHORT, "--stop-timeout", "0", "--requests-at-once", "50") == 0
    found = world.locust.report()["writes"]
    assert len(slow) > 20
    assert (found["unknown"], found["failed"]) == (0, 0)
    assert found["acknowledged"] == len(world.store.records)


async def test_a_terminated_run_is_judged_all_the_same(world: World) -> None:
    process = await world.locust.start("--headless", "-u", "2", "-r", "10", "--rate", "20")
    while len(world.store.records) < 40:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 60) == 0, world.locust.said()
    assert world.locust.report()["state"] == "valid"


async def test_a_server_that_refuses_everything_decides_nothing(world: World) -> None:
    async def refuse(request: web.Request, record: dict[str, Any]) -> web.StreamResponse | None:
        return web.json_response({"error": {"code": "nothing", "message": "no"}}, status=403)

    world.store.fault = refuse
    assert await world.locust.run("-u", "1", "-t", "2s") == 3
    assert world.locust.report()["state"] == "undecided"


async def test_a_shape_brings_users_bit_by_bit_and_ends_by_itself(world: World) -> None:
    assert await world.locust.run("-u", "4", "-r", "10", "-t", "10s", "--rate", "5", "--shape", "ramp") == 0
    path = world.locust.run_folder() / "ledger-0.jsonl"
    operations = ledger.read([path])
    begun = min(operation.due for operation in operations)
    first: dict[str, float] = {}
    for operation in operations:
        first.setdefault(operation.writer, operation.due - begun)
    assert len(first) == 4
    assert sorted(first.values())[1] > 1.0  # the second user came with the ramp, not at the start
    assert world.locust.report()["shape"] == "ramp"


async def test_the_web_page_shows_our_arguments_and_each_run_from_it_is_judged(world: World) -> None:
    port = free_port()
    process = await world.locust.start("--web-host", "127.0.0.1", "--web-port", str(port), "--rate", "10")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as page, asyncio.timeout(120):
        while True:
            with contextlib.suppress(httpx.TransportError):
                shown = (await page.get("/")).text
                break
            await asyncio.sleep(0.2)
        assert "file with an API key of the tenant" in shown
        assert "collect_port" not in shown
        reply = await page.post("/swarm", data={"user_count": "2", "spawn_rate": "10", "rate": "20"})
        assert reply.json()["success"], reply.text
        while len(world.store.records) < 40:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert (await page.post("/stop")).json()["success"]
        while not any(world.locust.results.glob("load-*/report.json")):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0, world.locust.said()
    found = world.locust.report()
    assert found["state"] == "valid"
    assert found["rate"] == 20.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", "http://acme.test"), "https://TENANT.DOMAIN"),
        (("--numbers", "044"), "--numbers"),
        (("--api-key-file", "/nonexistent/key"), "--api-key-file /nonexistent/key"),
        (("--rate", "0"), "--rate 0"),
        (("--sip", "198.18.0.1"), "--phone-address"),
    ],
)
async def test_wrong_options_are_told_by_their_name_before_anything_is_sent(
    world: World, arguments: tuple[str, ...], words: str
) -> None:
    assert await world.locust.run("-u", "1", "-t", "2s", *arguments) == 2
    assert words in world.locust.said()
    assert world.store.requests == 0
