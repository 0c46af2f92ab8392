"""The agent as a whole: an API server, a tenant's app and a stand-in for Kamailio around it."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from unit.edge_agent.doubles import FakeRedis
from unit.edge_agent.support import FEED, facts, make_certificate, tenant_secret
from unit.edge_agent.test_haproxy import checker

from okitoki_agents import kube
from okitoki_agents.edge import kamailio
from okitoki_agents.edge.agent import agent as agent_module
from okitoki_agents.edge.agent.agent import Agent
from okitoki_agents.edge.agent.haproxy_config import Files
from okitoki_agents.kube import ApiClient

REGION = "/api/v1/namespaces/okitoki-region-kyiv"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/tenant-acme/endpointslices"
NAME = "app.tenant-acme.svc"


class Cluster:
    """The API server: collections by path; watches get every change after they began. `up`: it answers at all."""

    def __init__(self) -> None:
        self.up = True
        self.collections: dict[str, dict[str, Any]] = {f"{REGION}/secrets": {}, f"{REGION}/pods": {}, SLICES: {}}
        self.patches: list[Any] = []
        self._version = 1
        self._watchers: list[tuple[str, asyncio.Queue[Any]]] = []

    def put(self, path: str, item: dict[str, Any]) -> None:
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        self.collections[path][item["metadata"]["name"]] = item
        self._tell(path, {"type": "MODIFIED", "object": item})

    def drop(self, path: str, name: str) -> None:
        self._version += 1
        item = self.collections[path].pop(name)
        item["metadata"]["resourceVersion"] = str(self._version)
        self._tell(path, {"type": "DELETED", "object": item})

    def _tell(self, path: str, event: Any) -> None:
        for watched, queue in self._watchers:
            if watched == path:
                queue.put_nowait(event)

    async def get(self, request: web.Request) -> web.StreamResponse:
        if not self.up:
            raise web.HTTPServiceUnavailable
        if "watch" not in request.query:
            items = list(self.collections[request.path].values())
            return web.json_response({"metadata": {"resourceVersion": str(self._version)}, "items": items})
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self._watchers.append((request.path, queue))
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(json.dumps(await queue.get()).encode() + b"\n")

    async def patch(self, request: web.Request) -> web.Response:
        self.patches.append(await request.json())
        return web.json_response({})


class App:
    """The tenant's app."""

    def __init__(self) -> None:
        self.feed = FEED
        self.up = True

    async def routes(self, _: web.Request) -> web.Response:
        if not self.up:
            raise web.HTTPServiceUnavailable
        text = json.dumps(self.feed)
        return web.Response(text=text, content_type="application/json", headers={"ETag": f'"{hash(text)}"'})


async def serve(routes: list[web.RouteDef], tls: ssl.SSLContext | None = None) -> tuple[web.AppRunner, int]:
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    return runner, runner.addresses[0][1]


class World:
    """Everything around one agent, and the agent itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster, self.app = Cluster(), App()
        self.published: list[kamailio.Routes] = []
        self.kamailio_up = True
        self._runners: list[web.AppRunner] = []
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*make_certificate(self.folder, NAME))
        api, self.api_port = await serve(
            [web.get("/{path:.*}", self.cluster.get), web.patch("/{p:.*}", self.cluster.patch)]
        )
        app, self.app_port = await serve([web.get("/edge/v1/routes", self.app.routes)], context)
        self._runners = [api, app]
        (self.folder / "token").write_text("token")
        (self.folder / "run").mkdir()

    def run_agent(self) -> Agent:
        client = ApiClient(f"http://127.0.0.1:{self.api_port}", self.folder / "token", self.folder / "ca")
        files = Files(self.folder / "haproxy.d", self.folder / "run", self.folder / f"{NAME}.crt")
        made = facts(self.folder, {"agent": 0})
        agent = Agent(made, client, files, checker(self.folder, "exit 0"))
        self._task = asyncio.create_task(agent.run())
        return agent

    async def stop_agent(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def stop(self) -> None:
        await self.stop_agent()
        for runner in self._runners:
            await runner.cleanup()

    async def publish(self, routes: kamailio.Routes, paths: Any) -> bool:
        if self.kamailio_up:
            self.published.append(routes)
        return self.kamailio_up

    def give_tenant(self) -> None:
        self.cluster.put(f"{REGION}/secrets", tenant_secret(port=self.app_port))
        endpoints = [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}]
        self.cluster.put(SLICES, {"metadata": {"name": "app-1"}, "addressType": "IPv4", "endpoints": endpoints})

    def give_certificate(self) -> None:
        data = {name: base64.b64encode(text).decode() for name, text in (("tls.crt", b"C"), ("tls.key", b"K"))}
        self.cluster.put(f"{REGION}/secrets", {"metadata": {"name": "edge-tls"}, "data": data})


async def until(holds: Callable[[], bool]) -> None:
    """Return once it holds; fails after ten seconds."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - states of several tasks
            await asyncio.sleep(0.01)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    made = World(tmp_path)
    monkeypatch.setattr(kube, "BACKOFF_FIRST_SECONDS", 0.05)
    monkeypatch.setattr(agent_module, "CONVERGE_SECONDS", 0.05)
    monkeypatch.setattr("okitoki_agents.edge.agent.feed.POLL_SECONDS", 0.05)
    monkeypatch.setattr("okitoki_agents.edge.agent.feed.POLL_LAST_SECONDS", 0.1)
    monkeypatch.setattr("okitoki_agents.edge.agent.pair.redis_client", lambda facts, address: FakeRedis())
    monkeypatch.setattr(kamailio, "publish", made.publish)
    await made.start()
    yield made
    await made.stop()


def numbers(world: World) -> list[str]:
    return sorted(world.published[-1].numbers) if world.published else []


async def test_a_tenant_reaches_kamailio_and_haproxy_and_leaves_both(world: World) -> None:
    world.run_agent()
    world.give_certificate()
    world.give_tenant()
    await until(lambda: numbers(world) == ["+380441234567"])
    config = world.folder / "haproxy.d" / "haproxy.cfg"
    await until(lambda: config.exists() and "server s1 127.0.0.1:" in config.read_text())
    world.cluster.drop(f"{REGION}/secrets", "edge-tenant-acme")
    await until(lambda: numbers(world) == [])
    await until(lambda: "tenant_acme" not in config.read_text())
    assert not list((world.folder / "data" / "agent" / "routes").iterdir())
    assert "acme" not in (world.folder / "data" / "agent" / "tenants.json").read_text()


async def test_a_change_of_routes_arrives(world: World) -> None:
    world.run_agent()
    world.give_tenant()
    await until(lambda: numbers(world) == ["+380441234567"])
    world.app.feed = {**FEED, "numbers": [{"number": "+380441234568", "queue": "sales"}]}
    await until(lambda: numbers(world) == ["+380441234568"])


async def test_an_app_that_is_away_leaves_its_routes_in_force(world: World) -> None:
    agent = world.run_agent()
    world.give_tenant()
    await until(lambda: numbers(world) == ["+380441234567"])
    world.app.up = False
    await until(lambda: agent._feeds["acme"].error is not None)
    assert numbers(world) == ["+380441234567"]


async def test_a_start_without_api_server_and_app_uses_what_is_on_disk(world: World) -> None:
    world.run_agent()
    world.give_certificate()
    world.give_tenant()
    config = world.folder / "haproxy.d" / "haproxy.cfg"
    await until(lambda: numbers(world) == ["+380441234567"] and config.exists())
    await until(lambda: "server s1 127.0.0.1:" in config.read_text())
    await world.stop_agent()
    before = config.read_bytes()
    world.published.clear()
    world.cluster.up = world.app.up = False
    world.run_agent()
    await until(lambda: numbers(world) == ["+380441234567"])
    assert config.read_bytes() == before


async def test_a_first_start_without_api_server_publishes_nothing(world: World) -> None:
    world.cluster.up = False
    agent = world.run_agent()
    await until(lambda: agent._pair.unprotected != ["not looked yet"])
    assert world.published == []
    world.cluster.up = True
    world.give_tenant()
    await until(lambda: numbers(world) == ["+380441234567"])


async def test_a_broken_edit_of_a_secret_takes_nobody_off_the_air(world: World) -> None:
    agent = world.run_agent()
    world.give_tenant()
    await until(lambda: numbers(world) == ["+380441234567"])
    world.cluster.put(f"{REGION}/secrets", {**tenant_secret(), "data": {"tenant.json": "%"}})
    world.give_certificate()
    await until(lambda: agent._pem is not None)
    assert "acme" in agent._tenants


async def test_routes_are_published_until_kamailio_has_them(world: World) -> None:
    world.kamailio_up = False
    agent = world.run_agent()
    world.give_tenant()
    await until(lambda: "acme" in agent._feeds and agent._feeds["acme"].routes is not None)
    assert "Kamailio has not loaded the routes" in agent.unready()
    world.kamailio_up = True
    await until(lambda: numbers(world) == ["+380441234567"])
    assert "Kamailio has not loaded the routes" not in agent.unready()


async def test_the_peer_is_found_and_remembered(world: World) -> None:
    world.run_agent()
    pod = {"metadata": {"name": "edge-1"}, "status": {"hostIP": "198.18.1.2", "phase": "Running"}}
    world.cluster.put(f"{REGION}/pods", pod)
    file = world.folder / "data" / "peer"
    await until(lambda: file.exists() and file.read_text() == "198.18.1.2\n")
    await until(lambda: any("198.18.1.2" in json.dumps(patch) for patch in world.cluster.patches))


async def test_a_call_record_goes_to_its_tenants_app(world: World) -> None:
    agent = world.run_agent()
    world.give_tenant()
    await until(lambda: bool(agent._backends.get("acme")))
    answer = await agent._send("acme", "/edge/v1/call-records/x", {})
    assert answer.status == 404
    with pytest.raises(KeyError):
        await agent._send("beta", "/edge/v1/call-records/x", {})
    assert any(name == "okitoki_edge_ready" for name, _, _ in agent._samples())
