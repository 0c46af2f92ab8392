"""The application: its parts put together, and the tasks that run beside the requests."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI

from callcentre.api import agents, call_records, edge, errors, health, keys, platform
from callcentre.api.access import Services
from callcentre.api.middleware import AccessLog, Bounds, Departures
from callcentre.database.cluster import Cluster
from callcentre.database.connection import Connector
from callcentre.database.probe import Prober
from callcentre.database.resolver import Resolver
from callcentre.database.runner import Database
from callcentre.database.schema import SchemaKeeper
from callcentre.principals import ApiKeyAuthenticator, TokenAuthenticator
from callcentre.settings import Settings
from callcentre.store import api_keys as key_store

log = logging.getLogger(__name__)


class Parts:
    """Everything made from the settings. `run` is the background work."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self.resolver = Resolver(settings.members, environ)
        connector = Connector(settings.login, self.resolver)
        cluster = Cluster(settings.members, connector.open)
        database = Database(cluster)
        self.prober = Prober(cluster, Connector(settings.login, self.resolver, "callcentre-probe").open)
        api_keys = ApiKeyAuthenticator(
            lambda prefix, deadline: database.run(lambda session: key_store.find_digest(session, prefix), deadline),
            lambda: cluster.primary is not None,
        )

        async def seed() -> None:
            await database.run(lambda session: key_store.seed_key(session, settings.admin_key))
            api_keys.remember(settings.admin_key.prefix, settings.admin_key.digest)

        schema = SchemaKeeper(cluster, database, settings.login, self.resolver, seed)
        self.services = Services(
            tenant=settings.tenant,
            cluster=cluster,
            database=database,
            schema=schema,
            api_keys=api_keys,
            authenticators={
                "api-key": api_keys,
                "edge": TokenAuthenticator("edge", settings.edge_token),
                "platform": TokenAuthenticator("platform", settings.platform_token),
            },
        )

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.resolver.run())
            tasks.create_task(self.prober.run())
            tasks.create_task(self.services.schema.run())


def create_app(settings: Settings, environ: Mapping[str, str] = os.environ) -> FastAPI:
    """The ASGI application; its lifespan runs the probes."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        parts = Parts(settings, environ)
        app.state.services = parts.services
        background = asyncio.create_task(parts.run())
        background.add_done_callback(_background_ended)
        try:
            yield
        finally:
            background.cancel()
            await asyncio.wait({background})
            await parts.services.database.close()

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    errors.install(app)
    app.add_middleware(Bounds)
    app.add_middleware(AccessLog)
    app.add_middleware(Departures)
    for module in (health, agents, keys, platform, edge):
        app.include_router(module.router)
    app.include_router(call_records.router)
    app.include_router(call_records.edge_router)
    return app


def _background_ended(task: asyncio.Task[None]) -> None:
    """Without its probes the process is of no use: end it as a whole, the kubelet starts another."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("background work failed", exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)
