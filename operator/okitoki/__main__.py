"""`python -m okitoki`: one of the operator's replicas. It waits for the lease, then watches and reconciles."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from aiohttp import web

from okitoki.controller import Controller
from okitoki.kinds import all_kinds
from okitoki.kube import names
from okitoki.kube.authority import Authorities, load_authorities
from okitoki.kube.client import Client, connection
from okitoki.kube.events import Recorder
from okitoki.kube.lease import Leadership
from okitoki.kube.own_loop import OwnLoop
from okitoki.kube.resources import CUSTOM_RESOURCE_DEFINITION, TENANT, VOICE_REGION, condition_is_true
from okitoki.logs import set_up_logging
from okitoki.main import watch
from okitoki.metrics import process as metrics
from okitoki.metrics.domain import Series
from okitoki.metrics.http import metrics_page
from okitoki.reconcile.index import Index
from okitoki.reconcile.kind import Context
from okitoki.settings import OperatorSettings, SettingsError, load_settings

log = logging.getLogger("okitoki")

STUCK_SECONDS = 600.0
"""Liveness: the resync gives every worker something to do more often than this."""
CRD_RETRY_SECONDS = 2.0


class _Health:
    """State behind `/healthz`; a standby is healthy too."""

    def __init__(self) -> None:
        self.controller: Controller | None = None

    async def answer(self, _: web.Request) -> web.Response:
        """200 while standing by, or while reconciles come to an end."""
        if self.controller is None:
            return web.Response(text="standing by\n")
        idle = time.monotonic() - self.controller.last_progress
        if len(self.controller.queue) and idle > STUCK_SECONDS:
            return web.Response(status=500, text=f"no reconcile ended for {idle:.0f} s\n")
        return web.Response(text="leading\n")


async def run(settings: OperatorSettings) -> int:
    """Serve until told to stop (exit code 0) or until the lease is lost (1)."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    health = _Health()
    series = Series()
    metrics.REGISTRY.register(series)
    runners = [
        await _serve("/healthz", health.answer, settings.health_port),
        await _serve("/metrics", metrics_page, settings.metrics_port),
    ]
    try:
        async with OwnLoop("lease") as own:
            plain = Client(connection())
            await own.run(plain.__aenter__())
            try:
                identity = f"{settings.identity}_{secrets.token_hex(4)}"
                leadership = Leadership(plain, settings.namespace, names.LEASE_NAME, identity)
                metrics.LEADING.labels(names.LEASE_NAME).set_function(lambda: float(leadership.leading))
                return await _lead(settings, leadership, own, stop, health, series)
            finally:
                await own.run(plain.__aexit__())
    finally:
        for runner in runners:
            await runner.cleanup()


async def _lead(
    settings: OperatorSettings,
    leadership: Leadership,
    own: OwnLoop,
    stop: asyncio.Event,
    health: _Health,
    series: Series,
) -> int:
    """`leadership` lives on the loop `own`; only its fence is asked from here."""
    stopping = asyncio.create_task(stop.wait())
    acquiring = asyncio.create_task(own.run(leadership.acquire()))
    await asyncio.wait({stopping, acquiring}, return_when=asyncio.FIRST_COMPLETED)
    if stopping.done() and not acquiring.done():
        acquiring.cancel()
        await asyncio.gather(acquiring, return_exceptions=True)
        return 0
    keeping = asyncio.create_task(own.run(leadership.keep()))
    working = asyncio.create_task(_work(settings, leadership, health, stop, series))
    done, _ = await asyncio.wait({stopping, keeping, working}, return_when=asyncio.FIRST_COMPLETED)
    told_to_stop = stop.is_set()
    for task in (working, keeping, stopping):
        task.cancel()
    await asyncio.gather(working, keeping, stopping, return_exceptions=True)
    await own.run(leadership.release())
    if told_to_stop:
        return 0
    if working in done and not working.cancelled() and (error := working.exception()) is not None:
        log.error("the operator failed", exc_info=error)
    return 1


async def _work(
    settings: OperatorSettings, leadership: Leadership, health: _Health, stop: asyncio.Event, series: Series
) -> None:
    async with Client(connection(), fence=leadership.fence) as client:
        await _wait_for_crds(client)
        ctx = Context(
            client=client,
            index=Index(),
            images=settings.images,
            namespace=settings.namespace,
            authorities=Authorities(await load_authorities(client, settings.namespace, datetime.now(UTC))),
            events=Recorder(client),
            series=series,
        )
        health.controller = controller = Controller(ctx, all_kinds())
        metrics.REGISTRY.register(controller.queue_watch)
        async with asyncio.TaskGroup() as group:
            group.create_task(controller.run())
            group.create_task(watch(controller, stop))


async def _wait_for_crds(client: Client) -> None:
    # Kopf looks for the kinds once, at its start.
    for kind in (TENANT, VOICE_REGION):
        while not await _established(client, f"{kind.plural}.{kind.group}"):
            log.warning("waiting for CRD %s.%s: install the chart okitoki-crds", kind.plural, kind.group)
            await asyncio.sleep(CRD_RETRY_SECONDS)


async def _established(client: Client, name: str) -> bool:
    return condition_is_true(await client.get(CUSTOM_RESOURCE_DEFINITION, name) or {}, "Established")


async def _serve(path: str, answer: Callable[[web.Request], Awaitable[web.Response]], port: int) -> web.AppRunner:
    app = web.Application()
    app.router.add_get(path, answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner


def main() -> int:
    """Entry point; a wrong setting is told in one line."""
    try:
        settings = load_settings(os.environ)
    except SettingsError as error:
        print(f"okitoki: {error}", file=sys.stderr)
        return 2
    set_up_logging(settings.log_style, settings.log_level)
    return asyncio.run(run(settings))


if __name__ == "__main__":
    sys.exit(main())
