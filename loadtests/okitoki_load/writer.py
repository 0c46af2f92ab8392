"""Writes call records at a fixed rate and keeps an honest ledger of it."""

from __future__ import annotations

import asyncio
import random
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import aiohttp

from okitoki_load.ledger import FAIL, OK, UNKNOWN, Clock, Ledger, Operation
from okitoki_load.recorder import Schedule

# docs/interfaces.md: client 12 s > HAProxy 10 s > app 8 s > one database attempt 1.5 s.
DEADLINE_SECONDS = 12.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0
# Operations that may be open at once; far more than an outage within the deadline piles up.
OPEN_OPERATIONS = 1000
# Requests under way at once. Without a bound, a server that is slow for a moment gets a storm of TLS handshakes and
# repeated requests on top (HAProxy and the app repeat too), and with 32 two busy cores never came out of it again. A
# quiet platform needs one or two. Those that wait for their turn keep their deadline.
REQUESTS_AT_ONCE = 8

# Answers that say "not now" rather than "no".
TRY_AGAIN = frozenset({408, 421, 425, 429})
# The app's own word that a 503 did nothing (docs/interfaces.md).
NOTHING_DONE = frozenset({"database_unavailable", "overloaded"})


class Sender(Protocol):
    """What the writer needs of a client."""

    async def request(
        self, method: str, path: str, *, body: Any, headers: dict[str, str], limit: float
    ) -> tuple[int, Any]: ...


@dataclass(frozen=True)
class Attempt:
    """What one attempt means: it happened, it certainly did not, or nobody knows; and whether to try again."""

    outcome: str
    detail: str
    again: bool


def judge_answer(status: int, body: Any, key: str) -> Attempt:
    """What an answer means for the operation."""
    if status in {200, 201}:
        if isinstance(body, dict) and body.get("id") == key:
            return Attempt(OK, str(status), again=False)
        return Attempt(UNKNOWN, f"{status} for another record", again=False)
    code = (body.get("error") or {}).get("code") if isinstance(body, dict) else None
    if status == 503 and code in NOTHING_DONE:
        return Attempt(FAIL, f"503 {code}", again=True)
    if status in TRY_AGAIN:
        return Attempt(FAIL, str(status), again=True)
    if 400 <= status < 500:
        return Attempt(FAIL, str(status), again=False)
    return Attempt(UNKNOWN, str(status), again=True)


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
        self._run = run
        self._name = name
        self._number = number
        self._clock = clock
        self._deadline = deadline
        self._random = random.Random(f"{seed}/{run}/{name}")
        self._tasks: set[asyncio.Task[None]] = set()
        self._sequence = 0
        self._turns = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def write(self, schedule: Schedule, stop: asyncio.Event, seconds: float | None = None) -> None:
        """Follow the schedule to its end, then wait for the outcomes."""
        async for due in schedule.starts(stop, seconds):
            if len(self._tasks) >= OPEN_OPERATIONS:
                self.missed += 1
                continue
            task = asyncio.create_task(self._one(self._next(due)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await asyncio.gather(*self._tasks)

    def _next(self, due: float) -> Operation:
        self._sequence += 1
        key = uuid.UUID(int=self._random.getrandbits(128), version=4)
        begun = datetime.fromtimestamp(due, UTC)
        body = {
            "direction": "out",
            "number": self._number,
            "caller": self._number,
            "startedAt": begun.isoformat(timespec="milliseconds"),
            "endedAt": begun.isoformat(timespec="milliseconds"),
            "endReason": "test",
            "note": f"{self._run}/{self._name}/{self._sequence}",
        }
        return Operation(str(key), self._name, self._sequence, body, due)

    async def _one(self, operation: Operation) -> None:
        await self._ledger.intend(operation)
        begun = self._clock.now()
        outcome, detail, attempts, possible = FAIL, "never sent", 0, False
        pause = FIRST_PAUSE_SECONDS
        while (remaining := begun + self._deadline - self._clock.now()) > 0:
            attempts += 1
            attempt = await self._attempt(operation, remaining)
            detail = attempt.detail
            possible = possible or attempt.outcome == UNKNOWN
            if attempt.outcome == OK:
                outcome = OK
                break
            # One attempt that may have taken effect makes every later refusal ambiguous.
            outcome = UNKNOWN if possible else FAIL
            if not attempt.again:
                break
            await asyncio.sleep(pause * self._random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        concluded = replace(operation, outcome=outcome, finished=self._clock.now(), attempts=attempts, detail=detail)
        await self._ledger.conclude(concluded)

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
