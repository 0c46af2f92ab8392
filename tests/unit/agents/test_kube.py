"""List and watch against an API server that misbehaves in the ways real ones do."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from okitoki_agents import kube
from okitoki_agents.kube import ApiClient, ApiError, Object, Reflector

PATH = "/api/v1/namespaces/x/secrets"


def item(name: str, version: int, **data: Any) -> Object:
    return {"metadata": {"name": name, "resourceVersion": str(version)}, **data}


class ApiServer:
    """Answers with what is scripted: `lists` and `watches` are taken one after the other, the last one stays."""

    def __init__(self) -> None:
        self.lists: list[Any] = []
        self.watches: list[Any] = []
        self.requests: list[web.Request] = []
        self.bodies: list[Any] = []
        self.patch_status = 200

    async def get(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        watching = "watch" in request.query
        script = self.watches if watching else self.lists
        answer = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(answer, int):
            return web.json_response({"message": "no"}, status=answer)
        if not watching:
            return web.json_response({"metadata": {"resourceVersion": "10"}, "items": answer})
        response = web.StreamResponse()
        await response.prepare(request)
        for event in answer:
            if event == "hang":
                await asyncio.sleep(60)
            data = event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n"
            for start in range(0, len(data), 50_000):
                await response.write(data[start : start + 50_000])
        return response

    async def patch(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        self.bodies.append(await request.json())
        return web.json_response({"message": "denied"}, status=self.patch_status)


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[ApiServer, ApiClient]]:
    monkeypatch.setattr(kube, "BACKOFF_FIRST_SECONDS", 0.01)
    api = ApiServer()
    app = web.Application()
    app.router.add_get(PATH, api.get)
    app.router.add_patch("/{path:.*}", api.patch)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    (tmp_path / "token").write_text("first\n")
    port = runner.addresses[0][1]
    client = ApiClient(f"http://127.0.0.1:{port}", tmp_path / "token", tmp_path / "ca.crt")
    yield api, client
    await client.close()
    await runner.cleanup()


async def follow(client: ApiClient, done: Callable[[dict[str, Object]], bool]) -> tuple[Reflector, list[list[str]]]:
    """Run a reflector until its objects satisfy `done`; all states that it told of."""
    states: list[list[str]] = []
    satisfied = asyncio.Event()

    def on_change(objects: dict[str, Object]) -> None:
        states.append(sorted(objects))
        if done(objects):
            satisfied.set()

    reflector = Reflector(client, PATH, "a=b", on_change)
    task = asyncio.create_task(reflector.run())
    try:
        await asyncio.wait_for(satisfied.wait(), 10)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return reflector, states


async def test_a_list_and_then_its_events(server: tuple[ApiServer, ApiClient]) -> None:
    api, client = server
    api.lists = [[item("a", 1)]]
    api.watches = [
        [
            {"type": "ADDED", "object": item("b", 11)},
            {"type": "MODIFIED", "object": item("b", 12, data=1)},
            {"type": "DELETED", "object": item("a", 13)},
            "hang",
        ]
    ]
    _, states = await follow(client, lambda objects: list(objects) == ["b"])
    assert states == [["a"], ["a", "b"], ["a", "b"], ["b"]]
    assert api.requests[0].query["labelSelector"] == "a=b"
    assert api.requests[1].query["resourceVersion"] == "10"


async def test_a_watch_that_ended_goes_on_from_the_last_bookmark(server: tuple[ApiServer, ApiClient]) -> None:
    api, client = server
    api.lists = [[]]
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "99"}}}
    api.watches = [[bookmark], [{"type": "ADDED", "object": item("a", 100)}, "hang"]]
    await follow(client, lambda objects: "a" in objects)
    assert [request.query.get("resourceVersion") for request in api.requests] == [None, "10", "99"]


@pytest.mark.parametrize(
    "gone",
    [410, [{"type": "ERROR", "object": {"code": 410, "message": "too old"}}]],
)
async def test_a_version_that_is_too_old_means_a_new_list(server: tuple[ApiServer, ApiClient], gone: Any) -> None:
    api, client = server
    api.lists = [[item("a", 1)], [item("b", 2)]]
    api.watches = [gone, ["hang"]]
    _, states = await follow(client, lambda objects: "b" in objects)
    assert states == [["a"], ["b"]]


async def test_errors_leave_the_last_answer_in_force(server: tuple[ApiServer, ApiClient]) -> None:
    api, client = server
    api.lists = [[item("a", 1)], 500, 403, [item("a", 1), item("b", 2)]]
    api.watches = [503, ["hang"]]
    reflector, states = await follow(client, lambda objects: "b" in objects)
    assert states == [["a"], ["a", "b"]]
    assert reflector.synced


async def test_a_watch_may_be_cut_in_the_middle_of_an_event(server: tuple[ApiServer, ApiClient]) -> None:
    api, client = server
    api.lists = [[]]
    api.watches = [[b'{"type": "ADDED", "obj'], [{"type": "ADDED", "object": item("a", 11)}, "hang"]]
    _, states = await follow(client, lambda objects: "a" in objects)
    assert states == [[], ["a"]]


async def test_an_object_may_be_large(server: tuple[ApiServer, ApiClient]) -> None:
    api, client = server
    api.lists = [[]]
    api.watches = [[{"type": "ADDED", "object": item("a", 11, data="x" * 900_000)}, "hang"]]
    reflector, _ = await follow(client, lambda objects: "a" in objects)
    assert len(reflector.objects["a"]["data"]) == 900_000


async def test_the_token_is_read_anew_for_each_request(server: tuple[ApiServer, ApiClient], tmp_path: Path) -> None:
    api, client = server
    api.lists = [[]]
    await client.list(PATH, "")
    (tmp_path / "token").write_text("second")
    await client.list(PATH, "")
    assert [request.headers["Authorization"] for request in api.requests] == ["Bearer first", "Bearer second"]


async def test_a_refused_patch_says_why(server: tuple[ApiServer, ApiClient]) -> None:
    api, client = server
    await client.merge_patch(f"{PATH}/a", {"metadata": {}})
    assert api.requests[0].headers["Content-Type"] == "application/merge-patch+json"
    api.patch_status = 403
    with pytest.raises(ApiError, match="denied") as caught:
        await client.merge_patch(f"{PATH}/a", {"metadata": {}})
    assert caught.value.status == 403
