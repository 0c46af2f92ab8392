"""The watch over a standby that gets nowhere: what it reads, orders, and leaves alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from unit.database_agent.doubles import MAPS, FakeApi, config_map

from okitoki_agents.database import reinitialise, standstill, store
from okitoki_agents.database.decisions import Verdict
from okitoki_agents.database.reinitialise import PatroniApi, Reinitialiser
from okitoki_agents.database.standstill import Upstream
from okitoki_agents.database.store import PatroniStore
from okitoki_agents.kube import ApiClient, ApiError

ME = "postgres-2"


class FakeStandby:
    """A server that neither answers nor has any data."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.recovery: bool | None = None
        self.streaming = False

    async def in_recovery(self) -> bool | None:
        return self.recovery

    async def streams(self) -> bool:
        return self.streaming

    async def wal(self) -> tuple[int, int]:
        return 0, 0

    def postmaster(self) -> int | None:
        return None


class FakePatroni:
    def __init__(self) -> None:
        self.word: Upstream | None = Upstream(True, frozenset({"postgres-1"}), frozenset({"postgres-1"}))
        self.asked: list[str | None] = []
        self.answer = Verdict(True, "reinitialize started")
        self.ordered = 0

    async def upstream(self, address: str | None) -> Upstream | None:
        self.asked.append(address)
        return self.word

    async def reinitialise(self) -> Verdict:
        self.ordered += 1
        return self.answer


class Scene:
    def __init__(self, folder: Path) -> None:
        self.api = FakeApi(voters="postgres-1")
        self.api.objects[f"{MAPS}/postgres-config"] = config_map(
            "postgres-config", 5, config='{"synchronous_node_count": 1}'
        )
        self.server, self.patroni = FakeStandby(folder), FakePatroni()
        self.lock = PatroniStore(cast(ApiClient, self.api), "tenant-acme")
        self.watcher = Reinitialiser(ME, self.server, self.lock, self.patroni, {"postgres-0": "10.0.0.1"}.get)

    async def look(self, times: int = 2, *, fenced: bool = False) -> None:
        for _ in range(times):
            await self.watcher.look(store.parse(self.api.maps()), fenced)

    def mark(self) -> dict[str, str] | None:
        text = self.api.annotations(f"{MAPS}/postgres-config").get(store.REINITIALISED)
        found: dict[str, str] | None = json.loads(text) if text else None
        return found


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(standstill, "STUCK_SECONDS", 0.0)
    monkeypatch.setattr(reinitialise, "STUCK_SECONDS", 0.0)
    return Scene(tmp_path)


async def test_a_stuck_standby_is_noted_for_all_to_see_and_then_made_anew_once(scene: Scene) -> None:
    await scene.look(5)
    assert scene.patroni.ordered == 1
    assert set(scene.patroni.asked) == {"10.0.0.1"}
    mark = scene.mark()
    assert mark is not None
    assert mark["member"] == ME
    assert datetime.fromisoformat(mark["at"]).tzinfo is not None
    assert "no progress" in mark["reason"]
    assert "postgres-2 was made anew" in scene.watcher.reason


async def test_time_is_given_first(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reinitialise, "STUCK_SECONDS", 180.0)
    await scene.look(5)
    assert scene.patroni.asked == [], "nobody is bothered before"
    assert "it last made progress" in scene.watcher.reason


async def test_a_standby_that_streams_and_a_primary_are_left_alone(scene: Scene) -> None:
    scene.server.streaming = scene.server.recovery = True
    await scene.look()
    scene.server.streaming = scene.server.recovery = False
    await scene.look()
    scene.server.recovery = None
    scene.api.objects[f"{MAPS}/postgres-leader"] = config_map("postgres-leader", 11, leader=ME)
    await scene.look()
    assert (scene.patroni.asked, scene.mark()) == ([], None)


async def test_what_is_read_counts_and_not_what_was_watched(scene: Scene) -> None:
    watched = store.parse(scene.api.maps())
    scene.api.objects[f"{MAPS}/postgres-sync"] = config_map(
        "postgres-sync", 8, leader="postgres-0", sync_standby="postgres-1,postgres-2"
    )
    for _ in range(2):
        await scene.watcher.look(watched, fenced=False)
    assert (scene.patroni.ordered, scene.mark()) == (0, None)
    assert "is a voter" in scene.watcher.reason


async def test_a_fenced_server_is_left_alone(scene: Scene) -> None:
    await scene.look(fenced=True)
    assert (scene.patroni.ordered, scene.mark()) == (0, None)


async def test_when_another_member_is_marked_in_the_same_moment_this_one_waits(scene: Scene) -> None:
    scene.api.errors[f"{MAPS}/postgres-config"] = [ApiError(409, "the object has been modified")]
    await scene.look(1)
    assert (scene.patroni.ordered, scene.mark()) == (0, None)
    assert "postgres-config has changed" in scene.watcher.reason
    scene.patroni.word = None
    await scene.look(1)
    assert scene.patroni.ordered == 0


async def test_of_two_that_read_the_same_store_only_one_is_made_anew(scene: Scene, tmp_path: Path) -> None:
    patroni = FakePatroni()
    scene.patroni.word = patroni.word = Upstream(True, frozenset({"postgres-1"}), frozenset({"postgres-1"}))
    other = Reinitialiser("postgres-3", FakeStandby(tmp_path), scene.lock, patroni, {"postgres-0": "10.0.0.1"}.get)
    seen = store.parse(scene.api.maps())
    for _ in range(3):
        await asyncio.gather(scene.watcher.look(seen, fenced=False), other.look(seen, fenced=False))
    assert scene.patroni.ordered + patroni.ordered == 1


async def test_a_refusal_of_patroni_is_told_and_the_next_try_is_soon(scene: Scene) -> None:
    scene.patroni.answer = Verdict(False, "Cluster has no leader, can not reinitialize")
    await scene.look(1)
    assert "Cluster has no leader" in scene.watcher.reason
    assert scene.mark() is None
    scene.patroni.answer = Verdict(True, "reinitialize started")
    await scene.look(1)
    assert scene.patroni.ordered == 2


async def test_an_api_server_that_is_gone_means_that_nothing_is_done(scene: Scene) -> None:
    scene.api.errors[MAPS] = [OSError("gone")]
    await scene.look(1)
    assert scene.patroni.ordered == 0
    assert "reading Patroni's store" in scene.watcher.reason


def test_a_mark_that_somebody_else_wrote_is_none() -> None:
    for text in ("", "x", "[]", "{}", '{"member": "a", "at": "yesterday"}'):
        assert store.parse_mark({"postgres-config": config_map("c", 1, **{store.REINITIALISED: text})}) is None
    good = {store.REINITIALISED: '{"member": "a", "at": "2026-11-29T12:00:00+00:00"}'}
    assert store.parse_mark({"postgres-config": config_map("c", 1, **good)}) == standstill.Mark(
        "a", datetime(2026, 11, 29, 12, tzinfo=UTC)
    )


# Patroni's REST API


class Rest:
    def __init__(self) -> None:
        self.status, self.body = 200, '{"role": "primary", "replication": []}'
        self.got: list[tuple[str, object, str]] = []

    async def tell(self, _: web.Request) -> web.Response:
        return web.Response(status=self.status, text=self.body)

    async def reinitialise(self, request: web.Request) -> web.Response:
        self.got.append((request.path, await request.json(), request.headers.get("Authorization", "")))
        return web.Response(status=self.status, text=self.body)


@pytest.fixture
async def rest(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Rest, PatroniApi]]:
    found, app = Rest(), web.Application()
    app.router.add_get("/patroni", found.tell)
    app.router.add_post("/reinitialize", found.reinitialise)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        monkeypatch.setattr(reinitialise, "PATRONI_PORT", server.port)
        yield found, PatroniApi("secret", session)


async def test_the_primary_is_asked_who_is_connected_and_counts(rest: tuple[Rest, PatroniApi]) -> None:
    standbys = [
        {"application_name": name, "sync_state": state}
        for name, state in (("a", "quorum"), ("b", "async"), ("c", "sync"))
    ]
    rest[0].body = json.dumps({"role": "primary", "state": "running", "replication": standbys})
    found = await rest[1].upstream("127.0.0.1")
    assert found == Upstream(True, frozenset({"a", "b", "c"}), frozenset({"a", "c"}))


@pytest.mark.parametrize(("status", "body"), [(503, '{"role": "primary"}'), (200, '{"role": "replica"}')])
async def test_one_that_is_no_primary_says_so(rest: tuple[Rest, PatroniApi], status: int, body: str) -> None:
    rest[0].status, rest[0].body = status, body
    found = await rest[1].upstream("127.0.0.1")
    assert found is not None
    assert not found.primary


@pytest.mark.parametrize("body", ["", "[]", '"x"', '{"replication": [{}]}', '{"replication": 3}'])
async def test_an_answer_that_is_none_tells_nothing(rest: tuple[Rest, PatroniApi], body: str) -> None:
    rest[0].body = body
    assert await rest[1].upstream("127.0.0.1") is None
    assert await rest[1].upstream(None) is None


async def test_the_order_is_given_with_force_and_patronis_own_password(rest: tuple[Rest, PatroniApi]) -> None:
    rest[0].body = "reinitialize started"
    assert await rest[1].reinitialise() == Verdict(True, "reinitialize started")
    [(path, body, authorization)] = rest[0].got
    assert (path, body) == ("/reinitialize", {"force": True})
    assert authorization == aiohttp.encode_basic_auth("patroni", "secret")
    rest[0].status, rest[0].body = 503, "I am the leader, can not reinitialize"
    assert await rest[1].reinitialise() == Verdict(False, "I am the leader, can not reinitialize")
