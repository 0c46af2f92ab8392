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

OPEN_SECONDS = 3.0
"""How long opening one may take, whoever waits for it: as long as two attempts."""

IDLE_SECONDS = 60.0
KEPT_IDLE = 2


class PoolDroppedError(ConnectError):
    """The member stopped being the primary before the operation began."""


class Pool:
    """Hands out connections, newest first, at most `capacity` backends at any time.

    Who asks waits for a connection, and none is opened for one alone: an opening goes on when the request that began it
    has run out of time, and serves the next. Given up and begun anew they would cost a server that is short of
    processor time all that it has, and none would ever be opened.

    An abandoned connection's backend may live on (it waits for a standby or a lock) and counts as a *ghost* until the
    server says that its process is gone: otherwise retries during a stall would open backends without end.
    """

    def __init__(self, open_connection: Callable[[float], Awaitable[Connection]], capacity: int = CAPACITY) -> None:
        self._open = open_connection
        self._capacity = capacity
        self._idle: list[tuple[Connection, float]] = []
        self._used: set[Connection] = set()
        self._ghosts: set[int] = set()
        self._opening: set[asyncio.Future[Connection]] = set()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self.dropped: str | None = None

    @property
    def ghosts(self) -> list[int]:
        """Process ids of backends that may still run for abandoned connections."""
        return sorted(self._ghosts)

    @property
    def backends(self) -> int:
        """How many of the server's connections this pool takes up."""
        return len(self._idle) + len(self._used) + len(self._ghosts) + len(self._opening)

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
            # As many as there are who wait: one whose request has left is there for this one.
            if self.backends < self._capacity and len(self._opening) < min(OPENING, len(self._waiters) + 1):
                opening = asyncio.ensure_future(self._open(OPEN_SECONDS))
                self._opening.add(opening)
                opening.add_done_callback(self._opened)
            await self._wait(end - time.monotonic())

    def _opened(self, opening: asyncio.Future[Connection]) -> None:
        """Hand the connection to one who waits, or the reason why there is none; the next may open another one."""
        self._opening.discard(opening)
        if opening.cancelled():
            return
        error = opening.exception()
        if error is not None:
            self._wake(error=error)
            self._wake()
        elif self.dropped is not None:
            opening.result().close()
        else:
            self._idle.append((opening.result(), time.monotonic()))
            self._wake(2)

    async def _wait(self, limit: float) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(max(limit, 0.0)):
                await waiter
        except TimeoutError:
            self._pass_on(waiter)
            raise AttemptTimeoutError(self._why_none(), sent=False) from None
        except asyncio.CancelledError:
            self._pass_on(waiter)
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._waiters.remove(waiter)

    def _pass_on(self, waiter: asyncio.Future[None]) -> None:
        """Who was woken in the moment in which it left wakes the next."""
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            self._wake()

    def _why_none(self) -> str:
        if self._opening:
            return f"no connection yet, {len(self._opening)} are being opened"
        stuck = f", {len(self._ghosts)} of them still busy with abandoned attempts" if self._ghosts else ""
        return f"all {self._capacity} connections are in use{stuck}"

    def _wake(self, count: int = 1, error: BaseException | None = None) -> None:
        """The next `count` who wait look again, or end with `error`."""
        while self._waiters and count:
            waiter = self._waiters.popleft()
            if not waiter.done():
                if error is None:
                    waiter.set_result(None)
                else:
                    waiter.set_exception(error)
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
