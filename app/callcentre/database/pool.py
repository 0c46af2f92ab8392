"""The connections to one primary in one of its lives.

psycopg_pool is not used: its connections are checked and closed by tasks that may cancel, it has no way to drop all
connections at once from outside, and it forgets a connection that was abandoned while its backend still runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from callcentre.database.connection import Connection
from callcentre.database.decisions import AttemptTimeoutError, ConnectError

CAPACITY = 16
"""Connections to the primary, per app pod. Two pods, each with a pod that replaces it during a rollout, and their
probes
stay well under max_connections 100."""

OPENING = 4
"""Connections being opened at once: after a failover the waiting requests share these few instead of a herd."""

IDLE_SECONDS = 60.0
KEPT_IDLE = 2


class PoolDroppedError(ConnectError):
    """The member stopped being the primary before the operation began."""


class Pool:
    """Hands out connections, newest first, at most `capacity` backends at any time.

    An abandoned connection's backend may live on (it waits for a standby or a lock) and counts as a *ghost* until the
    server says that its process is gone: otherwise retries during a stall would open backends without end.
    """

    def __init__(self, open_connection: Callable[[float], Awaitable[Connection]], capacity: int = CAPACITY) -> None:
        self._open = open_connection
        self._capacity = capacity
        self._idle: list[tuple[Connection, float]] = []
        self._used: set[Connection] = set()
        self._ghosts: set[int] = set()
        self._opening = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self.dropped: str | None = None

    @property
    def ghosts(self) -> list[int]:
        """Process ids of backends that may still run for abandoned connections."""
        return sorted(self._ghosts)

    @property
    def backends(self) -> int:
        """How many of the server's connections this pool takes up."""
        return len(self._idle) + len(self._used) + len(self._ghosts) + self._opening

    async def acquire(self, limit: float) -> Connection:
        """A connection within `limit` seconds. Raises ConnectError or AttemptTimeoutError; nothing was sent then."""
        end = time.monotonic() + limit
        while True:
            if self.dropped is not None:
                raise PoolDroppedError(self.dropped)
            while self._idle:
                connection, _ = self._idle.pop()
                if connection.reusable:
                    self._used.add(connection)
                    return connection
                connection.close()
            if self.backends < self._capacity and self._opening < OPENING:
                return await self._open_one(end - time.monotonic())
            await self._wait(end - time.monotonic())

    async def _open_one(self, limit: float) -> Connection:
        self._opening += 1
        try:
            connection = await self._open(max(limit, 0.0))
        finally:
            self._opening -= 1
            self._wake()
        if self.dropped is not None:
            connection.close()
            raise PoolDroppedError(self.dropped)
        self._used.add(connection)
        return connection

    async def _wait(self, limit: float) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(max(limit, 0.0)):
                await waiter
        except TimeoutError:
            if waiter.done() and not waiter.cancelled():
                self._wake()  # woken in the same moment: pass it on
            stuck = f", {len(self._ghosts)} of them still busy with abandoned attempts" if self._ghosts else ""
            raise AttemptTimeoutError(f"all {self._capacity} connections are in use{stuck}", sent=False) from None
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._wake()
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._waiters.remove(waiter)

    def _wake(self, count: int = 1) -> None:
        while self._waiters and count:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1

    def release(self, connection: Connection) -> None:
        """Take a connection back; keep it if it can be used again."""
        self._used.discard(connection)
        if self.dropped is None and connection.reusable:
            self._idle.append((connection, time.monotonic()))
        else:
            connection.close()
        self._wake()

    def abandon(self, connection: Connection) -> None:
        """Stop waiting for a connection's answer; the caller releases it when its task has ended."""
        if connection in self._used and self.dropped is None:
            self._ghosts.add(connection.pid)
        self._used.discard(connection)
        connection.abandon()

    def settle(self, alive: Iterable[int]) -> None:
        """Forget the ghosts whose process is gone, or is a live connection's that got the same number."""
        ours = {connection.pid for connection in self._used} | {connection.pid for connection, _ in self._idle}
        before = len(self._ghosts)
        self._ghosts &= set(alive) - ours
        self._wake(before - len(self._ghosts))

    def trim(self, now: float) -> None:
        """Close connections that were idle for long, but keep a few warm."""
        while len(self._idle) > KEPT_IDLE and now - self._idle[0][1] > IDLE_SECONDS:
            connection, _ = self._idle.pop(0)
            connection.close()

    def flush(self) -> None:
        """Close what is idle: one broken connection after a restart means that the others are broken too."""
        for connection, _ in self._idle:
            connection.close()
        self._idle.clear()

    def drop(self, reason: str) -> None:
        """The member is not the primary any more: every connection goes, whatever waits on it ends with an error."""
        if self.dropped is not None:
            return
        self.dropped = reason
        for connection in self._used:
            connection.abandon()
        self.flush()
        self._wake(len(self._waiters))
