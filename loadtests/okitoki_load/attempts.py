"""What one answer means for an operation, and what a course of attempts comes to. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from okitoki_load.ledger import FAIL, OK, UNKNOWN

# docs/interfaces.md: client 12 s > HAProxy 10 s > app 8 s > one database attempt 1.5 s.
DEADLINE_SECONDS = 12.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0

# Answers that say "not now" rather than "no".
TRY_AGAIN = frozenset({408, 421, 425, 429})
# The app's own word that a 503 did nothing (docs/interfaces.md).
NOTHING_DONE = frozenset({"database_unavailable", "overloaded"})


@dataclass(frozen=True)
class Attempt:
    """What one attempt means: it happened, it certainly did not, or nobody knows; and whether to try again."""

    outcome: str
    detail: str
    again: bool


def judge_answer(status: int, body: Any, key: str) -> Attempt:
    """What an answer to a write means for the operation."""
    if status in {200, 201}:
        if isinstance(body, dict) and body.get("id") == key:
            return Attempt(OK, str(status), again=False)
        return Attempt(UNKNOWN, f"{status} for another record", again=False)
    if refused := judge_refusal(status, body):
        return refused
    return Attempt(UNKNOWN, str(status), again=True)


def judge_refusal(status: int, body: Any) -> Attempt | None:
    """The answers by which a server says that nothing was done; None for all others."""
    code = (body.get("error") or {}).get("code") if isinstance(body, dict) else None
    if status == 503 and code in NOTHING_DONE:
        return Attempt(FAIL, f"503 {code}", again=True)
    if status in TRY_AGAIN:
        return Attempt(FAIL, str(status), again=True)
    if 400 <= status < 500:
        return Attempt(FAIL, str(status), again=False)
    return None


class Course:
    """The attempts of one operation under one key, up to its deadline. Times are seconds of the caller's clock."""

    def __init__(self, begun: float, deadline: float, uniform: Callable[[float, float], float] | None = None) -> None:
        self.outcome = FAIL
        self.detail = "never sent"
        self.attempts = 0
        self._until = begun + deadline
        self._possible = False
        self._pause = FIRST_PAUSE_SECONDS
        self._uniform = uniform or random.uniform

    def remaining(self, now: float) -> float:
        """Seconds left for another attempt; 0 or less when there are none."""
        return self._until - now

    def take(self, attempt: Attempt) -> float | None:
        """Count an attempt. Returns the pause before the next one, None when there is to be none."""
        self.attempts += 1
        self.detail = attempt.detail
        self._possible = self._possible or attempt.outcome == UNKNOWN
        if attempt.outcome == OK:
            self.outcome = OK
            return None
        # One attempt that may have taken effect makes every later refusal ambiguous.
        self.outcome = UNKNOWN if self._possible else FAIL
        if not attempt.again:
            return None
        pause = self._pause * self._uniform(0.5, 1.0)
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        return pause
