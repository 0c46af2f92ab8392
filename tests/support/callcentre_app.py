"""The call-centre app in front of given PostgreSQL servers, spoken to without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from callcentre.api.access import Services, get_deadline
from callcentre.credentials import ApiKey
from callcentre.database.connection import Login
from callcentre.database.members import Member, parse_members
from callcentre.database.runner import Deadline
from callcentre.database.schema import migrate
from callcentre.main import create_app
from callcentre.settings import Settings
from support.postgres import PASSWORD, Server

ADMIN_KEY = ApiKey("abcdefgh", "A" * 43)
PLATFORM_TOKEN = "platform-token-of-tests"
EDGE_TOKEN = "edge-token-of-tests"
RECORD: dict[str, Any] = {
    "direction": "in",
    "number": "+380441234567",
    "caller": "+380501112233",
    "startedAt": "2026-03-01T12:00:00Z",
    "endedAt": "2026-03-01T12:01:00Z",
    "endReason": "bye",
}
"""A call record as a client sends it."""


def members_of(*servers: Server) -> str:
    return ",".join(f"127.0.0.1:{server.port}" for server in servers)


def settings_for(*servers: Server) -> Settings:
    return Settings(
        tenant="acme",
        members=parse_members(members_of(*servers)),
        login=Login("callcentre", "app", PASSWORD),
        platform_token=PLATFORM_TOKEN,
        edge_token=EDGE_TOKEN,
        admin_key=ADMIN_KEY,
        certificate=Path("/nonexistent"),
        private_key=Path("/nonexistent"),
        port=8443,
    )


def run_migrations(server: Server, database: str = "callcentre") -> None:
    """What the app does at its start, ahead of it."""
    login = Login(database, "app", PASSWORD)
    asyncio.run(migrate(Member(server.name, "127.0.0.1", server.port), login, "127.0.0.1"))


class App:
    """A running app: `client` has the admin API key, `edge` and `platform` theirs, `anyone` none."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.client = self._client(ADMIN_KEY.text)
        self.edge = self._client(EDGE_TOKEN)
        self.platform = self._client(PLATFORM_TOKEN)
        self.anyone = self._client(None)

    def _client(self, token: str | None) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="https://acme.test", headers=headers, timeout=30)

    @property
    def services(self) -> Services:
        services = self.app.state.services
        assert isinstance(services, Services)
        return services

    def limit_requests(self, seconds: float) -> None:
        """Give requests another deadline than 8 s."""
        self.app.dependency_overrides[get_deadline] = lambda: Deadline(seconds)

    async def until(self, condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
        """Wait for a state of the app while it goes on running."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():  # noqa: ASYNC110 (a state, not an event)
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"not within {seconds:.0f} s: {what}") from None


@asynccontextmanager
async def running_app(*servers: Server, ready: bool = True) -> AsyncIterator[App]:
    app = create_app(settings_for(*servers), {})
    async with app.router.lifespan_context(app):
        running = App(app)
        if ready:
            await running.until(lambda: running.services.schema.migrated, "the schema is ready")
        yield running


RunApp = Callable[..., AbstractAsyncContextManager[App]]
