"""The writer against a real HTTPS server on loopback, honest and otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from unit.load.doubles import HOST, KEY, Store, certificate

from okitoki_load import checker, ledger
from okitoki_load.attempts import judge_answer
from okitoki_load.client import Api, ApiError
from okitoki_load.ledger import FAIL, OK, UNKNOWN, Clock, Operation
from okitoki_load.provision import provision
from okitoki_load.recorder import Schedule
from okitoki_load.writer import Writer

SINCE = "2026-01-01T00:00:00Z"
Fault = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse | None]]


class World:
    def __init__(self, store: Store, port: int, ca: Path, folder: Path) -> None:
        self.store, self.port, self.ca, self.folder = store, port, ca, folder

    def api(self, *, host: str = HOST, key: str = KEY, port: int | None = None) -> Api:
        return Api(address="127.0.0.1", host=host, port=port or self.port, ca=self.ca, key=key)

    async def write(self, count: int = 10, deadline: float = 3.0, **client: Any) -> list[Operation]:
        book = ledger.Ledger(self.folder / "ledger.jsonl")
        clock = Clock()
        async with self.api(**client) as api:
            writer = Writer(api, book, run="run", name="w", number="+380441234567", clock=clock, deadline=deadline)
            await writer.write(Schedule(100, clock), asyncio.Event(), count / 100)
        await book.close()
        return ledger.read([self.folder / "ledger.jsonl"])

    async def verdict(self, operations: list[Operation]) -> checker.Verdict:
        async with self.api() as api:
            stored = [record async for record in api.records(SINCE)]
        return checker.check(operations, checker.of_run(stored, "run"))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    context, ca = certificate(tmp_path)
    store = Store()
    runner, port = await store.start(context)
    yield World(store, port, ca, tmp_path)
    await runner.cleanup()


async def test_writes_to_an_honest_server_are_stored_once_and_read_back_page_by_page(world: World) -> None:
    operations = await world.write(25)
    verdict = await world.verdict(operations)
    assert verdict.state == checker.VALID
    assert verdict.acknowledged == verdict.stored == 25
    assert world.store.hosts == {f"{HOST}:{world.port}"}


def once(answer: Callable[[], web.StreamResponse]) -> Fault:
    seen: set[str] = set()

    async def fault(request: web.Request, record: dict[str, Any]) -> web.StreamResponse | None:
        if record["id"] in seen:
            return None
        seen.add(record["id"])
        return answer()

    return fault


async def test_a_server_that_fails_once_gets_the_same_key_again(world: World) -> None:
    world.store.fault = once(lambda: web.json_response({}, status=502))
    operations = await world.write(5)
    assert {(op.outcome, op.attempts) for op in operations} == {(OK, 2)}
    assert (await world.verdict(operations)).state == checker.VALID


async def test_an_answer_lost_after_the_effect_is_retried_and_stored_once(world: World) -> None:
    seen: set[str] = set()

    async def cut(request: web.Request, record: dict[str, Any]) -> web.StreamResponse | None:
        if record["id"] in seen:
            return None
        seen.add(record["id"])
        world.store.store(record)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    world.store.fault = cut
    operations = await world.write(5)
    assert {op.outcome for op in operations} == {OK}
    verdict = await world.verdict(operations)
    assert (verdict.state, verdict.stored) == (checker.VALID, 5)


async def test_a_server_that_acknowledges_and_drops_is_caught(world: World) -> None:
    async def drop(request: web.Request, record: dict[str, Any]) -> web.StreamResponse | None:
        return web.json_response(record, status=201) if record["note"].endswith("/3") else None

    world.store.fault = drop
    verdict = await world.verdict(await world.write(6))
    assert verdict.state == checker.INVALID
    assert len(verdict.lost) == 1


async def test_a_server_that_stores_twice_is_caught(world: World) -> None:
    async def double(request: web.Request, record: dict[str, Any]) -> web.StreamResponse | None:
        if record["note"].endswith("/3"):
            world.store.records.append({**record, "id": "another"})
        return None

    world.store.fault = double
    verdict = await world.verdict(await world.write(6))
    assert verdict.state == checker.INVALID
    assert "another" in verdict.duplicates
    assert verdict.phantom == ["another"]


async def test_a_server_that_never_answers_leaves_it_unknown_at_the_deadline(world: World) -> None:
    async def hang(request: web.Request, record: dict[str, Any]) -> web.StreamResponse | None:
        await asyncio.sleep(5)
        return None

    world.store.fault = hang
    operations = await world.write(2, deadline=0.4)
    assert {op.outcome for op in operations} == {UNKNOWN}
    assert all(0.3 < (op.latency or 0) < 2 for op in operations)


async def test_nobody_listening_is_a_certain_failure(world: World) -> None:
    operations = await world.write(2, deadline=0.4, port=1)
    assert {op.outcome for op in operations} == {FAIL}
    assert all(op.attempts > 1 for op in operations)


async def test_a_wrong_key_is_a_certain_failure_and_not_repeated(world: World) -> None:
    operations = await world.write(2, key="otk_wrong")
    assert {(op.outcome, op.attempts, op.detail) for op in operations} == {(FAIL, 1, "401")}


async def test_a_refusal_after_an_attempt_that_may_have_worked_stays_unknown(world: World) -> None:
    world.store.fault = once(lambda: web.json_response({}, status=504))
    world.store.store = lambda record: web.json_response({}, status=422)  # type: ignore[method-assign]
    operations = await world.write(2)
    assert {(op.outcome, op.detail) for op in operations} == {(UNKNOWN, "422")}


async def test_a_certificate_for_another_name_is_refused(world: World) -> None:
    async with world.api(host="globex.kyiv.okitoki.test") as api:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await api.request("GET", "/v1/call-records", query={"from": SINCE})
    assert world.store.requests == 0


async def test_a_certificate_of_another_authority_is_refused(world: World, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    _, world.ca = certificate(other)
    operations = await world.write(1)
    assert {(op.outcome, op.attempts) for op in operations} == {(FAIL, 1)}


def test_the_apps_word_that_nothing_was_done_is_believed_and_no_other_503() -> None:
    nothing = judge_answer(503, {"error": {"code": "database_unavailable"}}, "k")
    assert (nothing.outcome, nothing.again) == (FAIL, True)
    for body in ({"error": {"code": "outcome_unknown"}}, None, {}):
        assert judge_answer(503, body, "k").outcome == UNKNOWN


def test_an_acknowledgement_of_another_record_is_none() -> None:
    assert judge_answer(201, {"id": "other"}, "k").outcome == UNKNOWN
    assert judge_answer(201, None, "k").outcome == UNKNOWN


async def test_provisioning_twice_gives_new_secrets(world: World) -> None:
    async with world.api() as api:
        assert await provision(api, {"sales": ["1001", "1002"]}) == {"1001": "first-1001", "1002": "first-1002"}
        assert await provision(api, {"sales": ["1001"]}) == {"1001": "second-1001"}
    assert world.store.queues == {"sales": ["1001"]}


async def test_an_unexpected_answer_is_explained_without_the_secret(world: World) -> None:
    async with world.api(key="otk_wrong") as api:
        with pytest.raises(ApiError, match=r"POST /v1/call-records: 401, unauthorized: no") as error:
            await api.need("POST", "/v1/call-records", 201, body={})
    assert "otk_wrong" not in str(error.value)
