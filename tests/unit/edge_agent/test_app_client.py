"""Requests to app pods: whom the edge believes, and whom it asks next."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from unit.edge_agent.support import FEED, TOKEN, make_certificate, tenant

from okitoki_agents.edge.agent.app_client import AppClient, AppUnreachableError
from okitoki_agents.edge.agent.endpoints import Backend
from okitoki_agents.edge.agent.feed import Feed
from okitoki_agents.edge.agent.routes import RoutesError

NAME = "app.tenant-acme.svc"


class App:
    """A tenant's app at one address."""

    def __init__(self) -> None:
        self.status = 200
        self.body: object = FEED
        self.etag = '"1"'
        self.requests: list[web.Request] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        await request.read()
        self.requests.append(request)
        if request.headers.get("If-None-Match") == self.etag:
            return web.Response(status=304, headers={"ETag": self.etag})
        return web.json_response(self.body, status=self.status, headers={"ETag": self.etag})


async def start(address: str, port: int, certificate: tuple[Path, Path]) -> tuple[App, web.AppRunner]:
    served = App()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", served.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    await web.TCPSite(runner, address, port, ssl_context=context).start()
    served.port = runner.addresses[0][1]
    return served, runner


@pytest.fixture
async def apps(tmp_path: Path) -> AsyncIterator[tuple[App, App]]:
    certificate = make_certificate(tmp_path, NAME)
    one, first = await start("127.0.0.1", 0, certificate)
    two, second = await start("127.0.0.2", one.port, certificate)
    yield one, two
    await first.cleanup()
    await second.cleanup()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AppClient]:
    made = AppClient(tmp_path / f"{NAME}.crt")
    yield made
    await made.close()


BOTH = (Backend("127.0.0.1"), Backend("127.0.0.2"))


async def test_a_request_carries_the_token_to_a_pod_that_proves_its_name(
    apps: tuple[App, App], client: AppClient
) -> None:
    answer = await client.request(tenant(port=apps[0].port), BOTH, "GET", "/edge/v1/routes")
    assert (answer.status, answer.etag) == (200, '"1"')
    assert apps[0].requests[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert apps[0].requests[0].host == NAME


async def test_a_server_with_another_name_gets_no_token(apps: tuple[App, App], client: AppClient) -> None:
    with pytest.raises(AppUnreachableError, match="certificate"):
        await client.request(tenant(port=apps[0].port, serverName="app.tenant-beta.svc"), BOTH, "GET", "/")
    assert apps[0].requests == []


async def test_a_dead_pod_is_passed_over_and_not_asked_first_again(apps: tuple[App, App], client: AppClient) -> None:
    backends = (Backend("127.0.0.3"), Backend("127.0.0.2"))
    wanted = tenant(port=apps[0].port)
    assert (await client.request(wanted, backends, "GET", "/")).status == 200
    assert client._order("acme", backends)[0] == Backend("127.0.0.2")


async def test_a_pod_that_fails_is_passed_over_and_one_that_refuses_is_believed(
    apps: tuple[App, App], client: AppClient
) -> None:
    wanted = tenant(port=apps[0].port)
    apps[0].status = 503
    assert (await client.request(wanted, BOTH, "GET", "/")).status == 200
    apps[1].status = 422
    assert (await client.request(wanted, BOTH, "GET", "/")).status == 422
    apps[1].status = 500
    assert (await client.request(wanted, BOTH, "GET", "/")).status in (500, 503)


async def test_no_pod_at_all(client: AppClient, tmp_path: Path) -> None:
    with pytest.raises(AppUnreachableError, match="no pod is known"):
        await client.request(tenant(), (), "GET", "/")


async def test_a_percent_encoded_path_arrives_as_it_is(apps: tuple[App, App], client: AppClient) -> None:
    path = "/edge/v1/call-records/a%3Bb%2Fc%40d"
    await client.request(tenant(port=apps[0].port), BOTH, "PUT", path, document={"a": 1})
    assert apps[0].requests[0].raw_path == path


async def test_a_feed_is_taken_kept_and_survives_a_restart(
    apps: tuple[App, App], client: AppClient, tmp_path: Path
) -> None:
    changes: list[int] = []
    wanted = tenant(port=apps[0].port)
    feed = Feed(wanted, tmp_path / "routes", client, lambda: changes.append(1))
    feed.backends = BOTH
    await feed.poll()
    await feed.poll()
    assert len(changes) == 1
    assert [request.headers.get("If-None-Match") for request in apps[0].requests] == [None, '"1"']
    after = Feed(wanted, tmp_path / "routes", client, lambda: None)
    after.load()
    assert (after.routes, after.etag) == (feed.routes, '"1"')
    after.forget()
    assert not list((tmp_path / "routes").iterdir())


async def test_a_bad_answer_leaves_the_last_good_routes(
    apps: tuple[App, App], client: AppClient, tmp_path: Path
) -> None:
    feed = Feed(tenant(port=apps[0].port), tmp_path / "routes", client, lambda: None)
    feed.backends = BOTH[:1]
    await feed.poll()
    good = feed.routes
    apps[0].etag = '"2"'
    for body, status in (({"tenant": "acme"}, 200), (FEED, 401), ([], 200)):
        apps[0].body, apps[0].status = body, status
        with pytest.raises(RoutesError):
            await feed.poll()
    assert feed.routes == good


async def test_routes_on_disk_that_cannot_be_read_are_passed_over(client: AppClient, tmp_path: Path) -> None:
    (tmp_path / "routes").mkdir()
    for content in ("{", "[]", '{"etag": 1}', '{"etag": "x", "routes": {"tenant": "beta"}}'):
        (tmp_path / "routes" / "acme.json").write_text(content)
        feed = Feed(tenant(), tmp_path / "routes", client, lambda: None)
        feed.load()
        assert feed.routes is None
