"""Metrics of the process: the queue's, the reconciles', the requests'; the page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp
import kopf
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from unit.operator.factory import AUTHORITIES

from okitoki.controller import Controller
from okitoki.kube.client import ApiError, Client
from okitoki.kube.events import Recorder
from okitoki.kube.resources import TENANT
from okitoki.metrics.http import metrics_page
from okitoki.metrics.process import REGISTRY, QueueWatch
from okitoki.reconcile.index import Index
from okitoki.reconcile.kind import Context, Images
from okitoki.reconcile.queue import WorkQueue
from okitoki.tenant.kind import TenantKind


def value(name: str, /, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_key_is_seen_waiting_at_work_and_coming_again() -> None:
    clock = Clock()
    watch: QueueWatch[str] = QueueWatch(lambda key: "test-queue", clock)
    queue = WorkQueue(watch)
    queue.add("acme")
    queue.add("acme")
    assert value("workqueue_depth", name="test-queue") == 1
    clock.now += 7
    await queue.get()
    assert value("workqueue_depth", name="test-queue") == 0
    assert value("workqueue_queue_duration_seconds_sum", name="test-queue") == 7
    clock.now += 30
    text = _text(watch)
    assert 'workqueue_longest_running_processor_seconds{name="test-queue"} 30.0' in text
    queue.add("acme")
    assert value("workqueue_depth", name="test-queue") == 0, "asked for during the work: it waits from its end on"
    queue.done("acme")
    assert value("workqueue_depth", name="test-queue") == 1
    assert value("workqueue_work_duration_seconds_sum", name="test-queue") == 30
    assert value("workqueue_adds_total", name="test-queue") == 2
    queue.retry("acme")
    assert value("workqueue_retries_total", name="test-queue") == 1
    assert "processor_seconds{" not in _text(watch)
    queue.close()


def _text(collector: Any) -> str:
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode()


class Answers:
    """An API whose GETs fail as told, or find nothing."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    async def get(self, *_: object) -> None:
        if self.error:
            raise self.error


@pytest.mark.parametrize(
    ("error", "result", "panics"),
    [(None, "success", 0), (ApiError(500, "InternalError", ""), "error", 0), (KeyError("a bug"), "error", 1)],
)
async def test_a_reconcile_is_counted_by_its_result(error: Exception | None, result: str, panics: int) -> None:
    client = cast(Client, Answers(error))
    ctx = Context(client, Index(), Images("a", "p", "e"), "okitoki-system", AUTHORITIES, Recorder(client))
    controller = Controller(ctx, [TenantKind()])

    def counts() -> tuple[float, ...]:
        return (
            value("controller_runtime_reconcile_total", controller="tenant", result=result),
            value("controller_runtime_reconcile_errors_total", controller="tenant"),
            value("controller_runtime_reconcile_panics_total", controller="tenant"),
            value("controller_runtime_reconcile_time_seconds_count", controller="tenant"),
        )

    before = counts()
    controller.queue.add(("Tenant", "acme"))
    await controller.work_once()
    change = tuple(after - old for old, after in zip(before, counts(), strict=True))
    assert change == (1, float(result == "error"), panics, 1)
    assert value("controller_runtime_active_workers", controller="tenant") == 0
    controller.queue.close()


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """Answers 404 like an API server, and shows the metrics."""
    app = web.Application()
    app.router.add_get("/metrics", metrics_page)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = cast(Any, site._server).sockets[0].getsockname()[1]
    yield f"127.0.0.1:{port}"
    await runner.cleanup()


async def test_requests_to_the_api_server_are_counted_by_code_and_without_an_answer(server: str) -> None:
    async with Client(kopf.ConnectionInfo(server=f"http://{server}")) as client:
        assert await client.get(TENANT, "acme") is None
    assert value("rest_client_requests_total", code="404", method="GET", host=server) == 1
    nobody = "127.0.0.1:1"
    async with Client(kopf.ConnectionInfo(server=f"http://{nobody}")) as client:
        with pytest.raises(aiohttp.ClientError):
            await client.get(TENANT, "acme")
    assert value("rest_client_requests_total", code="<error>", method="GET", host=nobody) == 1


async def test_the_page_speaks_the_format_that_the_scraper_asks_for(server: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://{server}/metrics") as plain:
            assert plain.headers["Content-Type"].startswith("text/plain; version=")
            assert "# TYPE workqueue_depth gauge" in await plain.text()
        headers = {"Accept": "application/openmetrics-text; version=1.0.0"}
        async with session.get(f"http://{server}/metrics", headers=headers) as modern:
            assert modern.headers["Content-Type"].startswith("application/openmetrics-text")
            assert (await modern.text()).endswith("# EOF\n")
