"""Following changes without keeping anything: gaps, breaks, long lines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import kopf
import pytest
from aiohttp import web

from okitoki.kube import follow as module
from okitoki.kube.client import Client
from okitoki.kube.follow import follow
from okitoki.kube.resources import POD, SECRET, ResourceType


class Api:
    """An API server with one collection; `answers` are what the next watches say, each a list of events."""

    def __init__(self) -> None:
        self.version = 10
        self.answers: list[list[dict[str, Any]] | int] = []
        self.asked: list[tuple[str, str]] = []
        self.accepted: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            assert request.query["limit"] == "1"
            return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": []})
        self.asked.append((request.query["resourceVersion"], request.query["labelSelector"]))
        self.accepted.append(request.headers["Accept"])
        answer = self.answers.pop(0) if self.answers else []
        if isinstance(answer, int):
            return web.json_response({"reason": "Expired", "message": "too old"}, status=answer)
        response = web.StreamResponse()
        await response.prepare(request)
        for event in answer:
            line = json.dumps(event).encode() + b"\n"
            for part in (line[:7], line[7:]):
                await response.write(part)
        if not self.answers:
            await asyncio.sleep(30)
        return response


def event(kind: str, version: int, **metadata: Any) -> dict[str, Any]:
    return {"type": kind, "object": {"kind": "Partial", "metadata": {"resourceVersion": str(version), **metadata}}}


class Follower:
    """What `follow` told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []
        self.begun = 0
        self.changed = asyncio.Event()

    def notice(self, kind: str, item: dict[str, Any]) -> None:
        self.told.append((kind, item["kind"], item["metadata"]["name"]))
        self.changed.set()

    def began(self) -> None:
        self.begun += 1
        self.changed.set()

    async def begin(self, client: Client, kind: ResourceType) -> str:
        version = await client.version(kind, {"a": "1"})
        self.began()
        return version

    async def until(self, told: int, begun: int = 1) -> None:
        async with asyncio.timeout(20):
            while len(self.told) < told or self.begun < begun:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def api() -> Api:
    return Api()


@pytest.fixture
async def follower(api: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Follower]:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.05)
    app = web.Application()
    app.router.add_get("/api/v1/secrets", api.handle)
    app.router.add_get("/api/v1/pods", api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found = Follower()
    port = runner.addresses[0][1]
    async with Client(kopf.ConnectionInfo(server=f"http://127.0.0.1:{port}")) as client:
        found.start = lambda kind, whole: asyncio.create_task(  # type: ignore[attr-defined]
            follow(client, kind, {"a": "1"}, found.notice, partial(found.begin, client, kind), whole=whole)
        )
        yield found
    await runner.cleanup()


async def test_changes_are_told_with_their_kind_and_bookmarks_only_move_on(api: Api, follower: Any) -> None:
    api.answers = [[event("ADDED", 11, name="one"), event("BOOKMARK", 15)], [event("DELETED", 16, name="one")]]
    task = follower.start(SECRET, False)
    await follower.until(told=2)
    task.cancel()
    assert follower.told == [("ADDED", "Secret", "one"), ("DELETED", "Secret", "one")]
    assert [since for since, _ in api.asked[:2]] == ["10", "15"]
    assert {selector for _, selector in api.asked} == {"a=1"}
    assert follower.begun == 1
    assert all("PartialObjectMetadata" in accepted for accepted in api.accepted)


async def test_whole_objects_may_be_longer_than_any_buffer(api: Api, follower: Any) -> None:
    api.answers = [[event("MODIFIED", 11, name="big", annotations={"x": "y" * 700_000})]]
    task = follower.start(POD, True)
    await follower.until(told=1)
    task.cancel()
    assert follower.told == [("MODIFIED", "Pod", "big")]
    assert "PartialObjectMetadata" not in api.accepted[0]


@pytest.mark.parametrize(
    "gap", [410, [{"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}}]]
)
async def test_after_a_gap_it_begins_anew_and_says_so(api: Api, follower: Any, gap: Any) -> None:
    api.answers = [[event("ADDED", 11, name="one")], gap, [event("ADDED", 31, name="two")]]
    api.version = 30
    task = follower.start(SECRET, False)
    await follower.until(told=2, begun=2)
    task.cancel()
    assert api.asked[-1][0] == "30"
    assert follower.begun == 2


async def test_a_refusal_that_passes_loses_nothing(api: Api, follower: Any) -> None:
    api.answers = [[event("ADDED", 11, name="one")], 503, [event("ADDED", 12, name="two")]]
    task = follower.start(SECRET, False)
    await follower.until(told=2)
    task.cancel()
    assert [since for since, _ in api.asked[:3]] == ["10", "11", "11"]
    assert follower.begun == 1
