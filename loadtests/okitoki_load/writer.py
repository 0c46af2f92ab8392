"""Writes call records at a fixed rate and keeps an honest ledger of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Protocol

import aiohttp

from okitoki_load.attempts import DEADLINE_SECONDS, Attempt, Course, judge_answer
from okitoki_load.ledger import FAIL, UNKNOWN, Clock, Ledger, Operation
from okitoki_load.operations import Operations
from okitoki_load.recorder import Schedule

# Operations that may be open at once; far more than an outage within the deadline piles up.
OPEN_OPERATIONS = 1000
# Requests under way at once. Without a bound, a server that is slow for a moment gets a storm of TLS handshakes and
# repeated requests on top (HAProxy and the app repeat too), and with 32 two busy cores never came out of it again. A
# quiet platform needs one or two. Those that wait for their turn keep their deadline.
REQUESTS_AT_ONCE = 8


class Sender(Protocol):
    """What the writer needs of a client."""

    async def request(
        self, method: str, path: str, *, body: Any, headers: dict[str, str], limit: float
    ) -> tuple[int, Any]: ...


def judge_error(error: Exception) -> Attempt:
    """What a failed exchange means: without a connection nothing was sent."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Attempt(FAIL, "the certificate is not valid", again=False)
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return Attempt(FAIL, type(error).__name__, again=True)
    return Attempt(UNKNOWN, type(error).__name__, again=True)


class Writer:
    """One writer of one tenant."""

    def __init__(
        self, sender: Sender, ledger: Ledger, *, run: str, name: str, number: str, clock: Clock, seed: int = 1,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:  # fmt: skip
        self.missed = 0
        self._sender = sender
        self._ledger = ledger
        self._operations = Operations(run=run, name=name, number=number, seed=seed)
        self._clock = clock
        self._deadline = deadline
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def write(self, schedule: Schedule, stop: asyncio.Event, seconds: float | None = None) -> None:
        """Follow the schedule to its end, then wait for the outcomes."""
        async for due in schedule.starts(stop, seconds):
            if len(self._tasks) >= OPEN_OPERATIONS:
                self.missed += 1
                continue
            task = asyncio.create_task(self._one(self._operations.write(due)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await asyncio.gather(*self._tasks)

    async def _one(self, operation: Operation) -> None:
        await self._ledger.intend(operation)
        course = Course(self._clock.now(), self._deadline, self._operations.random.uniform)
        while (remaining := course.remaining(self._clock.now())) > 0:
            pause = course.take(await self._attempt(operation, remaining))
            if pause is None:
                break
            await asyncio.sleep(pause)
        await self._ledger.conclude(
            replace(
                operation, outcome=course.outcome, finished=self._clock.now(), attempts=course.attempts,
                detail=course.detail,
            )
        )  # fmt: skip

    async def _attempt(self, operation: Operation, remaining: float) -> Attempt:
        headers = {"Idempotency-Key": operation.id}
        until = asyncio.get_running_loop().time() + remaining
        try:
            await asyncio.wait_for(self._turns.acquire(), remaining)
        except TimeoutError:
            return Attempt(FAIL, "no turn before the deadline", again=False)
        try:
            remaining = until - asyncio.get_running_loop().time()
            status, body = await self._sender.request(
                "POST", "/v1/call-records", body=operation.body, headers=headers, limit=max(0.001, remaining)
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return judge_error(error)
        finally:
            self._turns.release()
        return judge_answer(status, body, operation.id)
