"""Beside a standby that gets nowhere: have its Patroni throw the data away and copy them from the primary.

By hand that is `patronictl reinit`. What is looked at is in `signs.py`, what is concluded in `standstill.py`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

import aiohttp

from okitoki_agents.database import signs, store
from okitoki_agents.database.decisions import Store, Verdict
from okitoki_agents.database.standstill import STUCK_SECONDS, Here, Mark, Standstill, Upstream, decide, watch
from okitoki_agents.database.store import PatroniStore, StoreError
from okitoki_agents.kube import Object

LOOK_SECONDS = 10.0
ASK_SECONDS = 3.0
ORDER_SECONDS = 30.0
"""Patroni first ends what it is at (`force`), then begins."""
PATRONI_PORT = 8008
USERNAME = "patroni"

log = logging.getLogger(__name__)


class Server(signs.Server, Protocol):
    """What is asked of the local server (`LocalServer`)."""

    async def in_recovery(self) -> bool | None: ...

    async def streams(self) -> bool: ...


class Patroni(Protocol):
    """Patroni's REST API (`PatroniApi`)."""

    async def upstream(self, address: str | None) -> Upstream | None: ...

    async def reinitialise(self) -> Verdict: ...


class PatroniApi:
    """Patroni's REST API: the primary's is asked, the one beside this agent is told."""

    def __init__(self, password: str, session: aiohttp.ClientSession, own_address: str = "127.0.0.1") -> None:
        self._password, self._session, self._own_address = password, session, own_address

    async def upstream(self, address: str | None) -> Upstream | None:
        """What the primary at `address` says of itself and its standbys; None when it does not answer."""
        if address is None:
            return None
        try:
            async with self._session.get(
                f"http://{address}:{PATRONI_PORT}/patroni", timeout=aiohttp.ClientTimeout(total=ASK_SECONDS)
            ) as response:
                found = await response.json(content_type=None)
                standbys = {str(one["application_name"]): one.get("sync_state") for one in found.get("replication", [])}
                return Upstream(
                    primary=response.status == 200 and found.get("role") == "primary",
                    connected=frozenset(standbys),
                    synchronous=frozenset(name for name, state in standbys.items() if state in ("sync", "quorum")),
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    async def reinitialise(self) -> Verdict:
        """Have the member beside made anew; `force`: also one whose Patroni hangs in a rewind or a clone."""
        try:
            async with self._session.post(
                f"http://{self._own_address}:{PATRONI_PORT}/reinitialize",
                json={"force": True},
                headers={"Authorization": aiohttp.encode_basic_auth(USERNAME, self._password)},
                timeout=aiohttp.ClientTimeout(total=ORDER_SECONDS),
            ) as response:
                return Verdict(response.status == 200, (await response.text())[:200])
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Verdict(False, f"Patroni does not answer ({type(error).__name__})")


class Reinitialiser:
    """Watches the server beside. `address`: of a member's pod."""

    def __init__(
        self,
        me: str,
        server: Server,
        lock: PatroniStore,
        patroni: Patroni,
        address: Callable[[str], str | None],
    ) -> None:
        self._me, self._server, self._lock, self._patroni, self._address = me, server, lock, patroni, address
        self._standstill: Standstill | None = None
        self.reason = ""
        """Why nothing is done, or what was done; for a person."""

    async def run(self, seen: Callable[[], Store], fenced: Callable[[], bool]) -> None:
        """Until cancelled. `seen` tells the store as watched, `fenced` whether the stream is cut."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look(seen(), fenced())
            except Exception:
                log.exception("looking whether %s gets on", self._me)

    async def look(self, seen: Store, fenced: bool) -> None:
        """One look, and what follows from it."""
        if seen.leader in (None, self._me):
            self._standstill, self.reason = None, "there is nobody to copy from"
            return
        recovery, streaming = await self._server.in_recovery(), await self._server.streams()
        if streaming or recovery is False:
            self._standstill, self.reason = None, ""
            return
        now = time.monotonic()
        self._standstill = watch(self._standstill, await signs.read_signs(self._server), now)
        here = Here(streaming, recovery, fenced, now - self._standstill.since)
        if here.still < STUCK_SECONDS:
            self.reason = f"{self._me} does not stream; it last made progress {here.still:.0f} s ago"
            return
        await self._consider(here)

    async def _consider(self, here: Here) -> None:
        """Everything is read anew: what was watched may be old, and data are thrown away."""
        try:
            maps = await self._lock.read()
            found = store.parse(maps)
            upstream = await self._patroni.upstream(self._address(found.leader or ""))
            now = datetime.now(UTC)
            verdict = decide(self._me, here, found, upstream, store.parse_mark(maps), now)
            if verdict.reason != self.reason:
                log.warning("%s", verdict.reason)
            self.reason = verdict.reason
            if verdict.yes:
                await self._lock.mark(maps, Mark(self._me, now), verdict.reason)
                await self._order(maps)
        except StoreError as error:
            self.reason = str(error)

    async def _order(self, maps: Mapping[str, Object]) -> None:
        """Raises StoreError: then the mark of what was not done stays, and delays the next try."""
        answer = await self._patroni.reinitialise()
        if answer.yes:
            self._standstill = None
            log.warning("%s is being made anew: %s", self._me, answer.reason)
            return
        self.reason = f"{self._me} could not be made anew: {answer.reason}"
        log.error("%s", self.reason)
        await self._lock.unmark(maps)
