"""`Database.run`: one idempotent operation, on whatever member is the primary, within a deadline."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from callcentre.database.cluster import Cluster, Primary
from callcentre.database.connection import Connection
from callcentre.database.connection import Database as Session
from callcentre.database.decisions import (
    ATTEMPT_LIMIT,
    REQUEST_DEADLINE,
    AttemptTimeoutError,
    CommitNotReplicatedError,
    ConnectError,
    Outcome,
    classify,
    pause_before_retry,
)
from callcentre.database.pool import Pool

log = logging.getLogger(__name__)

T = TypeVar("T")
Operation = Callable[[Session], Awaitable[T]]


class Deadline:
    """The moment (monotonic s) until which one request may be held."""

    def __init__(self, seconds: float = REQUEST_DEADLINE) -> None:
        self.end = time.monotonic() + seconds

    @property
    def remaining(self) -> float:
        """Seconds left, not below 0."""
        return max(0.0, self.end - time.monotonic())


class UnavailableError(Exception):
    """The deadline ended without a result. `outcome` says whether the operation may have taken effect."""

    def __init__(self, outcome: Outcome, reason: str, attempts: int) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason
        self.attempts = attempts


class Database:
    """Runs operations on the current primary.

    An operation is a coroutine function that takes a connection in autocommit mode. It must be idempotent, since it is
    repeated when nobody knows whether it took effect; what it writes must be one statement or one
    `async with session.transaction()`, and must write WAL also when it finds its work done (see `store`).
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._running: set[asyncio.Task[object]] = set()

    async def run(self, operation: Operation[T], deadline: Deadline | None = None) -> T:
        """The operation's result. Raises UnavailableError, or what the operation itself raises."""
        deadline = deadline or Deadline()
        outcome, reason, attempts = Outcome.NOT_DONE, "", 0
        while deadline.remaining > 0:
            primary = await self._cluster.wait(deadline.remaining)
            if primary is None:
                reason = self._cluster.reason
                break
            attempts += 1
            try:
                return await self._attempt(primary, operation, min(ATTEMPT_LIMIT, deadline.remaining))
            except Exception as error:
                verdict = classify(error)
                if not verdict.retry:
                    raise
            reason = f"{primary.member.name}: {verdict.reason}"
            if verdict.outcome is Outcome.UNKNOWN:
                outcome = Outcome.UNKNOWN
            log.info("attempt failed", extra={"attempt": attempts, "reason": reason, "outcome": verdict.outcome.value})
            if verdict.demotes:
                self._cluster.demoted(primary, verdict.reason)
            if self._cluster.primary is primary:
                await self._cluster.changed(min(pause_before_retry(attempts, verdict), deadline.remaining))
        log.warning("request gave up", extra={"attempts": attempts, "reason": reason, "outcome": outcome.value})
        raise UnavailableError(outcome, reason or "the deadline had passed before the first attempt", attempts)

    async def _attempt(self, primary: Primary, operation: Operation[T], limit: float) -> T:
        """One attempt within `limit` seconds. When time runs out its connection is abandoned, never cancelled."""
        end = time.monotonic() + limit
        pool = primary.pool
        try:
            connection = await pool.acquire(limit)
        except ConnectError:
            pool.flush()
            raise
        task = asyncio.get_running_loop().create_task(self._perform(primary, connection, operation))
        self._running.add(task)
        task.add_done_callback(self._finished)
        try:
            done, _ = await asyncio.wait({task}, timeout=max(0.0, end - time.monotonic()))
        except asyncio.CancelledError:
            # Nobody waits for the result any more, but the server may be at it: its connection is free when it is done.
            loop = asyncio.get_running_loop()
            loop.call_later(max(0.0, end - time.monotonic()), self._overdue, pool, connection, task)
            raise
        if not done:
            pool.abandon(connection)
            raise AttemptTimeoutError(f"no result within {limit:.1f} s", sent=True)
        return task.result()

    @staticmethod
    def _overdue(pool: Pool, connection: Connection, task: asyncio.Task[T]) -> None:
        if not task.done():
            pool.abandon(connection)

    def _finished(self, task: asyncio.Task[object]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen: an abandoned attempt's error is expected and nobody else asks for it

    async def _perform(self, primary: Primary, connection: Connection, operation: Operation[T]) -> T:
        connection.commit_warning = None
        try:
            result = await operation(connection.raw)
        finally:
            if not connection.reusable and not connection.abandoned:
                primary.pool.flush()
            primary.pool.release(connection)
        if connection.commit_warning is not None:
            raise CommitNotReplicatedError(connection.commit_warning)
        return result

    async def close(self) -> None:
        """Drop the connections and wait for what ran on them to end."""
        self._cluster.close()
        if self._running:
            await asyncio.wait(self._running, timeout=1.0)
