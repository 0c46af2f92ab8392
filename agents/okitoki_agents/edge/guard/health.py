"""Is a service good? A state machine over what the guard sees of it; pure, times in seconds of one monotonic clock.

    DOWN --started--> STARTING --answers for `settle`--> OK --misses--> FROZEN --answers--> STARTING
      ^------------------------------- ended, from any state -----------------'

Only OK lets an address come here. A single lost probe is not a fault: moving an address costs packets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

MISSES = 3
"""Probes in a row without an answer that make a process frozen, which is heard after that."""
HTTPS_MISSES = 6
"""The same where nobody hears it: a request that waits for 0.9 s is late, one whose address moves begins anew, with its
connection. On a busy node HAProxy is late before it is frozen."""
KILL_FROZEN_AFTER = 3.0
"""A frozen process is killed then, so that kubelet starts another: nothing else ends it."""
KILL_MUTE_AFTER = 45.0
"""A process that has never answered since its start is killed then."""
KILL_MISSES = 10
"""Probes in a row that must have gone without an answer for either: a guard that got no processor has not asked."""


class State(StrEnum):
    OK = "ok"
    STARTING = "starting"
    DOWN = "down"
    FROZEN = "frozen"


@dataclass(frozen=True)
class Health:
    """`since`: when the state began; `answers_since`: first of the unbroken answers; `misses`: probes in a row."""

    state: State = State.DOWN
    since: float = 0.0
    answers_since: float | None = None
    misses: int = 0


def started(now: float) -> Health:
    """A new process was seen."""
    return Health(State.STARTING, now)


def ended(now: float) -> Health:
    """The process is gone."""
    return Health(State.DOWN, now)


def answered(health: Health, now: float, settle: float) -> Health:
    """A probe was answered. `settle`: how long a service must answer before it is good (it may still be loading)."""
    if health.state is State.DOWN:
        return health
    first = now if health.answers_since is None else health.answers_since
    if health.state is State.FROZEN:
        return Health(State.STARTING, now, now)
    if health.state is State.STARTING and now - first >= settle:
        return Health(State.OK, now, first)
    return replace(health, answers_since=first, misses=0)


def missed(health: Health, now: float, limit: int = MISSES) -> Health:
    """A probe was not answered in its time; with `limit` of them in a row it is frozen."""
    misses = health.misses + 1
    if health.state is State.OK and misses >= limit:
        return Health(State.FROZEN, now, None, misses)
    return replace(health, answers_since=None, misses=misses)


def must_be_killed(health: Health, now: float) -> bool:
    """True when only a new process can help."""
    limit = {State.FROZEN: KILL_FROZEN_AFTER, State.STARTING: KILL_MUTE_AFTER}.get(health.state)
    unanswered = health.answers_since is None and health.misses >= KILL_MISSES
    return limit is not None and unanswered and now - health.since >= limit
