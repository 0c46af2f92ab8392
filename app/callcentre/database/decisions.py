"""What the app concludes from what its members answer: pure functions, each with the reason for its result.

Times are seconds of the monotonic clock. Nothing here talks to a server, reads a clock or logs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import psycopg

SILENCE = 1.5
"""A member that has not answered for this long (s) is not the primary any more. As long as one attempt may take: what
was sent to it before has run out by itself when it is given up."""

REQUEST_DEADLINE = 8.0
"""How long (s) one request may wait for a writable primary, all attempts together (docs/interfaces.md)."""

ATTEMPT_LIMIT = 1.5
"""How long (s) one attempt on one member may take."""


@dataclass(frozen=True)
class Answer:
    """A member's answer to one probe."""

    at: float
    in_recovery: bool
    timeline: int | None = None
    """Of a primary: the timeline it writes. A standby is not asked."""
    started: str = ""
    """When its postmaster started, as the server says it: another value is another life of the server."""


@dataclass(frozen=True)
class Observation:
    """What is known of one member: its last answer, and what broke since (None: nothing did, it may be just silent)."""

    answer: Answer | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Choice:
    """The primary's name, or None, and why."""

    primary: str | None
    reason: str


def describe(observation: Observation, now: float) -> str:
    """One member's state in words, for reasons and `/readyz`."""
    if observation.failure is not None:
        return observation.failure
    if observation.answer is None:
        return "has not answered yet"
    age = now - observation.answer.at
    if age >= SILENCE:
        return f"silent for {age:.1f} s"
    return "standby" if observation.answer.in_recovery else f"primary on timeline {observation.answer.timeline}"


def choose_primary(observations: Mapping[str, Observation], now: float) -> Choice:
    """The member that claims to be the primary and was heard lately; of several the one on the highest timeline.

    Two claim it while an old primary has not noticed that it was replaced (frozen and back, or cut off from Patroni).
    Promotion always starts a higher timeline (PostgreSQL manual 26.3.5), so the newer primary is known for certain.
    """
    claims = {
        name: seen.answer
        for name, seen in observations.items()
        if seen.failure is None and seen.answer and not seen.answer.in_recovery and now - seen.answer.at < SILENCE
    }
    if not claims:
        states = ", ".join(f"{name}: {describe(seen, now)}" for name, seen in sorted(observations.items()))
        return Choice(None, f"no member answers as primary ({states})")
    best = max(claims, key=lambda name: (claims[name].timeline or 0, claims[name].at))
    if len(claims) == 1:
        return Choice(best, "the only member that answers as primary")
    others = ", ".join(f"{name} on {answer.timeline}" for name, answer in sorted(claims.items()) if name != best)
    return Choice(best, f"highest timeline {claims[best].timeline} of several claimants (also {others})")


@dataclass(frozen=True)
class Identity:
    """One life of one primary. Connections never outlive it."""

    member: str
    timeline: int | None
    started: str


class PoolAction(Enum):
    KEEP = "keep"
    DROP = "drop"
    OPEN = "open"
    REPLACE = "replace"


def pool_action(current: Identity | None, wanted: Identity | None) -> tuple[PoolAction, str]:
    """What to do with the connections to `current` now that `wanted` is the primary."""
    if current == wanted:
        return PoolAction.KEEP, "nothing changed"
    if wanted is None:
        return PoolAction.DROP, f"{current.member if current else 'nobody'} is not the primary any more"
    if current is None:
        return PoolAction.OPEN, f"{wanted.member} is the primary"
    if current.member != wanted.member:
        return PoolAction.REPLACE, f"{wanted.member} has replaced {current.member}"
    if current.started != wanted.started:
        return PoolAction.REPLACE, f"{wanted.member} was restarted"
    return PoolAction.REPLACE, f"{wanted.member} moved from timeline {current.timeline} to {wanted.timeline}"


class Outcome(Enum):
    """What is known of an attempt that brought no result."""

    NOT_DONE = "not done"
    UNKNOWN = "unknown"


class CommitNotReplicatedError(Exception):
    """COMMIT came back with the warning that its wait for synchronous replication was cancelled.

    The row is on the primary's disk only; a failover may lose it. It counts as unknown, never as acknowledged.
    """


class AttemptTimeoutError(Exception):
    """The attempt ran out of time and was abandoned. `sent`: whether the server may have got anything."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class ConnectError(Exception):
    """No connection could be made, so nothing was sent."""


@dataclass(frozen=True)
class Verdict:
    """What a failed attempt means: retry or not, what is known of its effect, whether the member lost its role."""

    retry: bool
    outcome: Outcome
    demotes: bool
    reason: str


# SQLSTATEs (PostgreSQL manual, appendix A) after which an operation may be tried again: state -> (outcome, demotes).
_RETRIED: dict[str, tuple[Outcome, bool]] = {
    "25006": (Outcome.NOT_DONE, True),  # read-only transaction: it was demoted under us
    "57P01": (Outcome.UNKNOWN, True),  # admin shutdown, perhaps while it waited for a standby
    "57P02": (Outcome.UNKNOWN, True),  # crash shutdown
    "57P03": (Outcome.NOT_DONE, True),  # starting up or shutting down
    "57P05": (Outcome.NOT_DONE, False),  # idle session time-out
    "57014": (Outcome.NOT_DONE, False),  # cancelled before the commit (during its wait: a warning, not this error)
    "40001": (Outcome.NOT_DONE, False),  # serialization failure
    "40P01": (Outcome.NOT_DONE, False),  # deadlock
    "25P03": (Outcome.NOT_DONE, False),  # idle in transaction for too long
    "55P03": (Outcome.NOT_DONE, False),  # lock not available
    "42P01": (Outcome.NOT_DONE, False),  # table missing: the migrations are not on this primary yet
}


def classify(error: Exception) -> Verdict:
    """What the failure of an attempt means. Errors of the data (22, 23) and of our own SQL are not retried."""
    if isinstance(error, CommitNotReplicatedError):
        return Verdict(True, Outcome.UNKNOWN, False, "the wait for synchronous replication was cancelled")
    if isinstance(error, AttemptTimeoutError):
        return Verdict(True, Outcome.UNKNOWN if error.sent else Outcome.NOT_DONE, False, str(error))
    if isinstance(error, ConnectError):
        return Verdict(True, Outcome.NOT_DONE, False, str(error))
    if not isinstance(error, psycopg.Error):
        return Verdict(False, Outcome.NOT_DONE, False, type(error).__name__)
    state = error.sqlstate
    if state in _RETRIED:
        outcome, demotes = _RETRIED[state]
        return Verdict(True, outcome, demotes, f"SQLSTATE {state}")
    if state is not None and state.startswith("53"):
        return Verdict(True, Outcome.NOT_DONE, False, f"the server lacks resources (SQLSTATE {state})")
    if state is not None and state.startswith("08"):
        return Verdict(True, Outcome.UNKNOWN, False, f"connection failure (SQLSTATE {state})")
    if state is None and isinstance(error, psycopg.OperationalError):
        return Verdict(True, Outcome.UNKNOWN, False, "the connection broke")
    return Verdict(False, Outcome.NOT_DONE, False, f"{type(error).__name__} (SQLSTATE {state})")


def pause_before_retry(attempts: int, verdict: Verdict) -> float:
    """How long (s) to wait for a change of the primary before trying again.

    A replaced member is reported by its probe, which ends the pause at once; without such a change the same server is
    asked again: at first at once, since one broken connection says little, later at 10 a second at most.
    """
    if attempts <= 1 and not verdict.demotes:
        return 0.0
    return min(0.1, 0.02 * attempts)


@dataclass(frozen=True)
class Readiness:
    ready: bool
    reason: str


def readiness(*, draining: bool, migrated: bool, primary_seen: float | None, now: float) -> Readiness:
    """Whether to take requests. A failover shorter than the request deadline must not empty the load balancer:

    requests are held and answered late. After that they would fail here and elsewhere alike, and readiness says so.
    """
    if draining:
        return Readiness(False, "shutting down")
    if not migrated:
        return Readiness(False, "the database schema is not ready")
    if primary_seen is None:
        return Readiness(False, "no writable primary seen yet")
    age = now - primary_seen
    if age > REQUEST_DEADLINE:
        return Readiness(False, f"no writable primary seen for {age:.1f} s")
    return Readiness(True, f"writable primary seen {max(age, 0):.1f} s ago")
