"""Follows each tenant's routes: asks its app about every two seconds and keeps the last good answer, on disk too."""

import asyncio
import json
import logging
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from okitoki_agents.edge import store
from okitoki_agents.edge.agent.app_client import AppClient, AppUnreachableError
from okitoki_agents.edge.agent.endpoints import Backend
from okitoki_agents.edge.agent.routes import RoutesError, TenantRoutes, foreign_numbers, parse_routes
from okitoki_agents.edge.agent.tenants import EdgeTenant

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
POLL_LAST_SECONDS = 15.0
"""Slower while an app does not answer: its edge has the last good routes."""


class Feed:
    """Routes of one tenant. `routes` and `etag` are those in force, None before the first good answer ever.

    `error` says what is wrong with the feed now, None when the last answer was good.
    """

    def __init__(self, tenant: EdgeTenant, folder: Path, client: AppClient, on_change: Callable[[], None]) -> None:
        self.tenant = tenant
        self.backends: Sequence[Backend] = ()
        self.routes: TenantRoutes | None = None
        self.etag: str | None = None
        self.error: str | None = None
        self._file = folder / f"{tenant.tenant}.json"
        self._client = client
        self._on_change = on_change
        self._warned: tuple[str, ...] = ()

    def load(self) -> None:
        """Take up what an earlier agent left on disk."""
        document = store.read_json(self._file)
        if document is None:
            return
        try:
            self.routes, self.etag = parse_routes(document["routes"], self.tenant.tenant), document["etag"]
        except (RoutesError, KeyError, TypeError) as error:
            log.error("tenant %s: routes on disk are passed over: %s", self.tenant.tenant, error)

    def forget(self) -> None:
        """The tenant is gone: so are its routes."""
        self._file.unlink(missing_ok=True)

    async def run(self) -> None:
        """Poll until cancelled."""
        pause = POLL_SECONDS
        while True:
            try:
                await self.poll()
                error = None
            except (AppUnreachableError, RoutesError) as problem:
                error = str(problem)
            except OSError as problem:
                error = f"{type(problem).__name__} {problem}"
            if error != self.error:
                log.log(
                    logging.WARNING if error else logging.INFO,
                    "tenant %s: routes: %s",
                    self.tenant.tenant,
                    f"{error}; {'the last good ones stay' if self.routes else 'there are none yet'}"
                    if error
                    else "good",
                )
                self.error = error
                self._on_change()
            pause = POLL_SECONDS if error is None else min(pause * 1.5, POLL_LAST_SECONDS)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter

    async def poll(self) -> None:
        """Ask once. Raises AppUnreachableError, RoutesError, OSError; what is in force stays then."""
        headers = {"If-None-Match": self.etag} if self.etag and self.routes else {}
        answer = await self._client.request(self.tenant, self.backends, "GET", "/edge/v1/routes", headers=headers)
        if answer.status == 304 and self.routes is not None:
            return
        if answer.status != 200:
            raise RoutesError(f"the app answered {answer.status}")
        try:
            document = json.loads(answer.body)
        except ValueError as error:
            raise RoutesError("the app's answer is not JSON") from error
        routes = parse_routes(document, self.tenant.tenant)
        foreign = foreign_numbers(self.tenant, routes)
        if foreign and foreign != self._warned:
            log.warning("tenant %s: numbers not given to it are left out: %s", self.tenant.tenant, ", ".join(foreign))
        self._warned = foreign
        changed = routes != self.routes or answer.etag != self.etag
        self.routes, self.etag = routes, answer.etag
        if changed:
            store.write_json(self._file, {"etag": answer.etag, "routes": document})
            self._on_change()
