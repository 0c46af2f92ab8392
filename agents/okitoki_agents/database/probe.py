"""Watching the lock's holder: its PostgreSQL and its Patroni, from here.

PostgreSQL is asked the simplest question on an ordinary connection of the replication role: the answer comes from a
process of the server and not from the kernel, and the connection ends as soon as the server begins to stop (one for
replication would live until its very end). A frozen server answers TCP, so silence is counted by the clock, and new
connections are tried beside one that waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import psycopg

from okitoki_agents.database.decisions import Sight

INTERVAL = 0.25
"""Between two questions to PostgreSQL (s)."""
IMPATIENCE = 0.4
"""After this much silence (s) another connection is tried beside those that wait."""
PATIENCE = 3.0
"""How long (s) one connection may wait before it is given up."""
SESSIONS = 3
PATRONI_INTERVAL = 1.0
POSTGRES_PORT, PATRONI_PORT = 5432, 8008
RETRY_SECONDS = 0.1
TICK_SECONDS = 0.2
LATE_SECONDS = 0.1


class StallClock:
    """How long this process itself did not get to run: what a starved prober sees of others is no evidence."""

    def __init__(self) -> None:
        self.total = 0.0

    async def run(self) -> None:
        """Until cancelled: sleep, and count what the sleep took too long."""
        before = time.monotonic()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            late = now - before - TICK_SECONDS
            if late > LATE_SECONDS:
                self.total += late
            before = now


class HolderProbe:
    """Probes one holder of the lock until it is stopped. `address` may change while the holder's pod is replaced."""

    def __init__(self, password: str, stalls: StallClock, address: Callable[[], str | None]) -> None:
        self._password = password
        self._stalls = stalls
        self._address = address
        self._since = time.monotonic()
        self._answered: float | None = None
        self._stalled_at_answer = stalls.total
        self._broken: float | None = None
        self._problem = ""
        self._patroni: float | None = None
        self.renewed = self._since
        self._sessions: set[asyncio.Task[None]] = set()
        self._progress = 0.0

    def sight(self) -> Sight:
        """What is known now."""
        return Sight(
            since=self._since,
            answered=self._answered,
            broken=self._broken,
            problem=self._problem,
            patroni=self._patroni,
            renewed=self.renewed,
            stalled=self._stalls.total - self._stalled_at_answer,
        )

    async def run(self) -> None:
        """Until cancelled."""
        patroni = asyncio.create_task(self._ask_patroni())
        try:
            while True:
                now = time.monotonic()
                if not self._sessions or (now - self._progress >= IMPATIENCE and len(self._sessions) < SESSIONS):
                    self._progress = now
                    self._begin(self._session())
                # Without a connection the next one is tried soon; beside one that answers there is no hurry.
                await asyncio.sleep(RETRY_SECONDS if self._broken else INTERVAL)
        finally:
            for task in [patroni, *self._sessions]:
                task.cancel()
            await asyncio.gather(patroni, *self._sessions, return_exceptions=True)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._sessions.add(task)
        task.add_done_callback(self._sessions.discard)

    async def _session(self) -> None:
        """One connection: ask as long as it answers. Its end is a failure only when no other connection is left."""
        asked = time.monotonic()
        try:
            address = self._address()
            if address is None:
                raise OSError("its pod has no address")
            async with asyncio.timeout(PATIENCE):
                connection = await psycopg.AsyncConnection.connect(
                    host=address, port=str(POSTGRES_PORT), user="replicator", password=self._password,
                    dbname="postgres", application_name="okitoki-agent", autocommit=True, prepare_threshold=None,
                    sslmode="disable", gssencmode="disable",
                )  # fmt: skip
            try:
                while True:
                    asked = time.monotonic()
                    async with asyncio.timeout(PATIENCE):
                        await connection.execute("select 1")
                    self._answer(asked)
                    await asyncio.sleep(INTERVAL)
            finally:
                connection.pgconn.finish()  # no farewell: a frozen server would keep it waiting
        except TimeoutError:
            return  # silence is counted by the clock
        except (psycopg.Error, OSError) as error:
            if len(self._sessions) == 1:
                self._failed(asked, error)

    def _answer(self, asked: float) -> None:
        now = time.monotonic()
        self._progress = now
        if self._answered is None or asked > self._answered:
            self._answered = asked
            self._stalled_at_answer = self._stalls.total
        self._broken, self._problem = None, ""

    def _failed(self, asked: float, error: Exception) -> None:
        self._problem = describe(error)
        if self._broken is None:
            self._broken = asked

    async def _ask_patroni(self) -> None:
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                asked = time.monotonic()
                if address := self._address():
                    try:
                        # Any answer: without the API server it says 503 here, and is well all the same.
                        async with session.get(f"http://{address}:{PATRONI_PORT}/liveness"):
                            self._patroni = asked
                    except (aiohttp.ClientError, TimeoutError, OSError):
                        pass
                await asyncio.sleep(PATRONI_INTERVAL)


def describe(error: Exception) -> str:
    """A failure in words: libpq's last line that is no hint (those are indented) names the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("\t")]
    text = lines[-1] if lines else type(error).__name__
    for mark, words in (
        ("Connection refused", "PostgreSQL refuses connections"),
        ("starting up", "PostgreSQL is starting up"),
        ("shutting down", "PostgreSQL is shutting down"),
        ("recovery mode", "PostgreSQL recovers from a crash"),
        ("not yet accepting", "PostgreSQL does not accept connections yet"),
        ("terminating connection", "PostgreSQL ended the connection"),
        ("No route", "there is no route to it"),
    ):
        if mark in text:
            return words
    if "closed the connection" in str(error) or "reset by peer" in str(error):
        return "PostgreSQL closed the connection"
    return text[:120]
